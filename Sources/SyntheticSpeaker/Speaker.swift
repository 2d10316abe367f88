import Basics

/// A person: looks and voice. The same seed and number give the same one.
package struct Speaker: Codable, Sendable, Equatable {
  /// The name in data sets, such as "speaker-00012".
  package let name: String
  package let identity: Identity
  package let voice: Voice

  /// - Parameter engines: what may speak the person's English.
  package init(seed: UInt64, number: Int, engines: [VoiceEngine] = VoiceEngine.allCases) {
    let digits = String(number)
    name = "speaker-" + String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    var looks = SeededRandom(seed: seed, [number], "identity")
    identity = Identity(using: &looks)
    var sound = SeededRandom(seed: seed, [number], "voice")
    voice = Voice(for: identity, engines: engines, using: &sound)
  }

  /// Someone who is in no data set: portraits have numbers of their own.
  package init(portrait seed: UInt64) {
    name = "portrait-\(seed)"
    var looks = SeededRandom(seed: seed, [], "portrait")
    identity = Identity(using: &looks)
    var sound = SeededRandom(seed: seed, [], "portrait's voice")
    voice = Voice(for: identity, engines: VoiceEngine.allCases, using: &sound)
  }

  package init(name: String, identity: Identity, voice: Voice) {
    (self.name, self.identity, self.voice) = (name, identity, voice)
  }

  /// How the person looks straight into the camera and says nothing.
  package static var rest: FrameState {
    var state = FrameState()
    state.mouthWidth = 0.4167
    return state
  }
}
