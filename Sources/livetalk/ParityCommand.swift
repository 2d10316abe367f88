import ArgumentParser
import ComputeCommands
import Parity

/// `livetalk parity`.
struct ParityCommand: ParsableCommand {
  static let configuration = ParityOptions.configuration
  @OptionGroup var options: ParityOptions
  func run() throws { try options.run(media: .libraries) }
}
