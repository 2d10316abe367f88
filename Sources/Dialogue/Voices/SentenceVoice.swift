import Session

/// A voice that is asked for one sentence at a time.
protocol SentenceVoice: Voice {
  /// Reads one sentence aloud; all its sentences have one rate.
  ///
  /// - Throws: `SessionError` (`voiceFailed`), or `CancellationError`.
  func speak(_ sentence: String, _ sound: @escaping @Sendable (PCM) -> Void) async throws
}

extension SentenceVoice {
  package func speech(of text: String) -> AsyncThrowingStream<SpeechEvent, any Error> {
    speechStream { output in
      var splitter = SentenceSplitter()
      let sentences = splitter.append(text) + splitter.finish()
      var reader = SentenceReader(self, output)
      for sentence in sentences.map(SpokenText.cleaned) where !sentence.isEmpty { try await reader.speak(sentence) }
      try Task.checkCancellation()
      output.yield(.done)
    }
  }
}

/// Reads sentences one after the other and says when each begins.
struct SentenceReader {
  private let voice: any SentenceVoice
  private let output: SpeechOutput
  private var seconds = 0.0
  private var isFirst = true

  init(_ voice: any SentenceVoice, _ output: SpeechOutput) { (self.voice, self.output) = (voice, output) }

  mutating func speak(_ sentence: String) async throws {
    try Task.checkCancellation()
    output.yield(.text(isFirst ? sentence : " " + sentence, at: seconds))
    isFirst = false
    let spoken = SoundLength()
    let output = output
    try await voice.speak(sentence) { sound in
      guard !sound.samples.isEmpty else { return }
      spoken.add(sound)
      output.yield(.sound(sound))
    }
    seconds += spoken.seconds
  }
}
