/// The shape of the mouth while a sound is spoken, continuous.
package struct MouthShape: Codable, Sendable, Equatable {
  /// Gap between the lips, 0 (closed) to 1 (the widest "a").
  package var open = 0.0
  /// Distance of the corners, 0 (pursed) to 1 (spread); 0.5 at rest.
  package var width = 0.5
  /// Lips rounded and pushed forward, 0…1.
  package var round = 0.0
  /// How much of the upper teeth shows, 0…1.
  package var teeth = 0.0
  /// How far the tongue is up, 0…1.
  package var tongue = 0.0
}

/// Sounds that look alike on the lips: the 15 visemes that MPEG-4 and lip-sync engines use, one more for "h" (which takes
/// the shape of what follows). Width, roundness and teeth are averages of what phonetics books describe, drawn clearly.
package enum Viseme: String, Codable, Sendable, CaseIterable {
  case silence = "sil"
  case pp = "PP"
  case ff = "FF"
  case th = "TH"
  case dd = "DD"
  case kk = "KK"
  case ch = "CH"
  case ss = "SS"
  case nn = "NN"
  case rr = "RR"
  case aa = "AA"
  case ee = "EE"
  case ii = "II"
  case oo = "OO"
  case uu = "UU"
  case hh = "HH"

  /// Its shape, and how strongly it holds against its neighbours'.
  var target: (shape: MouthShape, strength: Double) {
    switch self {
    case .silence: (MouthShape(), 0.8)
    case .pp: (MouthShape(open: 0, width: 0.47, round: 0.05), 2)
    case .ff: (MouthShape(open: 0.13, width: 0.52, teeth: 1), 2)
    case .th: (MouthShape(open: 0.26, width: 0.54, teeth: 0.7, tongue: 0.9), 1)
    case .dd: (MouthShape(open: 0.27, width: 0.56, teeth: 0.7, tongue: 0.5), 0.7)
    case .kk: (MouthShape(open: 0.33, width: 0.52, teeth: 0.35, tongue: 0.15), 0.5)
    case .ch: (MouthShape(open: 0.3, width: 0.22, round: 0.65, teeth: 0.9), 1.5)
    case .ss: (MouthShape(open: 0.17, width: 0.7, teeth: 1), 1.2)
    case .nn: (MouthShape(open: 0.3, width: 0.55, teeth: 0.45, tongue: 0.7), 0.7)
    case .rr: (MouthShape(open: 0.29, width: 0.36, round: 0.35, teeth: 0.35, tongue: 0.2), 0.8)
    case .aa: (MouthShape(open: 1, width: 0.56, teeth: 0.5, tongue: 0.25), 1.3)
    case .ee: (MouthShape(open: 0.6, width: 0.7, teeth: 0.6, tongue: 0.25), 1)
    case .ii: (MouthShape(open: 0.32, width: 0.95, teeth: 0.85, tongue: 0.2), 1.1)
    case .oo: (MouthShape(open: 0.72, width: 0.2, round: 0.8, teeth: 0.15, tongue: 0.1), 1.3)
    case .uu: (MouthShape(open: 0.34, width: 0.02, round: 1), 1.3)
    case .hh: (MouthShape(open: 0.4, width: 0.5, teeth: 0.3), 0.15)
    }
  }

  /// Letters of the International Phonetic Alphabet that look like this.
  private static let letters: [(Viseme, String)] = [
    (.pp, "pbmɓʙ"), (.ff, "fvɱʋɸβ"), (.th, "θð"), (.dd, "tdɗʈɖ"), (.kk, "kɡgqɢŋɴxɣχʁʀçʝɰʔcɟ"), (.ch, "ʃʒʂʐɕʑ"),
    (.ss, "sz"), (.nn, "nlɲɳʎɫɭɬ"), (.rr, "rɹɾɻɽɚɝ"), (.aa, "aɑɐæʌɒ"), (.ee, "eɛəɜɘɞɤ"), (.ii, "iɪjɨᵻ"), (.oo, "oɔøœɵ"),
    (.uu, "uʊwʍyʏɥʉɯ"), (.hh, "hɦ"),
  ]

  private static let table: [Unicode.Scalar: Viseme] = {
    var table: [Unicode.Scalar: Viseme] = [:]
    for (viseme, letters) in letters { for letter in letters.unicodeScalars { table[letter] = viseme } }
    return table
  }()

  /// What a phoneme in IPA looks like, one after the other: one viseme, or two for diphthongs and affricates. Marks of
  /// length, stress and the like are passed over; a phoneme without a known letter looks like "h".
  package static func sequence(of symbol: String) -> [Viseme] {
    guard symbol != Phoneme.silence else { return [.silence] }
    // "tʃ" and "ts" begin with a closure that does not show.
    var found: [Viseme] = []
    for letter in symbol.unicodeScalars {
      guard let viseme = table[letter], viseme != found.last else { continue }
      found.append(viseme)
    }
    if found.count > 1, found[0] == .dd { found.removeFirst() }
    return found.isEmpty ? [.hh] : Array(found.prefix(3))
  }
}
