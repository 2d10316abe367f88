import Basics

/// The signs by which text betrays that it was decoded with the wrong encoding: unlikely neighbours, by category.
///
/// Categories and rules are those of ftfy 6.3.1's `badness` heuristic.
enum Mojibake {
  /// Whether any rule matches anywhere in `text`.
  static func isLikely(in text: some RandomAccessCollection<UInt32>) -> Bool {
    let text = Array(text)
    guard let first = text.first else { return false }
    if capitalAWithHat.contains(first), text.count > 1, text[1] == 0x20 { return true }

    for start in text.indices {
      // No rule begins with three ASCII characters.
      guard text[start..<min(start + 3, text.count)].contains(where: { $0 > 0x7F }) else { continue }
      if rules.contains(where: { matches($0, in: text, at: start) }) { return true }
    }
    return false
  }

  private static func matches(_ rule: [Element], in text: [UInt32], at start: Int) -> Bool {
    guard start + rule.count <= text.count else { return false }
    for (offset, element) in rule.enumerated() where !element.contains(text[start + offset]) { return false }
    return true
  }

  private enum Element: Sendable {
    case any(ScalarSet)
    /// Python's `\w`.
    case word

    func contains(_ scalar: UInt32) -> Bool {
      switch self {
      case .any(let set): set.contains(scalar)
      case .word: Mojibake.isWordCharacter(scalar)
      }
    }
  }

  private static func isWordCharacter(_ scalar: UInt32) -> Bool {
    guard let properties = Unicode.Scalar(scalar)?.properties else { return false }
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: return true
    default: return scalar == UInt32(UInt8(ascii: "_")) || properties.numericType != nil
    }
  }

  // MARK: Categories

  private static let common = ScalarSet("A0 AD B4 B7 2013-2015 2019 2026")
  private static let c1 = ScalarSet("80-9F")
  private static let bad = ScalarSet(
    "A4 A6 A8 AA AC AF B8 BA 192 2C6-2C7 2D8 2DB-2DC 2020-2021 2030 2310 25CA FFFD")
  private static let law = ScalarSet("A7 B6")
  private static let currency = ScalarSet("A2-A3 A5 20A7 20AC")
  private static let opening = ScalarSet("A1 A9 AB BF 384-385 2018 201A 201C 201E 2022 2039 F8FF")
  private static let closing = ScalarSet("AE BB 2DD 201D 203A 2122")
  private static let numeric = ScalarSet(
    "B1-B3 B5 B9 BC-BE D7 F7 2044 2116 2202 2206 220F 2211 221A 221E 2229 222B 2248 2260-2261 2264-2265")
  /// Letters that faces in text are made of.
  private static let kaomoji = ScalarSet("B0 D2-D6 D9-DC F2-F6 F8-FC 14C 150 16A 172")
  private static let upper = ScalarSet(
    "C0-D1 D8 DC-DD 100 102 104 106 10C 10E 110 112 116 118 11A 11E 122 12A 130 136 139 13B 13D 141 143 145 147 152 "
      + "158 15A 15E 160 162 164 16E 170 178-179 17B 17D 490")
  private static let lower = ScalarSet(
    "DF-F1 FC 101 103 105 107 10D 10F 111 113 117 119 11B 11F 123 12B 12F 137 13A 13C 13E 142 153 155 15B 15F 161 165 "
      + "17A 17C 17E 491 FB01-FB02")
  private static let upperCommon = ScalarSet("DE 386 388-38A 38C 38E-38F 391-3AB 401-42F")
  private static let lowerCommon = ScalarSet("3AC-3C9 430-45F")
  private static let box = ScalarSet("2502 250C 2510 2518 251C 2524 252C 253C 2550-256C 2580 2584 2588 258C 2590-2593")

  private static let accented = lower + upper
  private static let capitalAWithHat = ScalarSet("C2 C3")
  private static let symbols = box + opening + closing + currency + numeric + law
  private static let cyrillicLead = ScalarSet("412 413 420 421")
  private static let greekLead = ScalarSet("392 393 39E 39F")
  private static let afterLead = c1 + bad + opening + closing + currency + ScalarSet("B0")
  private static let afterArabicLead = common + currency + bad + numeric + opening + ScalarSet("178 160 AE B0 B5 BB")

  // MARK: Rules

  private static let rules: [[Element]] = neighbours + signatures

  /// Sequences that are unlikely by the categories of their members.
  private static let neighbours: [[Element]] =
    [
      [c1],
      [bad + accented + symbols, bad],
      [.asciiLetters, lowerCommon + upperCommon, bad],
      [bad, accented + symbols],
      [lower + lowerCommon + box + closing + currency + numeric, upper],
      [box + closing + currency + numeric, lower],
      [lower + box + closing, currency],
      [.pythonSpaces, upper, currency],
      [upper + box, numeric + law],
      [accented + box + currency + closing, opening, numeric],
      [accented + currency + numeric + box + law, closing, opening],
      [currency + numeric + box, opening],
      [.asciiLowercase, upper, opening + currency],
      [box, kaomoji],
      [accented + currency + numeric + opening + closing + law, box],
      [box, closing],
    ].map { $0.map(Element.any) } + [[.any(accented), .any(opening + closing), .word]]

  /// Sequences that one particular misreading leaves behind.
  private static let signatures: [[Element]] = [
    // The ligature oe where no plain letter follows; the degree sign after a capital.
    [ScalarSet("152 153"), ScalarSet.asciiLetters.inverted],
    [upper, ScalarSet("B0")],
    // Windows-1252, two characters.
    [
      ScalarSet("C2 C3 CE D0"),
      opening + closing + ScalarSet("20AC 153 160 161 A2 A3 178 17E A0 AD AE A9 B0 B7 BB 2013 2014 B4"),
    ],
    [ScalarSet("D7"), ScalarSet("B2 B3")],
    // Windows-1252, Arabic: two pairs.
    [ScalarSet("D8 D9"), afterArabicLead, ScalarSet("D8 D9"), afterArabicLead],
    // Windows-1252, South Asian scripts.
    [ScalarSet("E0"), ScalarSet("B2 B5 B9 BC BD BE")],
    // Mac Roman.
    [ScalarSet("221A"), ScalarSet("B1 2202 2020 2260 AE 2122 B4 2264 2265 A5 B5 F8")],
    [ScalarSet("2248"), ScalarSet("B0 A2")],
    [ScalarSet("201A"), ScalarSet("C4"), ScalarSet("EC EE EF F2 F4 FA F9 FB 2020 B0 A2 3C0")],
    [ScalarSet("201A"), ScalarSet("E2 F3"), ScalarSet("E0 E4 B0 EA")],
    // Windows-1251: U+2000 and beyond; Latin-1 or Cyrillic; twice misread with a Latin letter near.
    [ScalarSet("432"), ScalarSet("402")],
    [cyrillicLead, afterLead + ScalarSet("B5"), cyrillicLead],
    [
      ScalarSet("413"), ScalarSet("45E"), ScalarSet("412"), ScalarSet("402"), ScalarSet("412"), ScalarSet("A").inverted,
      .asciiLetters + ScalarSet("20"),
    ],
    // Windows-1252, small a with grave or acute, no-break space.
    [ScalarSet("C3"), ScalarSet("A0 A1")],
    [.asciiLowercase, capitalAWithHat, ScalarSet("20")],
    [.asciiLowercase, .pythonSpaces, capitalAWithHat, ScalarSet("20")],
    // A capital A with circumflex before what it belongs to.
    [.asciiLowercase + ScalarSet("2E 2C 3F 21") + closing, ScalarSet("C2"), ScalarSet("20") + opening + closing],
    // Windows-1253: U+2000 and beyond; Latin-1 or Greek.
    [ScalarSet("3B2"), ScalarSet("20AC"), ScalarSet("2122 A0 386 AD AE B0")],
    [greekLead, afterLead, greekLead],
    // Windows-1257, U+2000 and beyond.
    [ScalarSet("101"), ScalarSet("20AC")],
  ].map { $0.map(Element.any) }
}
