import ArgumentParser
import ComputeCommands

@main
struct LiveTalkCompute: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "livetalk-compute",
    abstract: "Measure and check LiveTalk on a machine that has nothing but libtorch.",
    subcommands: [BenchCommand.self])
}
