/// Tokens that are found in the text before the model runs, such as `</s>`.
struct AddedTokens: Sendable {
  struct Token: Sendable {
    var content: String
    var id: Int32
    /// Whether it stands only between characters that belong to no word.
    var isSingleWord: Bool
    /// Whether it takes the white space before and after it along.
    var stripsLeft: Bool
    var stripsRight: Bool
    /// Whether it is looked for in the normalized text, in its own normalized form.
    var isNormalized: Bool

    fileprivate var looksAround: Bool { isSingleWord || stripsLeft || stripsRight }
  }

  enum Part: Sendable {
    case text(TextPiece)
    case token(Int32)
  }

  private struct Entry: Sendable {
    var bytes: [UInt8]
    var token: Token
  }

  /// By first byte, the longest first.
  private var raw: [UInt8: [Entry]] = [:]
  private var normalized: [UInt8: [Entry]] = [:]

  init(_ tokens: [Token], normalizer: TextNormalizer?) {
    for token in tokens {
      var content = token.content
      if token.isNormalized, let normalizer {
        var piece = TextPiece(text: content, startsInput: true)
        normalizer.apply(to: &piece)
        content = piece.text
      }
      let entry = Entry(bytes: Array(content.utf8), token: token)
      guard let first = entry.bytes.first else { continue }
      if token.isNormalized {
        normalized[first, default: []].append(entry)
      } else {
        raw[first, default: []].append(entry)
      }
    }
    let longestFirst = { (left: Entry, right: Entry) in left.bytes.count > right.bytes.count }
    for key in raw.keys { raw[key]?.sort(by: longestFirst) }
    for key in normalized.keys { normalized[key]?.sort(by: longestFirst) }
  }

  /// Cuts `text` at tokens, normalizes what lies between them, and cuts that at the normalized tokens.
  func split(_ text: String, normalizer: TextNormalizer?) -> [Part] {
    Self.cut(TextPiece(text: text, startsInput: true), at: raw).flatMap { part -> [Part] in
      guard case .text(var piece) = part else { return [part] }
      normalizer?.apply(to: &piece)
      return Self.cut(piece, at: normalized)
    }
  }

  private static func cut(_ piece: TextPiece, at entries: [UInt8: [Entry]]) -> [Part] {
    guard !piece.text.isEmpty else { return [] }
    guard !entries.isEmpty else { return [.text(piece)] }
    let bytes = Array(piece.text.utf8)
    var parts: [Part] = []
    func append(_ range: Range<Int>) {
      guard !range.isEmpty else { return }
      let text = String(decoding: bytes[range], as: UTF8.self)
      parts.append(.text(TextPiece(text: text, startsInput: piece.startsInput && range.lowerBound == 0)))
    }

    var taken = 0
    var index = 0
    while index < bytes.count {
      guard let entry = entries[bytes[index]]?.first(where: { bytes[index...].starts(with: $0.bytes) }) else {
        index += 1
        continue
      }
      var start = index
      var end = index + entry.bytes.count
      index = end
      if entry.token.looksAround {
        let before = String(decoding: bytes[..<start], as: UTF8.self).unicodeScalars
        let after = String(decoding: bytes[end...], as: UTF8.self).unicodeScalars
        if entry.token.isSingleWord, before.last?.isWordScalar == true || after.first?.isWordScalar == true { continue }
        if entry.token.stripsLeft {
          let spaces = before.reversed().prefix(while: \.isWhiteSpace)
          start = max(taken, start - spaces.reduce(0) { $0 + UTF8.width($1) })
        }
        if entry.token.stripsRight {
          end += after.prefix(while: \.isWhiteSpace).reduce(0) { $0 + UTF8.width($1) }
        }
      }
      append(taken..<max(taken, start))
      if start < end { parts.append(.token(entry.token.id)) }
      taken = end
    }
    append(taken..<max(taken, bytes.count))
    return parts
  }
}

extension Unicode.Scalar {
  /// `\w` as Rust's regular expressions define it.
  fileprivate var isWordScalar: Bool {
    switch properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: true
    default: properties.isAlphabetic || properties.isJoinControl
    }
  }
}
