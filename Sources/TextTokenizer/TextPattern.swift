import Basics

/// What a `Replace` normalizer looks for: a literal text, or one kind of character repeated.
struct TextPattern: Sendable {
  private enum Form: Sendable {
    case literal([UInt32])
    case run(ScalarSet, count: ClosedRange<Int>)
  }

  private let form: Form

  /// - Returns: nil for an empty text, which would match everywhere.
  init?(literal: String) {
    guard !literal.isEmpty else { return nil }
    form = .literal(literal.scalarValues)
  }

  /// A regular expression of the kinds that SentencePiece conversions write: plain characters, or one character or `\s`
  /// with a quantifier, such as ` {2,}`.
  ///
  /// - Returns: nil for any other expression.
  init?(regularExpression: String) {
    var rest = regularExpression.unicodeScalars[...]
    var atoms: [ScalarSet] = []
    var literal: [UInt32] = []
    while let first = rest.first, !"{+".unicodeScalars.contains(first) {
      rest.removeFirst()
      if first == "\\" {
        guard let escaped = rest.popFirst() else { return nil }
        switch escaped {
        case "s":
          atoms.append(.whiteSpace)
          continue
        case "t": literal.append(0x09)
        case "n": literal.append(0x0A)
        case _ where escaped.isASCII && !escaped.properties.isAlphabetic && escaped.properties.numericType == nil:
          literal.append(escaped.value)
        default: return nil
        }
      } else {
        guard !".[]()^$|*?}".unicodeScalars.contains(first) else { return nil }
        literal.append(first.value)
      }
      if let last = literal.last { atoms.append(ScalarSet([last...last])) }
    }

    if rest.isEmpty, atoms.count == literal.count {
      guard !literal.isEmpty else { return nil }
      form = .literal(literal)
    } else {
      guard atoms.count == 1, let atom = atoms.first, let count = Self.count(String(rest)) else { return nil }
      form = .run(atom, count: count)
    }
  }

  private static func count(_ quantifier: String) -> ClosedRange<Int>? {
    if quantifier.isEmpty { return 1...1 }
    if quantifier == "+" { return 1...Int.max }
    guard quantifier.hasPrefix("{"), quantifier.hasSuffix("}") else { return nil }
    let bounds = quantifier.dropFirst().dropLast().split(separator: ",", omittingEmptySubsequences: false)
    guard let first = bounds.first.flatMap({ Int($0) }), first > 0 else { return nil }
    switch bounds.count {
    case 1: return first...first
    case 2:
      guard let last = bounds[1].isEmpty ? Int.max : Int(bounds[1]), first <= last else { return nil }
      return first...last
    default: return nil
    }
  }

  func replacingMatches(in text: String, by replacement: String) -> String {
    let scalars = text.scalarValues
    let replacement = replacement.scalarValues
    var result: [UInt32] = []
    result.reserveCapacity(scalars.count)
    var changed = false
    var index = 0
    while index < scalars.count {
      if let length = match(in: scalars, at: index) {
        result += replacement
        index += length
        changed = true
      } else {
        result.append(scalars[index])
        index += 1
      }
    }
    return changed ? String(scalarValues: result) : text
  }

  private func match(in text: [UInt32], at start: Int) -> Int? {
    switch form {
    case .literal(let literal): return text[start...].starts(with: literal) ? literal.count : nil
    case .run(let set, let count):
      var length = 0
      while length < count.upperBound, start + length < text.count, set.contains(text[start + length]) { length += 1 }
      return length >= count.lowerBound ? length : nil
    }
  }
}
