/// One sound of speech and when it is heard.
package struct Phoneme: Codable, Sendable, Equatable {
  /// The symbol of silence.
  package static let silence = "_"

  /// In the International Phonetic Alphabet; "_" is silence.
  package var symbol: String
  /// What it looks like when it begins.
  package var viseme: Viseme
  /// Seconds from the beginning of the clip.
  package var start: Double
  package var end: Double

  package init(symbol: String, start: Double, end: Double) {
    self.symbol = symbol
    viseme = Viseme.sequence(of: symbol)[0]
    self.start = start
    self.end = end
  }

  package var isSilence: Bool { symbol == Self.silence }
}
