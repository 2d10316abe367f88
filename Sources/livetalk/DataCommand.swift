import ArgumentParser

struct DataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data", abstract: "Make, prepare and look at training data.",
    subcommands: [SynthesizeCommand.self, PortraitCommand.self, PrepareCommand.self, InspectDataCommand.self])
}
