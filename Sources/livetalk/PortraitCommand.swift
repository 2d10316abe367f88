import ArgumentParser
import Basics
import ComputeCommands
import Foundation
import Media
import SyntheticSpeaker

/// `livetalk data portrait`.
struct PortraitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "portrait",
    abstract: "Draw a person, as a picture for 'livetalk generate' with the bundled model.",
    discussion: """
      The person is at rest and looks into the camera. The same seed draws the same one. Seeds of portraits are not those of \
      'livetalk data synthesize': nobody drawn here is in a training set made by it.

      EXAMPLE
        livetalk data portrait --seed 7 -o someone.png
      """)

  @Option(help: ArgumentHelp("Which person.", valueName: "n"))
  var seed: UInt64

  @Option(help: ArgumentHelp("Side of the picture, a multiple of 16 from 64 to 512.", valueName: "pixels"))
  var size = 256

  @Option(name: [.customShort("o"), .long], help: ArgumentHelp("The PNG file to write.", valueName: "file"))
  var out: String

  func validate() throws {
    do { _ = try ClipSettings(width: size, height: size) } catch let error as LiveTalkError {
      throw ValidationError(error.description)
    }
  }

  func run() throws {
    let speaker = Speaker(portrait: seed)
    try Portrait(speaker.identity, width: size, height: size).render(Speaker.rest).writePNG(to: out)
    Terminal.line("\(out): \(speaker.identity.phrase).")
  }
}
