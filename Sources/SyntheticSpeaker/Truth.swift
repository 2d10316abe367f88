import Basics
package import Foundation

/// All that is known about a clip: what its JSON file holds.
package struct Truth: Codable, Sendable, Equatable {
  /// A picture's state, and where it puts the face.
  package struct Frame: Codable, Sendable, Equatable {
    package var state: FrameState
    package var landmarks: Landmarks

    private enum CodingKeys: CodingKey { case landmarks }

    package init(state: FrameState, landmarks: Landmarks) { (self.state, self.landmarks) = (state, landmarks) }

    package init(from decoder: any Decoder) throws {
      state = try FrameState(from: decoder)
      landmarks = try decoder.container(keyedBy: CodingKeys.self).decode(Landmarks.self, forKey: .landmarks)
    }

    package func encode(to encoder: any Encoder) throws {
      try state.encode(to: encoder)
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(landmarks, forKey: .landmarks)
    }
  }

  /// The version of the file's format.
  package static let version = 1

  package var version = Truth.version
  package var seed: UInt64
  /// The clip's number.
  package var clip: Int
  package var speaker: String
  package var fps: Int
  package var sampleRate: Int
  package var width: Int
  package var height: Int
  package var language: Language
  /// What spoke; nil in files from before there was a choice, which is espeak-ng.
  package var engine: VoiceEngine?
  /// The engine's name of the voice.
  package var voice: String
  /// espeak-ng's 0…99, or flite's in Hz.
  package var pitch: Int
  /// Words a minute.
  package var rate: Int
  /// What is heard of the text.
  package var text: String
  package var phonemes: [Phoneme]
  package var frames: [Frame]
  package var identity: Identity
  package var motions: [TimedMotion]
  package var expressions: [Performance.TimedExpression]
  package var caption: String
  package var augmentation: SoundAugmentation

  /// One JSON object, its keys in order: equal truths give equal bytes.
  package func encoded() throws -> Data { Data(try "\(jsonText())\n".utf8) }

  /// - Throws: `LiveTalkError` when the file is none.
  package init(contentsOf url: URL) throws {
    do {
      self = try JSONDecoder().decode(Truth.self, from: try Data(contentsOf: url))
    } catch {
      throw LiveTalkError("The truth file \(url.path) cannot be read: it is not whole or of another version.")
    }
  }

  init(
    seed: UInt64, clip: Int, speaker: String, settings: ClipSettings, language: Language, voiceName: String,
    voice: Voice,
    spoken: SpokenClip, frames: [Frame], identity: Identity, performance: Performance, caption: String,
    augmentation: SoundAugmentation
  ) {
    (self.seed, self.clip, self.speaker) = (seed, clip, speaker)
    (fps, sampleRate) = (ClipSettings.framesPerSecond, Speech.sampleRate)
    (width, height) = (settings.width, settings.height)
    let engine = voice.engine(for: language)
    (self.language, self.engine, rate) = (language, engine, voice.rate)
    self.voice = engine == .flite ? voice.flite.name : voiceName
    pitch = engine == .flite ? Int(voice.flite.pitch.rounded()) : voice.pitch
    text = spoken.text
    phonemes = spoken.phonemes.map {
      var phoneme = $0
      phoneme.start = phoneme.start.rounded(6)
      phoneme.end = phoneme.end.rounded(6)
      return phoneme
    }
    (self.frames, self.identity, self.caption, self.augmentation) = (frames, identity, caption, augmentation)
    (motions, expressions) = (performance.motions, performance.expressions)
  }
}
