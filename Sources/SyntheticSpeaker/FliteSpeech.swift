import Basics
import Foundation
import Media

/// The program `flite` (Black and Lenzo, 2001): English alone, with recorded voices, beside espeak-ng's calculated ones.
struct Flite: Sendable {
  /// Looked for in PATH.
  var program = "flite"
  /// Seconds that the work on one text may take.
  var longest = 20.0

  /// flite's phones (CMU's "radio" set) as espeak-ng's English writes the same sounds.
  static let symbols: [String: String] = [
    "pau": Phoneme.silence, "h#": Phoneme.silence, "brth": Phoneme.silence,
    "aa": "ɑː", "ae": "æ", "ah": "ʌ", "ao": "ɔː", "aw": "aʊ", "ax": "ə", "axr": "ɚ", "ay": "aɪ", "eh": "ɛ", "er": "ɜː",
    "ey": "eɪ", "ih": "ɪ", "iy": "iː", "ow": "oʊ", "oy": "ɔɪ", "uh": "ʊ", "uw": "uː",
    "b": "b", "ch": "tʃ", "d": "d", "dh": "ð", "dx": "ɾ", "el": "əl", "em": "m", "en": "n", "f": "f", "g": "ɡ",
    "hh": "h",
    "hv": "h", "jh": "dʒ", "k": "k", "l": "l", "m": "m", "n": "n", "ng": "ŋ", "nx": "n", "p": "p", "r": "ɹ", "s": "s",
    "sh": "ʃ", "t": "t", "th": "θ", "v": "v", "w": "w", "y": "j", "z": "z", "zh": "ʒ",
  ]

  /// Runs the program on a text.
  ///
  /// - Returns: what it prints.
  /// - Throws: `LiveTalkError` when it is missing, fails or takes too long.
  func run(_ options: [String], text: String, in folder: URL) throws -> String {
    let output = folder.appendingPathComponent("output.txt")
    switch try ChildProcess.run([program] + options + ["-t", text], output: output, seconds: longest) {
    case .exited(0): return try String(contentsOf: output, encoding: .utf8)
    case .exited(let status): throw LiveTalkError("flite fails to speak (status \(status)).")
    case .missing:
      throw LiveTalkError("flite is not there: install flite, or let espeak-ng speak alone (--voices espeak-ng).")
    case .killed: throw LiveTalkError("flite took more than \(longest) seconds for a text, and was ended.")
    }
  }

  /// How many phones each word has when it is spoken alone; nil when flite parts them in another way.
  func phoneCounts(_ words: [Substring], in folder: URL) throws -> [Int]? {
    let list = words.map { $0.trimmingCharacters(in: .punctuationCharacters) }.joined(separator: ", ")
    // All voices have the same dictionary, and this one is the fastest.
    let printed = try run(["-voice", "kal16", "-ps", "-o", "none"], text: list, in: folder)
    let groups = printed.split(whereSeparator: \.isWhitespace).split(separator: "pau")
    return groups.count == words.count ? groups.map(\.count) : nil
  }
}

extension Speech {
  /// What flite makes of an English text. The same text and voice give the same samples.
  ///
  /// - Parameter rate: words a minute, about.
  /// - Throws: `LiveTalkError` when flite is missing, fails or takes too long.
  init(text: String, voice: FliteVoice, rate: Int, flite: Flite = Flite()) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("flite-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("speech.wav")
    let printed = try flite.run(voice.options(rate: rate) + ["-psdur", "-o", file.path], text: text, in: folder)
    guard let sound = try? Sound(contentsOf: file.path, sampleRate: Self.sampleRate) else {
      throw LiveTalkError("flite spoke nothing with the voice '\(voice.name)'.")
    }
    samples = try Self.resampled(sound.samples, from: (Double(Self.sampleRate) * voice.warp).rounded())
    let end = Double(samples.count) / Double(Self.sampleRate)
    var start = 0.0
    var phones: [(symbol: String, start: Double)] = []
    for part in printed.split(whereSeparator: \.isWhitespace) {
      let fields = part.split(separator: ":")
      guard fields.count == 2, let symbol = Flite.symbols[String(fields[0])], let seconds = Double(fields[1]) else {
        throw LiveTalkError("flite prints '\(part)' for a sound, which is none that is known.")
      }
      phones.append((symbol, min(start, end)))
      start = seconds / voice.warp
    }
    phonemes = Self.gapless(phones, end: end)
    words = []
    let parts = text.split(separator: " ")
    let counts = try flite.phoneCounts(parts, in: folder)
    let heard = phones.filter { $0.symbol != Phoneme.silence }
    guard let counts, counts.reduce(0, +) == heard.count else {
      words = heard.first.map { [($0.start, 0)] } ?? []
      return
    }
    var phone = 0
    for (word, count) in zip(parts, counts) {
      let position = text.unicodeScalars.distance(from: text.startIndex, to: word.startIndex)
      words.append((heard[phone].start, position))
      phone += count
    }
  }
}
