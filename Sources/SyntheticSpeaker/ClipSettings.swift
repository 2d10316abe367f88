import Basics

/// What all clips of a folder have in common. A clip follows from these and its number alone.
package struct ClipSettings: Codable, Sendable, Equatable {
  package static let framesPerSecond = 16
  package static let sides = 64...512
  package static let lengths = 0.25...60.0

  package var seed: UInt64
  package var width: Int
  package var height: Int
  /// Pictures of a clip.
  package var frames: Int
  package var languages: [Language]
  /// What may speak; a language that the others do not know is espeak-ng's.
  package var voices: [VoiceEngine]
  /// Whether sounds are worked on (`SoundAugmentation`).
  package var augments: Bool
  /// How many people there are; nil for a new one in every clip.
  package var speakers: Int?

  /// - Parameter seconds: the length of a clip, rounded to whole pictures.
  /// - Throws: `LiveTalkError` when a number is out of its range.
  package init(
    seed: UInt64 = 0, width: Int = 256, height: Int = 256, seconds: Double = 5,
    languages: [Language] = Language.allCases,
    voices: [VoiceEngine] = VoiceEngine.allCases, augments: Bool = true, speakers: Int? = nil
  ) throws {
    for side in [width, height] where !Self.sides.contains(side) || side % 16 != 0 {
      throw LiveTalkError("A side of \(side) pixels cannot be drawn: it is a multiple of 16 from 64 to 512.")
    }
    guard Self.lengths.contains(seconds) else {
      throw LiveTalkError("A clip of \(seconds) seconds cannot be made: it has from 0.25 to 60.")
    }
    guard !languages.isEmpty else { throw LiveTalkError("A speaker needs a language.") }
    guard languages.allSatisfy({ language in voices.contains { $0.speaks(language) } }) else {
      throw LiveTalkError("A speaker needs a voice for every language: flite speaks English alone.")
    }
    guard (1...1_000_000).contains(speakers ?? 1) else {
      throw LiveTalkError("There cannot be \(speakers ?? 0) speakers: there are from 1 to 1000000.")
    }
    (self.seed, self.width, self.height) = (seed, width, height)
    frames = Int((seconds * Double(Self.framesPerSecond)).rounded())
    (self.languages, self.voices, self.augments, self.speakers) = (languages, voices, augments, speakers)
  }

  package var seconds: Double { Double(frames) / Double(Self.framesPerSecond) }
  /// Samples of a clip's sound.
  package var samples: Int { frames * Speech.sampleRate / Self.framesPerSecond }
}
