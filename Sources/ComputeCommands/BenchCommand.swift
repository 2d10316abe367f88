package import ArgumentParser
import Basics
import Foundation

/// `bench`: what this machine is fast enough for.
package struct BenchCommand: ParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure how fast a session, or a step of training, runs on this machine.",
    discussion: """
      Without a subcommand it is 'bench session', with the same options; 'livetalk help bench session' lists them.

        livetalk bench --preset livetalk-1.3b --device cuda
        livetalk bench training --preset laptop
      """, subcommands: [BenchSessionCommand.self, BenchTrainingCommand.self],
    defaultSubcommand: BenchSessionCommand.self)

  package init() {}

  /// Figures for people, then the same as one line of JSON.
  static func print(_ report: some Encodable, table: String) throws {
    Swift.print(table)
    Swift.print(try report.jsonText())
  }
}
