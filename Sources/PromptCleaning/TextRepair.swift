import Basics

/// Repairs text the way Python's ftfy 6.3.1 does with its default settings; the results are the same, scalar by scalar.
///
/// Its fixers for surrogates have no counterpart: a Swift string holds none.
enum TextRepair {
  private static let newline: UInt32 = 0x0A
  private static let escape: UInt32 = 0x1B
  private static let longestSegment = 1_000_000

  /// Repairs each line on its own. The first line with a literal "<" ends the resolving of HTML entities for good: the
  /// text is then taken to be HTML on purpose.
  static func repair(_ text: [UInt32]) -> [UInt32] {
    var result: [UInt32] = []
    result.reserveCapacity(text.count)
    var unescapesHTML = true
    var start = 0
    while start < text.count {
      var end = text[start...].firstIndex(of: newline).map { $0 + 1 } ?? text.count
      end = min(end, start + longestSegment)
      let segment = Array(text[start..<end])
      if segment.contains(UInt32(UInt8(ascii: "<"))) { unescapesHTML = false }
      result += repairSegment(segment, unescapesHTML: unescapesHTML)
      start = end
    }
    return result
  }

  /// Repeats all fixers until none changes anything.
  private static func repairSegment(_ segment: [UInt32], unescapesHTML: Bool) -> [UInt32] {
    var text = segment
    while true {
      let before = text
      if unescapesHTML { text = HTMLEntities.unescapeWholeEntities(text) }
      text = EncodingRepair.repair(text)
      text = EncodingRepair.replacingC1Controls(text)
      text = mapped(text, CharacterForms.ligatures)
      text = mapped(text, CharacterForms.widths)
      text = straighteningQuotes(text)
      text = unifyingLineBreaks(text)
      text = removingTerminalEscapes(text)
      text.removeAll(where: controls.contains)
      text = composed(text)
      if text == before { return text }
    }
  }

  private static func mapped(_ text: [UInt32], _ replacements: [UInt32: [UInt32]]) -> [UInt32] {
    guard text.contains(where: { $0 > 0x7F }) else { return text }
    return text.flatMap { replacements[$0] ?? [$0] }
  }

  private static func straighteningQuotes(_ text: [UInt32]) -> [UInt32] {
    text.map { scalar in
      switch scalar {
      case 0x201C...0x201F: 0x22
      case 0x2BC, 0x2018...0x201B: 0x27
      default: scalar
      }
    }
  }

  private static func unifyingLineBreaks(_ text: [UInt32]) -> [UInt32] {
    var result: [UInt32] = []
    result.reserveCapacity(text.count)
    var afterReturn = false
    for scalar in text {
      switch scalar {
      case newline where afterReturn: break
      case 0x0D, 0x2028, 0x2029, 0x85: result.append(newline)
      default: result.append(scalar)
      }
      afterReturn = scalar == 0x0D
    }
    return result
  }

  /// Removes "ESC [ digits and semicolons, letter". Digits are those of any script, as in Python's `\d`.
  private static func removingTerminalEscapes(_ text: [UInt32]) -> [UInt32] {
    guard text.contains(escape) else { return text }
    var result: [UInt32] = []
    var index = 0
    while index < text.count {
      if text[index] == escape, index + 1 < text.count, text[index + 1] == UInt32(UInt8(ascii: "[")) {
        var end = index + 2
        while end < text.count, isParameter(text[end]) { end += 1 }
        if end < text.count, ScalarSet.asciiLetters.contains(text[end]) {
          index = end + 1
          continue
        }
      }
      result.append(text[index])
      index += 1
    }
    return result
  }

  private static func isParameter(_ scalar: UInt32) -> Bool {
    scalar == UInt32(UInt8(ascii: ";"))
      || Unicode.Scalar(scalar)?.properties.generalCategory == .decimalNumber
  }

  private static let controls = ScalarSet("0-8 B E-1F 7F 206A-206F FEFF FFF9-FFFC")

  /// Normalization form C. No scalar below U+0300 takes part in a composition.
  private static func composed(_ text: [UInt32]) -> [UInt32] {
    guard text.contains(where: { $0 >= 0x300 }) else { return text }
    return NormalizationForm.c.apply(to: String(scalarValues: text)).scalarValues
  }
}

/// Characters that stand for others by form alone.
enum CharacterForms {
  /// Typographical ligatures and legacy digraphs of Latin letters.
  static let ligatures: [UInt32: [UInt32]] = [
    0x132: "IJ", 0x133: "ij", 0x149: "\u{2BC}n", 0x1F1: "DZ", 0x1F2: "Dz", 0x1F3: "dz", 0x1C4: "D\u{17D}",
    0x1C5: "D\u{17E}", 0x1C6: "d\u{17E}", 0x1C7: "LJ", 0x1C8: "Lj", 0x1C9: "lj", 0x1CA: "NJ", 0x1CB: "Nj", 0x1CC: "nj",
    0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "\u{17F}t", 0xFB06: "st",
  ].mapValues(\.scalarValues)

  /// Half-width and full-width forms with their usual counterparts, and the ideographic space.
  static let widths: [UInt32: [UInt32]] = {
    var result: [UInt32: [UInt32]] = [0x3000: [0x20]]
    for scalar: UInt32 in 0xFF01...0xFFEF {
      let usual = NormalizationForm.kc.apply(to: String(scalarValues: [scalar])).scalarValues
      if usual != [scalar] { result[scalar] = usual }
    }
    return result
  }()
}
