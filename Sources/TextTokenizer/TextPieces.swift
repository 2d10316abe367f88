import Basics

/// A part of the text on its way to the model.
struct TextPiece: Sendable {
  var text: String
  /// Whether its first character is the first of the whole input; a Metaspace with the "first" scheme asks for it.
  var startsInput: Bool
}

/// What a `tokenizer.json` does to the characters before the model sees them.
indirect enum TextNormalizer: Sendable {
  case sequence([TextNormalizer])
  case characterMap(CharacterMap)
  case replace(TextPattern, by: String)
  case strip(left: Bool, right: Bool)
  case form(NormalizationForm)
  case lowercase
  case prepend(String)

  func apply(to piece: inout TextPiece) {
    switch self {
    case .sequence(let normalizers): for normalizer in normalizers { normalizer.apply(to: &piece) }
    case .characterMap(let map): piece.text = map.apply(to: piece.text)
    case .replace(let pattern, let replacement):
      piece.text = pattern.replacingMatches(in: piece.text, by: replacement)
    case .strip(let left, let right):
      var rest = piece.text.unicodeScalars[...]
      while right, let last = rest.last, last.isWhiteSpace { rest.removeLast() }
      while left, let first = rest.first, first.isWhiteSpace {
        rest.removeFirst()
        piece.startsInput = false
      }
      piece.text = String(rest)
    case .form(let form): piece.text = form.apply(to: piece.text)
    case .lowercase: piece.text = piece.text.unicodeScalars.map(\.properties.lowercaseMapping).joined()
    case .prepend(let prefix): if !piece.text.isEmpty { piece.text = prefix + piece.text }
    }
  }
}

/// How a `tokenizer.json` cuts the text into what the model treats separately.
indirect enum PreTokenizer: Sendable {
  case sequence([PreTokenizer])
  /// Cuts at white space and drops it.
  case whitespaceSplit
  /// Writes spaces as `replacement`, puts one in front and cuts before each.
  case metaspace(replacement: Unicode.Scalar, scheme: PrependScheme, splits: Bool)

  enum PrependScheme: String, Sendable {
    case always, first, never
  }

  /// The parts of `piece`, none of them empty.
  func apply(to piece: TextPiece) -> [TextPiece] {
    switch self {
    case .sequence(let steps): return steps.reduce([piece]) { pieces, step in pieces.flatMap(step.apply) }
    case .whitespaceSplit:
      let scalars = piece.text.unicodeScalars
      return scalars.split(whereSeparator: \.isWhiteSpace).map {
        TextPiece(text: String($0), startsInput: piece.startsInput && $0.startIndex == scalars.startIndex)
      }
    case .metaspace(let replacement, let scheme, let splits):
      var scalars = String.UnicodeScalarView()
      let prepends =
        switch scheme {
        case .always: true
        case .first: piece.startsInput
        case .never: false
        }
      let first = piece.text.unicodeScalars.first
      if prepends, first != replacement, first != " " { scalars.append(replacement) }
      scalars.append(contentsOf: piece.text.unicodeScalars.lazy.map { $0 == " " ? replacement : $0 })
      guard splits else {
        return scalars.isEmpty ? [] : [TextPiece(text: String(scalars), startsInput: piece.startsInput)]
      }
      return Self.cut(scalars, before: replacement, startsInput: piece.startsInput)
    }
  }

  private static func cut(
    _ scalars: String.UnicodeScalarView, before mark: Unicode.Scalar, startsInput: Bool
  ) -> [TextPiece] {
    var pieces: [TextPiece] = []
    var start = scalars.startIndex
    while start < scalars.endIndex {
      let end = scalars[scalars.index(after: start)...].firstIndex(of: mark) ?? scalars.endIndex
      pieces.append(
        TextPiece(text: String(scalars[start..<end]), startsInput: startsInput && start == scalars.startIndex))
      start = end
    }
    return pieces
  }
}

extension Unicode.Scalar {
  var isWhiteSpace: Bool { ScalarSet.whiteSpace.contains(value) }
}
