/// What went wrong in a session, for its client.
package struct SessionError: Error, Hashable, Sendable, Codable, CustomStringConvertible {
  /// Stable, for programs.
  package enum Code: String, Sendable, Codable, CaseIterable {
    /// The computation of the avatar failed, or its pictures were not numbers. The session is over.
    case engineFailed = "engine_failed"
    /// The device has no memory left for this session. The session is over.
    case outOfMemory = "out_of_memory"
    /// The responder cannot be reached, or broke off and could not be reached again. The conversation goes on.
    case responderFailed = "responder_failed"
    case responderTimedOut = "responder_timed_out"
    /// The user's speech could not be written down. The conversation goes on.
    case transcriptionFailed = "transcription_failed"
    case voiceFailed = "voice_failed"
    case badPicture = "bad_picture"
    case badPrompt = "bad_prompt"
    case badSize = "bad_size"
    case badSound = "bad_sound"
    case unknownAvatar = "unknown_avatar"
    case unknownUtterance = "unknown_utterance"
    /// What the session was opened without is needed for this command, such as a voice.
    case notAvailable = "not_available"
    /// More came than is taken at a time.
    case tooMuch = "too_much"
    /// What the session was opened for cannot go on, such as a call in a room elsewhere. The session is over.
    case callFailed = "call_failed"
    /// The session is over.
    case closed
  }

  package var code: Code
  /// One sentence: what is wrong, what to do.
  package var message: String
  /// Whether the session ended by it.
  package var isFatal: Bool

  package init(_ code: Code, _ message: String, isFatal: Bool = false) {
    (self.code, self.message, self.isFatal) = (code, message, isFatal)
  }

  package var description: String { message }
}
