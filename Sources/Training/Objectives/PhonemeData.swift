import Basics
import Foundation
package import Models
package import Torch

// B batch, S samples, N feature rows, O moments about each row.

/// One speech sound and when it is heard, in seconds.
package struct PhonemeSegment: Equatable, Sendable {
  package let symbol: String
  package let start: Double
  package let end: Double

  package init(_ symbol: String, _ start: Double, _ end: Double) {
    (self.symbol, self.start, self.end) = (symbol, start, end)
  }
}

/// The phonemes that a classifier tells apart, silence first. Built from the data, kept beside the classifier's weights.
package struct PhonemeSymbols: Equatable, Sendable {
  package static let silence = "_"

  package let names: [String]
  private let indices: [String: Int]

  package init(names: [String]) {
    self.names = names
    indices = Dictionary(names.enumerated().map { ($1, $0) }) { first, _ in first }
  }

  /// All that occur, in the order of their letters.
  package init(of sounds: some Sequence<[PhonemeSegment]>) {
    let found = sounds.reduce(into: Set<String>()) { $0.formUnion($1.map(\.symbol)) }
    self.init(names: [PhonemeSymbols.silence] + found.subtracting([PhonemeSymbols.silence]).sorted())
  }

  package var count: Int { names.count }
  package subscript(symbol: String) -> Int? { indices[symbol] }
}

/// A sound with its phonemes.
package struct LabelledSound: Sendable {
  package static let sampleRate = 16_000.0

  /// 16 kHz, mono.
  package let samples: [Float]
  package let phonemes: [PhonemeSegment]

  package init(samples: [Float], phonemes: [PhonemeSegment]) {
    (self.samples, self.phonemes) = (samples, phonemes)
  }

  /// A part of the sound, with the phonemes in it. What lies outside of it is left away.
  package func cropped(from start: Int, count: Int) -> LabelledSound {
    let range = min(max(start, 0), samples.count)..<min(max(start, 0) + max(count, 0), samples.count)
    let (offset, length) = (Double(range.lowerBound) / Self.sampleRate, Double(range.count) / Self.sampleRate)
    let inside = phonemes.compactMap { phoneme -> PhonemeSegment? in
      let (from, to) = (max(phoneme.start - offset, 0), min(phoneme.end - offset, length))
      return from < to ? PhonemeSegment(phoneme.symbol, from, to) : nil
    }
    return LabelledSound(samples: Array(samples[range]), phonemes: inside)
  }
}

/// Sounds as the encoder takes them, with the phoneme of each feature row.
package struct PhonemeBatch: Sendable {
  /// The label of a row that is not scored, as `Tensor.crossEntropy` has it.
  package static let ignored = -100

  /// Each normalised by itself, as serving does, with zeros up to the longest, `[B, S]`.
  package let samples: Tensor
  /// The symbols at the moments about the middle of what each row sees, `[B, N, O]`; `ignored` outside of the sound and where no
  /// known phoneme is.
  package let labels: Tensor
  /// The number of rows that the features are stretched to.
  package let rows: Int

  /// - Parameters:
  ///   - framesPerSecond: of the video whose frames the rows are, as when serving: the transformer's positions and attention depend on it.
  ///   - moments: of the labels, in seconds from the middle of what a row sees.
  /// - Throws: `LiveTalkError` for no sounds, sounds too short for a row, or none with a phoneme.
  package init(
    _ sounds: [LabelledSound], _ symbols: PhonemeSymbols, _ configuration: Wav2Vec2Configuration,
    framesPerSecond: Double, moments: [Double] = [0]
  ) throws {
    let longest = sounds.map(\.samples.count).max() ?? 0
    guard longest >= configuration.receptiveField, !sounds.contains(where: \.samples.isEmpty) else {
      throw LiveTalkError("A sound of \(longest) samples has no feature: it takes \(configuration.receptiveField).")
    }
    rows = Int((Double(longest) / LabelledSound.sampleRate * framesPerSecond).rounded()) + 1
    let times = PhonemeBatch.rowTimes(samples: longest, rows: rows, configuration)
    let labelTimes = times.flatMap { time in moments.map { time + $0 } }
    let labels = sounds.map { PhonemeBatch.labels($0, at: labelTimes, symbols) }
    guard labels.contains(where: { $0.contains { $0 != PhonemeBatch.ignored } }) else {
      throw LiveTalkError("None of the sounds has a known phoneme.")
    }
    self.labels = Tensor(labels.flatMap { $0 }, [sounds.count, times.count, moments.count])
    samples = Tensor.stack(
      sounds.map { AudioFeatures.normalized($0.samples).pad(0, longest - $0.samples.count) }, 0)
  }

  /// When each row is: the middle of what it sees of the sound, in seconds.
  static func rowTimes(samples: Int, rows: Int, _ configuration: Wav2Vec2Configuration) -> [Double] {
    let count = configuration.featureRows(samples: samples)
    let middle = Double(configuration.receptiveField - 1) / 2
    func time(_ row: Double) -> Double { (row * Double(configuration.hop) + middle) / LabelledSound.sampleRate }
    // The first and the last stretched row are the first and the last feature.
    return (0..<rows).map { time(Double($0) * Double(count - 1) / Double(max(1, rows - 1))) }
  }

  static func labels(_ sound: LabelledSound, at times: [Double], _ symbols: PhonemeSymbols) -> [Int] {
    let length = Double(sound.samples.count) / LabelledSound.sampleRate
    return times.map { time in
      guard 0 <= time, time < length, let phoneme = sound.phonemes.first(where: { $0.start <= time && time < $0.end })
      else {
        return ignored
      }
      return symbols[phoneme.symbol] ?? ignored
    }
  }
}
