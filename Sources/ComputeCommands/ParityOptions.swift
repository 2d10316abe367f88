package import ArgumentParser
import Basics
import Foundation
package import Parity
import Torch

/// The command `parity`, but for how pictures and sound are read, which each program adds.
package struct ParityOptions: ParsableArguments {
  package static let configuration = CommandConfiguration(
    commandName: "parity",
    abstract: "Compare this build with the numbers of the published Python reference.",
    discussion: """
      Every directory with a 'case.json' under the ones given is a case: inputs, weights and what the reference computed \
      from them. One line is printed for each, with the largest difference found and the one allowed, and a summary at the \
      end. The tolerances are those of the cases; on a GPU they are ten times as wide.

      Without directories the ones named in LIVETALK_GOLDENS are walked (separated by colons), or else Tests/Goldens.

      EXAMPLES
        livetalk parity
        livetalk parity Tests/Goldens/dit --device cuda

      EXIT STATUS
        0 if every case is within its tolerance; 1 if one is not, or if there is none.
      """)

  @Argument(help: ArgumentHelp("Directories to walk.", valueName: "dir"))
  package var directories: [String] = []

  @Option(help: ArgumentHelp("Where to compute: auto, cpu, cuda, cuda:N or mps.", valueName: "device"))
  package var device = "cpu"

  @Flag(help: "Print every comparison too: its largest difference and the one allowed.")
  package var verbose = false

  package init() {}

  /// - Throws: `LiveTalkError` if there is no case or no such directory, `ExitCode` if one fails.
  package func run(media: MediaReader?) throws {
    let device = try Device(parsing: device, of: "--device")
    let roots = try self.roots()
    let directories = ParitySuite.directories(under: roots)
    guard !directories.isEmpty else {
      throw LiveTalkError("There is no case.json under \(roots.map(\.relativePath).joined(separator: ", ")).")
    }
    var failed = 0
    let start = Date()
    for directory in directories {
      let result = ParitySuite.run(directory, device: device, media: media)
      Terminal.line(result.line)
      if verbose { result.details.forEach { Terminal.line("  \($0)") } }
      if !result.passed { failed += 1 }
    }
    let time = String(format: "%.1f", Date().timeIntervalSince(start))
    let passed = directories.count - failed
    Terminal.line("\(passed) of \(directories.count) cases passed on \(device) in \(time) s.")
    if failed > 0 { throw ExitCode(1) }
  }

  private func roots() throws -> [URL] {
    let given = ProcessInfo.processInfo.environment["LIVETALK_GOLDENS"] ?? ""
    let listed = given.split(separator: ":").map(String.init)
    let paths = !directories.isEmpty ? directories : !listed.isEmpty ? listed : ["Tests/Goldens"]
    for path in paths where !FileManager.default.fileExists(atPath: path) {
      throw LiveTalkError("There is no directory \(path) with cases.")
    }
    return paths.map { URL(fileURLWithPath: $0) }
  }
}
