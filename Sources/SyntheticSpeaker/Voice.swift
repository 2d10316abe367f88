/// How a person sounds, in any language: an espeak-ng variant, pitch, liveliness and speed.
package struct Voice: Codable, Sendable, Equatable {
  /// The variant's name, such as "f2"; empty for the language's own voice.
  package var variant: String
  /// 0…99; 50 is the variant's own.
  package var pitch: Int
  /// How much the pitch moves, 0…99.
  package var range: Int
  /// Words a minute.
  package var rate: Int

  package init(variant: String, pitch: Int, range: Int, rate: Int) {
    (self.variant, self.pitch, self.range, self.rate) = (variant, pitch, range, rate)
  }

  package init(for identity: Identity, using random: inout SeededRandom) {
    variant =
      identity.gender == .woman
      ? random.pick(["f1", "f2", "f3", "f4", "f5", "linda", "steph", "belinda"])
      : random.pick(["", "m1", "m2", "m3", "m4", "m5", "m7", "paul", "david"])
    pitch = random.integer(identity.age == .old ? 32...52 : 38...64)
    range = random.integer(35...70)
    rate = random.integer(identity.age == .old ? 118...150 : 130...185)
  }

  /// espeak-ng's name for it in a language's voice.
  package func name(_ voice: String) -> String { variant.isEmpty ? voice : "\(voice)+\(variant)" }
}
