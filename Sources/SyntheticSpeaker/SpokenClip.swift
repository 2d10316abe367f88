import Foundation

/// The sound of a clip before it is worked on: speech that begins after a short silence and ends before the clip does.
package struct SpokenClip: Sendable {
  /// `Speech.sampleRate` samples a second.
  package let samples: [Float]
  /// Gapless from 0 to the end of the sound, which the last one reaches.
  package let phonemes: [Phoneme]
  /// What is heard of the text.
  package let text: String

  /// Seconds of silence at the end of every clip that is long enough.
  private static let tail = 0.12

  /// Nobody says anything.
  ///
  /// - Parameter count: the length in samples.
  package init(silence count: Int) {
    samples = [Float](repeating: 0, count: count)
    phonemes = [Phoneme(symbol: Phoneme.silence, start: 0, end: Double(count) / Double(Speech.sampleRate))]
    text = ""
  }

  /// - Parameters:
  ///   - count: the length in samples.
  ///   - lead: samples of silence before the speech.
  package init(_ speech: Speech, text: String, count: Int, lead: Int) {
    let rate = Double(Speech.sampleRate)
    let begin = Double(lead) / rate
    let latest = max(Double(count) / rate - min(Self.tail, Double(count) / rate / 4) - begin, 0)
    let (cut, said) = Self.cut(speech, text, latest)
    var samples = [Float](repeating: 0, count: count)
    let kept = min(Int((cut * rate).rounded(.down)), speech.samples.count, max(count - lead, 0))
    // A cut in the middle of a wave would click.
    let fade = cut < speech.seconds ? min(kept, 160) : 0
    for index in 0..<kept {
      let left = kept - index
      samples[lead + index] = speech.samples[index] * (left < fade ? Float(left) / Float(fade) : 1)
    }
    self.samples = samples
    self.text = said
    var begun: [(symbol: String, start: Double)] = [(Phoneme.silence, 0)]
    for phoneme in speech.phonemes where phoneme.start < cut { begun.append((phoneme.symbol, begin + phoneme.start)) }
    begun.append((Phoneme.silence, begin + cut))
    phonemes = Speech.gapless(begun, end: Double(count) / rate)
  }

  /// When speech ends that must be over by `latest`, and the text up to there: all of it; else what is said before a pause or
  /// as many words as fit; if not
  /// even one does, the sounds that fit.
  private static func cut(_ speech: Speech, _ text: String, _ latest: Double) -> (Double, String) {
    guard speech.seconds > latest else { return (speech.seconds, text) }
    let isPause = speech.phonemes.contains { $0.isSilence && $0.start < latest && latest <= $0.end && $0.start > 0.1 }
    let next = isPause ? speech.words.first { $0.start > latest } : nil
    if let word = next ?? speech.words.last(where: { $0.start <= latest && $0.start > 0.1 }) {
      var said = text.unicodeScalars.prefix(word.position)
      // Where words are spoken as one, the position may lie within one.
      while let last = said.last, !last.properties.isWhitespace, !"'’-".unicodeScalars.contains(last) {
        said.removeLast()
      }
      return (min(word.start, latest), String(said).trimmingCharacters(in: .whitespaces))
    }
    let phoneme = speech.phonemes.last { $0.start <= latest && $0.start > 0 }
    return (phoneme?.start ?? latest, String(text.prefix { !$0.isWhitespace }))
  }
}
