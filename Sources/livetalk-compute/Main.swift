import ArgumentParser
import ComputeCommands
import Foundation
import Torch
import Training

@main
struct LiveTalkCompute: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "livetalk-compute",
    abstract: "The parts of livetalk that need libtorch alone, for machines that have nothing else.",
    discussion: """
      It links no media library: measure a GPU, or check there that every model computes what the published reference \
      computes. Pictures and sound in parity cases are read where plain Swift can, or else taken from the reference.
      """,
    version: toolVersion,
    subcommands: [BenchCommand.self, Parity.self, Train.self, TrajectoriesCommand.self, Doctor.self])

  /// Cuts out what `runTool` is for.
  static func main() { runTool(LiveTalkCompute.self) }
}

extension LiveTalkCompute {
  struct Parity: ParsableCommand {
    static let configuration = ParityOptions.configuration
    @OptionGroup var options: ParityOptions
    func run() throws { try options.run(media: nil) }
  }

  struct Train: ParsableCommand {
    static let configuration = TrainOptions.configuration
    @OptionGroup var options: TrainOptions

    func run() throws {
      // Without a media library a sample is its frames, [T, H, W, 3].
      try options.run { sample, folder in
        let file = folder.appendingPathComponent(String(format: "step-%08d.safetensors", sample.step))
        try writeSafetensors(["video": sample.pixels], metadata: ["fps": "\(sample.fps)"], to: file)
        return nil
      }
    }
  }

  struct Doctor: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Say what this machine has to compute with.",
      discussion: "Prints libtorch's version, what the processor can do, and the GPUs, or why there is none.")
    func run() throws { if !Finding.report(Finding.compute()) { throw ExitCode(1) } }
  }
}
