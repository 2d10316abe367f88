/// When somebody speaks and when a turn is over. Times are seconds.
package struct TurnSettings: Hashable, Sendable, Codable {
  /// A window of at least this probability begins speech; below `speechEnd` it may end it (Silero VAD's 0.5 and 0.35).
  package var speechStart: Float = 0.5
  package var speechEnd: Float = 0.35
  /// Speech that lasts this long ducks the avatar's sound.
  package var duckAfter = 0.064
  /// How much quieter the ducked sound is, in decibels.
  package var duckBy = 24.0
  /// Speech that lasts this long stops the avatar.
  package var interruptAfter = 0.5
  /// Where nobody says a word for this long after a stop, it was none: the avatar goes on where it was.
  package var falseInterruptionAfter = 2.0
  /// Words that show attention and ask for no turn; while the avatar speaks they do not stop it.
  package var backchannels = [
    "mhm", "mm", "hm", "uh-huh", "uhuh", "yeah", "yes", "ok", "okay", "right", "sure", "aha", "ja", "i see",
  ]
  /// Within this time after the avatar's first sound, speech is taken for the avatar's own echo: it does not stop it.
  package var echoWarmUp = 1.0
  /// Silence that ends a turn: it adapts to the pauses that the user makes, between these.
  package var shortestEndSilence = 0.5
  package var longestEndSilence = 3.0
  /// Weight of what was known in the moving average of the user's pauses.
  package var pauseMemory = 0.9
  /// Shorter speech is a noise, not a turn.
  package var shortestTurn = 0.25
  /// Sound before speech was noticed that belongs to a turn.
  package var turnPrefix = 0.3
  /// The longest turn; it ends there.
  package var longestTurn = 60.0

  package init() {}
}

/// Windows of voice activity detection.
package enum VoiceActivity {
  /// Samples per second of the user's sound.
  package static let sampleRate = 16_000
  package static let windowSamples = 512
  /// Seconds.
  package static let windowSeconds = Double(windowSamples) / Double(sampleRate)
}
