package import Basics

/// A program that speaks.
package enum VoiceEngine: String, Codable, Sendable, CaseIterable {
  case espeak = "espeak-ng"
  case flite

  func speaks(_ language: Language) -> Bool { self == .espeak || language == .english }
}

/// One of flite's voices, with a pitch and a length of the vocal tract.
package struct FliteVoice: Codable, Sendable, Equatable {
  /// "slt" is a woman; "awb", "kal16" and "rms" are men.
  package var name: String
  /// Mean pitch in Hz, as it is heard. "rms" keeps the pitch of its recordings.
  package var pitch: Double
  /// Deviation of the pitch in Hz.
  package var range: Double
  /// See `Voice.warp`.
  package var warp: Double

  package init(name: String = "slt", pitch: Double = 170, range: Double = 15, warp: Double = 1) {
    (self.name, self.pitch, self.range, self.warp) = (name, pitch, range, warp)
  }

  init(for identity: Identity, using random: inout SeededRandom) {
    let isWoman = identity.gender == .woman
    // flite has one woman alone; a man's voice whose resonances are moved up by a sixth is another one.
    let isRaised = isWoman && random.chance(0.3)
    name = isWoman && !isRaised ? "slt" : random.pick(isRaised ? ["awb", "kal16"] : ["awb", "kal16", "rms"])
    pitch = random.number(isRaised ? 160...200 : isWoman ? 145...245 : 80...150).rounded(1)
    range = random.number(8...32).rounded(1)
    warp = random.number(isRaised ? 1.15...1.2 : 0.92...1.1).rounded(3)
  }

  /// What flite is told, so that the voice speaks at a rate after it was warped.
  func options(rate: Int) -> [String] {
    let stretch = 175 / Double(rate) * warp
    return [
      "-voice", name, "--setf", "duration_stretch=\(stretch.rounded(4))",
      "--setf", "int_f0_target_mean=\((pitch / warp).rounded(2))",
      "--setf", "int_f0_target_stddev=\((range / warp).rounded(2))",
    ]
  }
}

/// How a person sounds, in any language.
package struct Voice: Codable, Sendable, Equatable {
  /// What speaks the person's English; other languages are espeak-ng's.
  package var english: VoiceEngine
  /// The name of espeak-ng's variant, such as "f2"; empty for the language's own voice.
  package var variant: String
  /// 0…99; 50 is the variant's own.
  package var pitch: Int
  /// How much the pitch moves, 0…99.
  package var range: Int
  /// Words a minute.
  package var rate: Int
  /// Pitch and resonances are this many times higher: a shorter vocal tract. The sound is played so much faster, and spoken
  /// slower before.
  package var warp: Double
  package var flite: FliteVoice

  package init(
    variant: String, pitch: Int, range: Int, rate: Int, warp: Double = 1, english: VoiceEngine = .espeak,
    flite: FliteVoice = FliteVoice()
  ) {
    (self.variant, self.pitch, self.range, self.rate) = (variant, pitch, range, rate)
    (self.warp, self.english, self.flite) = (warp, english, flite)
  }

  package init(for identity: Identity, engines: [VoiceEngine], using random: inout SeededRandom) {
    variant =
      identity.gender == .woman
      ? random.pick(["f1", "f2", "f3", "f4", "f5", "linda", "steph", "belinda"])
      : random.pick(["", "m1", "m2", "m3", "m4", "m5", "m7", "paul", "david"])
    pitch = random.integer(identity.age == .old ? 25...56 : 28...74)
    range = random.integer(25...80)
    rate = random.integer(identity.age == .old ? 110...155 : 120...205)
    warp = random.number(0.93...1.08).rounded(3)
    english = random.pick(engines)
    flite = FliteVoice(for: identity, using: &random)
  }

  /// espeak-ng's name for it in a language's voice.
  package func name(_ voice: String) -> String { variant.isEmpty ? voice : "\(voice)+\(variant)" }

  package func engine(for language: Language) -> VoiceEngine { english.speaks(language) ? english : .espeak }

  /// A text in a language.
  ///
  /// - Parameter voice: espeak-ng's voice of the language.
  /// - Throws: `LiveTalkError` when the engine cannot speak.
  func speech(_ text: String, _ language: Language, voice: String) throws -> Speech {
    switch engine(for: language) {
    case .espeak:
      try Speech(
        text: text, voice: name(voice), rate: Int((Double(rate) / warp).rounded()), pitch: pitch, range: range,
        warp: warp)
    case .flite: try Speech(text: text, voice: flite, rate: rate)
    }
  }
}
