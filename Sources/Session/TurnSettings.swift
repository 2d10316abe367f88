/// When somebody speaks and when a turn is over. Times are seconds.
package struct TurnSettings: Hashable, Sendable, Codable {
  /// A window of at least this probability begins speech; one below `speechEnd` may end it (Silero VAD's 0.5 and 0.35).
  package var speechStart: Float = 0.5
  package var speechEnd: Float = 0.35
  /// Speech that lasts this long is noticed, and ducks the avatar's sound.
  package var duckAfter = 0.064
  /// How much quieter the ducked sound is, in decibels.
  package var duckBy = 24.0
  /// Silence that ends a piece of speech, but not yet the turn.
  package var shortestGap = 0.2
  /// Speech that lasts this long stops the avatar.
  package var interruptAfter = 0.5
  /// Where nobody has said a word this long after a stop, it was a false one: the avatar goes on where it was.
  package var falseInterruptionAfter = 2.0
  /// Words that show attention and ask for no turn: while the avatar speaks they do not stop it.
  package var backchannels: Set<String> = [
    "mhm", "mm", "mmm", "hm", "hmm", "uh-huh", "uh", "huh", "yeah", "yes", "ok", "okay", "right", "sure", "aha", "ah",
    "oh",
    "i see", "ja", "genau", "oui", "si", "sí",
  ]
  /// Seconds of the avatar's first sound in which speech is taken for its echo, until the browser's canceller has learnt the room.
  package var echoWarmUp = 3.0
  /// Silence that ends a turn: it adapts to the pauses that the user makes, between these.
  package var shortestEndSilence = 0.5
  package var longestEndSilence = 3.0
  /// Whether an answer is prepared in each of the user's pauses (`shortestGap`), to be heard at once if the turn ends there and
  /// to be thrown away if it goes on.
  package var preparesAnswers = true
  /// Weight of what was known in the moving average of the user's pauses.
  package var pauseMemory = 0.9
  /// Less speech than this is a noise, not a turn.
  package var shortestTurn = 0.25
  /// Sound before speech was noticed that belongs to a turn.
  package var turnPrefix = 0.3
  /// A turn ends here, silence or not.
  package var longestTurn = 60.0
  /// How long the final words of a client that recognises speech are waited for.
  package var longestWordsWait = 1.5
  /// How long an answer's first sound is waited for.
  package var longestThinking = 30.0
  /// Utterances that may wait to be spoken.
  package var longestQueue = 16
  /// Turns of the conversation that are kept.
  package var longestHistory = 200
  /// What the avatar says where its answer broke off; empty for nothing.
  package var apology = "I am sorry, I lost my thought. Could you say that again?"
  /// A session in which nobody says anything for this long is closed; nil for never.
  package var idleAfter: Double? = 600
  /// The longest session; nil for no limit.
  package var longestSession: Double?

  package init() {}

  /// Whether these words are nothing but signs of attention.
  package func isBackchannel(_ words: String) -> Bool {
    let clean = words.lowercased().filter { $0.isLetter || $0 == " " || $0 == "-" }
    if backchannels.contains(clean.trimmed) { return true }
    let parts = clean.split(separator: " ")
    return !parts.isEmpty && parts.count <= 3 && parts.allSatisfy { backchannels.contains(String($0)) }
  }
}

extension StringProtocol {
  /// Without white space at both ends.
  package var trimmed: String {
    guard let first = firstIndex(where: { !$0.isWhitespace }), let last = lastIndex(where: { !$0.isWhitespace }) else {
      return ""
    }
    return String(self[first...last])
  }
}
