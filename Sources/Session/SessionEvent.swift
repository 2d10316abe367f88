/// What a conversation is doing.
package enum ConversationState: String, Hashable, Sendable, Codable, CaseIterable {
  /// Nobody speaks.
  case idle
  /// The user speaks.
  case listening
  /// The answer is awaited.
  case thinking
  /// The avatar speaks.
  case speaking
}

/// What a session tells its client. As JSON it is one flat object with a `type`; times are samples of the session's sound.
package enum SessionEvent: Hashable, Sendable {
  case state(ConversationState)
  case userSpeechStarted
  case userSpeechStopped
  /// What the user says: all of the turn so far.
  case userTranscript(String, isFinal: Bool)
  /// Further words of an utterance. `at` is when they are spoken, in seconds from its first sample.
  case avatarTranscript(UtteranceID, delta: String, at: Double)
  /// The utterance's first sample is played at this sample of the session. Once per utterance that is heard.
  case playbackStarted(UtteranceID, sample: Int)
  /// Once per utterance, also for one that was never heard: how much of it was played, and what of its text that is.
  case playbackFinished(UtteranceID, playedSeconds: Double, wasInterrupted: Bool, text: String)
  /// All sound that the client still holds from this sample on is to be dropped.
  case playbackCleared(sample: Int)
  case metrics(SessionMetrics)
  case error(SessionError)
  case closed(CloseReason)
}

package enum CloseReason: String, Hashable, Sendable, Codable {
  /// The client asked for it.
  case client
  /// The engine failed.
  case failed
  /// Nothing was said for too long.
  case idle
  /// The longest time for a session is over.
  case expired
  /// The server is being stopped.
  case draining
}

/// How well a session keeps up, since its start.
package struct SessionMetrics: Hashable, Sendable, Codable {
  package var blocks = 0
  /// Seconds that blocks took.
  package var blockP50 = 0.0
  package var blockP99 = 0.0
  /// Of the newest block: fewer steps, then fewer pictures per second, where the machine is too slow.
  package var steps = 0
  package var framesPerSecond = 0
  /// Times at which no picture was ready when one was due.
  package var missedDeadlines = 0
  /// Pictures that were held for longer because of it.
  package var heldFrames = 0
  /// Seconds from the session's start to its first picture.
  package var timeToFirstFrame: Double?
  /// Of the newest answer: seconds from the end of the user's speech, or from the text, to the first sound.
  package var responseLatency: Double?
  /// Seconds of generated sound that wait to be played.
  package var queued = 0.0

  package init() {}

  private enum CodingKeys: String, CodingKey {
    case blocks
    case blockP50 = "block_p50"
    case blockP99 = "block_p99"
    case steps
    case framesPerSecond = "frames_per_second"
    case missedDeadlines = "missed_deadlines"
    case heldFrames = "held_frames"
    case timeToFirstFrame = "time_to_first_frame"
    case responseLatency = "response_latency"
    case queued
  }
}

extension SessionEvent: Codable {
  private enum Key: String, CodingKey {
    case type, state, text, isFinal = "is_final", utterance, delta, at, sample, played = "played_seconds"
    case wasInterrupted = "interrupted"
    case metrics, error, reason
  }

  private enum Kind: String, Codable {
    case state
    case userSpeechStarted = "user_speech.started"
    case userSpeechStopped = "user_speech.stopped"
    case userTranscript = "user_transcript"
    case avatarTranscript = "avatar_transcript.delta"
    case playbackStarted = "playback.started"
    case playbackFinished = "playback.finished"
    case playbackCleared = "playback.cleared"
    case metrics, error, closed
  }

  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: Key.self)
    func utterance() throws -> UtteranceID { try fields.decode(UtteranceID.self, forKey: .utterance) }
    func text() throws -> String { try fields.decode(String.self, forKey: .text) }
    switch try fields.decode(Kind.self, forKey: .type) {
    case .state: self = .state(try fields.decode(ConversationState.self, forKey: .state))
    case .userSpeechStarted: self = .userSpeechStarted
    case .userSpeechStopped: self = .userSpeechStopped
    case .userTranscript: self = .userTranscript(try text(), isFinal: try fields.decode(Bool.self, forKey: .isFinal))
    case .avatarTranscript:
      self = .avatarTranscript(
        try utterance(), delta: try fields.decode(String.self, forKey: .delta),
        at: try fields.decode(Double.self, forKey: .at))
    case .playbackStarted:
      self = .playbackStarted(try utterance(), sample: try fields.decode(Int.self, forKey: .sample))
    case .playbackFinished:
      self = .playbackFinished(
        try utterance(), playedSeconds: try fields.decode(Double.self, forKey: .played),
        wasInterrupted: try fields.decode(Bool.self, forKey: .wasInterrupted), text: try text())
    case .playbackCleared: self = .playbackCleared(sample: try fields.decode(Int.self, forKey: .sample))
    case .metrics: self = .metrics(try fields.decode(SessionMetrics.self, forKey: .metrics))
    case .error: self = .error(try fields.decode(SessionError.self, forKey: .error))
    case .closed: self = .closed(try fields.decode(CloseReason.self, forKey: .reason))
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: Key.self)
    func kind(_ kind: Kind) throws { try fields.encode(kind, forKey: .type) }
    switch self {
    case .state(let state):
      try kind(.state)
      try fields.encode(state, forKey: .state)
    case .userSpeechStarted: try kind(.userSpeechStarted)
    case .userSpeechStopped: try kind(.userSpeechStopped)
    case .userTranscript(let text, let isFinal):
      try kind(.userTranscript)
      try fields.encode(text, forKey: .text)
      try fields.encode(isFinal, forKey: .isFinal)
    case .avatarTranscript(let utterance, let delta, let at):
      try kind(.avatarTranscript)
      try fields.encode(utterance, forKey: .utterance)
      try fields.encode(delta, forKey: .delta)
      try fields.encode(at, forKey: .at)
    case .playbackStarted(let utterance, let sample):
      try kind(.playbackStarted)
      try fields.encode(utterance, forKey: .utterance)
      try fields.encode(sample, forKey: .sample)
    case .playbackFinished(let utterance, let seconds, let wasInterrupted, let text):
      try kind(.playbackFinished)
      try fields.encode(utterance, forKey: .utterance)
      try fields.encode(seconds, forKey: .played)
      try fields.encode(wasInterrupted, forKey: .wasInterrupted)
      try fields.encode(text, forKey: .text)
    case .playbackCleared(let sample):
      try kind(.playbackCleared)
      try fields.encode(sample, forKey: .sample)
    case .metrics(let metrics):
      try kind(.metrics)
      try fields.encode(metrics, forKey: .metrics)
    case .error(let error):
      try kind(.error)
      try fields.encode(error, forKey: .error)
    case .closed(let reason):
      try kind(.closed)
      try fields.encode(reason, forKey: .reason)
    }
  }
}
