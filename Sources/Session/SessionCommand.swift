/// What a client asks of a session.
///
/// As JSON it is one flat object with a `type`, such as `{"type": "say", "text": "Hello."}`.
package enum SessionCommand: Hashable, Sendable {
  /// Further sound of the user's microphone, in any pieces, at 16 kHz: a transport resamples.
  case appendUserAudio(PCM)
  /// The user's turn is over now: the button of push-to-talk was let go.
  case commitUserAudio
  /// The words of the user's speech so far, where the client recognises speech itself.
  case userTranscript(String, isFinal: Bool)
  /// Typed by the user: to be answered.
  case text(String)
  /// To be spoken as it stands.
  case say(String)
  /// Further sound for the avatar to speak, of an utterance that the client itself makes; one utterance is open at a time.
  case appendSpeech(PCM)
  case finishSpeech
  /// Stops what the avatar says.
  case interrupt
  /// Another direction.
  case setPrompt(String)
  /// Another of the server's avatars, by its name.
  case setAvatar(String)
  /// The client has played the sound up to this sample of the session.
  case played(sample: Int)
  case close
}

extension SessionCommand: Codable {
  private enum Key: String, CodingKey { case type, audio, text, isFinal = "is_final", prompt, avatar, sample }

  private enum Kind: String, Codable {
    case appendUserAudio = "user_audio.append"
    case commitUserAudio = "user_audio.commit"
    case userTranscript = "user_transcript"
    case text
    case say
    case appendSpeech = "speech.append"
    case finishSpeech = "speech.finish"
    case interrupt
    case setPrompt = "prompt.set"
    case setAvatar = "avatar.set"
    case played
    case close
  }

  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: Key.self)
    switch try fields.decode(Kind.self, forKey: .type) {
    case .appendUserAudio: self = .appendUserAudio(try fields.decode(PCM.self, forKey: .audio))
    case .commitUserAudio: self = .commitUserAudio
    case .userTranscript:
      self = .userTranscript(
        try fields.decode(String.self, forKey: .text),
        isFinal: try fields.decodeIfPresent(Bool.self, forKey: .isFinal) ?? true)
    case .text: self = .text(try fields.decode(String.self, forKey: .text))
    case .say: self = .say(try fields.decode(String.self, forKey: .text))
    case .appendSpeech: self = .appendSpeech(try fields.decode(PCM.self, forKey: .audio))
    case .finishSpeech: self = .finishSpeech
    case .interrupt: self = .interrupt
    case .setPrompt: self = .setPrompt(try fields.decode(String.self, forKey: .prompt))
    case .setAvatar: self = .setAvatar(try fields.decode(String.self, forKey: .avatar))
    case .played: self = .played(sample: try fields.decode(Int.self, forKey: .sample))
    case .close: self = .close
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: Key.self)
    func kind(_ kind: Kind) throws { try fields.encode(kind, forKey: .type) }
    switch self {
    case .appendUserAudio(let sound):
      try kind(.appendUserAudio)
      try fields.encode(sound, forKey: .audio)
    case .commitUserAudio: try kind(.commitUserAudio)
    case .userTranscript(let text, let isFinal):
      try kind(.userTranscript)
      try fields.encode(text, forKey: .text)
      try fields.encode(isFinal, forKey: .isFinal)
    case .text(let text):
      try kind(.text)
      try fields.encode(text, forKey: .text)
    case .say(let text):
      try kind(.say)
      try fields.encode(text, forKey: .text)
    case .appendSpeech(let sound):
      try kind(.appendSpeech)
      try fields.encode(sound, forKey: .audio)
    case .finishSpeech: try kind(.finishSpeech)
    case .interrupt: try kind(.interrupt)
    case .setPrompt(let prompt):
      try kind(.setPrompt)
      try fields.encode(prompt, forKey: .prompt)
    case .setAvatar(let name):
      try kind(.setAvatar)
      try fields.encode(name, forKey: .avatar)
    case .played(let sample):
      try kind(.played)
      try fields.encode(sample, forKey: .sample)
    case .close: try kind(.close)
    }
  }
}
