/// One turn of a conversation that is over.
package struct Turn: Hashable, Sendable, Codable {
  package enum Role: String, Sendable, Codable { case user, avatar }

  package var role: Role
  /// What was said as far as it is known; of the avatar's turns only what was heard.
  package var text: String
  /// The avatar's utterance.
  package var utterance: UtteranceID?
  /// Whether the other one spoke before it was over.
  package var wasInterrupted: Bool

  package init(_ role: Role, _ text: String, utterance: UtteranceID? = nil, wasInterrupted: Bool = false) {
    (self.role, self.text, self.utterance, self.wasInterrupted) = (role, text, utterance, wasInterrupted)
  }
}

/// What the avatar is to answer.
package struct ResponseRequest: Sendable {
  /// The number that the answer will have.
  package var utterance: UtteranceID
  /// All turns before, the oldest first.
  package var history: [Turn]
  /// What the user said or typed, where it is known.
  package var text: String?
  /// What the user said, at 16 kHz; nil for typed text.
  package var sound: PCM?

  package init(utterance: UtteranceID, history: [Turn], text: String?, sound: PCM?) {
    (self.utterance, self.history, self.text, self.sound) = (utterance, history, text, sound)
  }
}

/// A part of an answer, in the order in which it is made.
package enum SpeechEvent: Hashable, Sendable {
  /// What the user said, as the responder understood it; for responders that hear.
  case heard(String)
  /// Further words. `at` is when they are spoken, in seconds from the answer's first sample, where that is known.
  case text(String, at: Double? = nil)
  /// Further sound; one answer keeps to one rate.
  case sound(PCM)
  /// The answer is whole. A stream that ends without it was broken off.
  case done
}

/// Who thinks and speaks for the avatar.
package protocol Responder: Sendable {
  /// Whether the user's sound is enough for it. Where not, a `Transcriber` writes it down first.
  var hears: Bool { get }

  /// Whether an answer may be asked for before it is sure that the turn is over, and be cancelled when it goes on.
  var allowsPreparing: Bool { get }

  /// Answers. Cancelling the task that reads the stream cancels the work behind it, on a server too.
  ///
  /// The stream throws `SessionError` (`responderFailed`, `responderTimedOut`) where there will be no answer, or no more of it.
  func respond(to request: ResponseRequest) -> AsyncThrowingStream<SpeechEvent, any Error>

  /// The user's sound as it comes, at 16 kHz, before a turn is over; for responders that listen along.
  func hear(_ sound: PCM) async

  /// The user's sound since the last turn is nothing to be answered.
  func forgetHeard() async

  /// An utterance was broken off: only this much of it was played and this text was heard.
  func truncate(_ utterance: UtteranceID, playedSeconds: Double, text: String) async

  /// The session is over.
  func close() async
}

extension Responder {
  package var allowsPreparing: Bool { true }
  package func hear(_ sound: PCM) async {}
  package func forgetHeard() async {}
  package func truncate(_ utterance: UtteranceID, playedSeconds: Double, text: String) async {}
  package func close() async {}
}

/// Who reads text aloud.
package protocol Voice: Sendable {
  /// The sound of the text, `text` events that say when its words are spoken where that is known, and `done`.
  ///
  /// The stream throws `SessionError` (`voiceFailed`).
  func speech(of text: String) -> AsyncThrowingStream<SpeechEvent, any Error>
}

/// Who writes the user's speech down.
package protocol Transcriber: Sendable {
  /// The words of some speech at 16 kHz; empty where there are none.
  ///
  /// - Throws: `SessionError` (`transcriptionFailed`).
  func transcribe(_ sound: PCM) async throws -> String
}

/// Tells speech from other sound, window by window of one listener's microphone.
package protocol VoiceActivityDetector: Sendable {
  /// The probability that somebody speaks in the next `VoiceActivity.windowSamples` samples at 16 kHz.
  func probability(of window: [Float]) async throws -> Float
  /// Forgets what was heard.
  func reset() async
}
