/// Windows of voice activity detection.
package enum VoiceActivity {
  /// Samples per second of the user's sound.
  package static let sampleRate = 16_000
  package static let windowSamples = 512
  /// Seconds.
  package static let windowSeconds = Double(windowSamples) / Double(sampleRate)
}

/// Makes pieces of speech of the probabilities of windows, with hysteresis. Its time is that of the sound, however late it arrives.
struct SpeechDetector {
  enum Change: Hashable { case began, ended }

  /// Whether the user is held to be speaking.
  private(set) var isSpeaking = false
  /// Seconds from the first to the newest window of the piece of speech under way, or of the last one.
  private(set) var speech = 0.0
  /// Seconds since the last window of speech.
  private(set) var silence = 0.0
  /// Seconds of silence before the piece of speech under way.
  private(set) var pause = 0.0

  private let settings: TurnSettings
  /// Whether a window has begun speech that may still be too short to count.
  private var isRising = false
  private var sinceStart = 0.0

  init(_ settings: TurnSettings) { self.settings = settings }

  /// Takes the probability of the next window.
  mutating func take(_ probability: Float) -> Change? {
    let window = VoiceActivity.windowSeconds
    let isLoud = probability >= settings.speechStart
    if isRising || isSpeaking { sinceStart += window }
    if isLoud {
      if !isRising && !isSpeaking { (isRising, sinceStart, speech, pause) = (true, window, 0, silence) }
      silence = 0
    } else if silence > 0 || probability < settings.speechEnd || !(isRising || isSpeaking) {
      silence += window
    }
    if silence == 0 { speech = sinceStart }
    return change()
  }

  /// Silence where no sound comes at all.
  mutating func pass(_ seconds: Double) -> Change? {
    silence += seconds
    if isRising || isSpeaking { sinceStart += seconds }
    return change()
  }

  /// Ends what is under way.
  mutating func reset() { (isRising, isSpeaking, speech, silence, pause, sinceStart) = (false, false, 0, 0, 0, 0) }

  private mutating func change() -> Change? {
    // Sums of 32 ms are not exact.
    let slack = VoiceActivity.windowSeconds / 1000
    if isRising, speech >= settings.duckAfter - slack {
      (isRising, isSpeaking) = (false, true)
      return .began
    }
    if isRising, silence >= settings.shortestGap - slack { isRising = false }
    if isSpeaking, silence >= settings.shortestGap - slack {
      isSpeaking = false
      return .ended
    }
    return nil
  }
}

/// The silence that ends a turn, learnt from the pauses that the user makes in the middle of one.
struct EndOfTurn {
  private(set) var silence: Double
  private let settings: TurnSettings

  init(_ settings: TurnSettings) {
    self.settings = settings
    silence = settings.shortestEndSilence
  }

  /// A pause after which the same turn went on: the silence that ends a turn moves to half as much again.
  mutating func learn(pause: Double) {
    move(to: settings.pauseMemory * silence + (1 - settings.pauseMemory) * 1.5 * pause)
  }

  /// A pause that was held to be the end of the turn and was not: the next one like it is waited out.
  mutating func learn(prematureEnd pause: Double) { move(to: max(silence, pause + 0.1)) }

  private mutating func move(to seconds: Double) {
    silence = min(max(seconds, settings.shortestEndSilence), settings.longestEndSilence)
  }
}
