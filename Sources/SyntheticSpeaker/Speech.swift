import Basics
import CESpeak
import Foundation
import Media

/// What a voice makes of a text: espeak-ng's here, flite's in FliteSpeech.swift.
///
/// The same text and voice give the same samples whatever was spoken before; texts may be spoken from several threads at once.
package struct Speech: Sendable {
  /// Samples a second of `samples`.
  package static let sampleRate = 16_000
  /// Milliseconds that the work on one text may take.
  private static let longest = 20_000

  /// Mono, −1…1, at `sampleRate`.
  package var samples: [Float]
  /// Gapless from 0 to the end; the times are the engine's own.
  package var phonemes: [Phoneme]
  /// Where words begin: seconds, and how many characters of the text come before.
  package var words: [(start: Double, position: Int)]

  package var seconds: Double { Double(samples.count) / Double(Self.sampleRate) }

  /// - Parameters:
  ///   - voice: espeak-ng's name, such as "de+f2".
  ///   - warp: how many times higher and faster the sound is played than it was spoken.
  /// - Throws: `LiveTalkError` when espeak-ng has no data, no such voice or no memory.
  package init(text: String, voice: String, rate: Int = 160, pitch: Int = 50, range: Int = 50, warp: Double = 1) throws
  {
    guard
      let utterance = cespeak_speak(
        voice, text, Int32(rate), Int32(pitch), Int32(range), Int32(Self.longest))
    else { throw LiveTalkError("There is not enough memory to speak a text.") }
    defer { cespeak_free(utterance) }
    try Self.check(utterance.pointee.status, voice)
    let sourceRate = (Double(utterance.pointee.rate) * warp).rounded()
    let raw = UnsafeBufferPointer(start: cespeak_samples(utterance), count: Int(utterance.pointee.sample_count))
    samples = try Self.resampled(raw.map { Float($0) / 32_768 }, from: sourceRate)
    let events = UnsafeBufferPointer(start: cespeak_events(utterance), count: Int(utterance.pointee.event_count))
    (phonemes, words) = Self.read(events, rate: sourceRate, end: Double(samples.count) / Double(Self.sampleRate))
  }

  /// Says another text after a pause.
  ///
  /// - Parameters:
  ///   - pause: seconds.
  ///   - position: characters of the whole text before the next one.
  mutating func append(_ next: Speech, after pause: Double, position: Int) {
    let begun = phonemes.map { ($0.symbol, $0.start) } + [(Phoneme.silence, seconds)]
    samples.append(contentsOf: repeatElement(0, count: Int(pause * Double(Self.sampleRate))))
    let offset = seconds
    samples += next.samples
    phonemes = Self.gapless(begun + next.phonemes.map { ($0.symbol, offset + $0.start) }, end: seconds)
    words += next.words.map { (offset + $0.start, position + $0.position) }
  }

  /// Sound of another rate at `sampleRate`; as long as it is, rounded up to a sample.
  static func resampled(_ sound: [Float], from sourceRate: Double) throws -> [Float] {
    var resampled: [Float] = []
    let resampler = try Resampler(from: Int(sourceRate), to: Self.sampleRate)
    try sound.withUnsafeBufferPointer { try resampler.push($0, into: &resampled) }
    try resampler.push(nil, into: &resampled)
    let count = resampler.length(of: sound.count)
    resampled.removeLast(max(0, resampled.count - count))
    resampled.append(contentsOf: repeatElement(0, count: count - resampled.count))
    return resampled
  }

  private static func check(_ status: Int32, _ voice: String) throws {
    switch Int(status) {
    case Int(CESPEAK_OK): return
    case Int(CESPEAK_NO_MEMORY): throw LiveTalkError("There is not enough memory to speak a text.")
    case Int(CESPEAK_NO_DATA):
      throw LiveTalkError("espeak-ng finds its voice data nowhere: install espeak-ng-data, or set ESPEAK_DATA_PATH.")
    case Int(CESPEAK_NO_VOICE): throw LiveTalkError("espeak-ng has no voice '\(voice)': install espeak-ng-data whole.")
    case Int(CESPEAK_TOO_LONG): throw LiveTalkError("A text is too long to be spoken at once.")
    default: throw LiveTalkError("espeak-ng fails to speak with the voice '\(voice)'.")
    }
  }

  private static func read(
    _ events: UnsafeBufferPointer<cespeak_event>, rate: Double, end: Double
  ) -> ([Phoneme], [(start: Double, position: Int)]) {
    var words: [(start: Double, position: Int)] = []
    var begun: [(symbol: String, start: Double)] = []
    for index in events.indices {
      let start = min(Double(events[index].sample) / rate, end)
      if events[index].position > 0 {
        words.append((start, Int(events[index].position) - 1))
        continue
      }
      let name = events.baseAddress.map { String(cString: cespeak_event_name($0 + index)) } ?? ""
      begun.append((name.isEmpty ? Phoneme.silence : name, start))
    }
    return (gapless(begun, end: end), words)
  }

  /// Each phoneme lasts until the next begins; pauses next to each other are one, and what takes no time is left out.
  static func gapless(_ begun: [(symbol: String, start: Double)], end: Double) -> [Phoneme] {
    var phonemes: [Phoneme] = []
    func add(_ symbol: String, _ start: Double, _ end: Double) {
      guard end > start else { return }
      if symbol == Phoneme.silence, phonemes.last?.isSilence == true {
        phonemes[phonemes.count - 1].end = end
      } else {
        phonemes.append(Phoneme(symbol: symbol, start: start, end: end))
      }
    }
    add(Phoneme.silence, 0, begun.first?.start ?? end)
    for (index, one) in begun.enumerated() {
      add(one.symbol, one.start, index + 1 < begun.count ? begun[index + 1].start : end)
    }
    return phonemes
  }
}
