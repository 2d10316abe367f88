import Basics

/// HTML character references in text of Unicode scalars.
enum HTMLEntities {
  private static let ampersand = UInt32(UInt8(ascii: "&"))
  private static let semicolon = UInt32(UInt8(ascii: ";"))
  private static let hash = UInt32(UInt8(ascii: "#"))
  private static let endsOfName = ScalarSet("9 A C 20 23 26 3B 3C")
  private static let longestName = 32

  private struct Entity: Sendable {
    var value: [UInt32]
    var standsWithoutSemicolon: Bool
  }

  /// The named references of HTML 5, as Python's `html.entities.html5` lists them: `name:scalars`, or `name!scalars` where the name
  /// is also known without its semicolon; scalars in hexadecimal.
  static var source: String { String(decoding: PackageResources.html_entities_txt, as: UTF8.self) }

  private static let table: [Substring: Entity] = {
    var table: [Substring: Entity] = [:]
    table.reserveCapacity(2200)
    for entry in source.split(whereSeparator: { $0 == " " || $0 == "\n" }) {
      guard let mark = entry.firstIndex(where: { $0 == ":" || $0 == "!" }) else { continue }
      let value = entry[entry.index(after: mark)...].split(separator: ",").compactMap { UInt32($0, radix: 16) }
      table[entry[..<mark]] = Entity(value: value, standsWithoutSemicolon: entry[mark] == "!")
    }
    return table
  }()

  /// The value of a reference's name, which ends with a semicolon or is one that can do without.
  private static func value(of name: ArraySlice<UInt32>) -> [UInt32]? {
    let closed = name.last == semicolon
    guard let entity = entity(named: Array(closed ? name.dropLast() : name)) else { return nil }
    return closed || entity.standsWithoutSemicolon ? entity.value : nil
  }

  /// All names are ASCII; the check keeps Unicode's canonical equivalence out of the comparison of strings.
  private static func entity(named name: [UInt32]) -> Entity? {
    guard name.allSatisfy({ $0 < 0x80 }) else { return nil }
    return table[Substring(String(scalarValues: name))]
  }

  // MARK: References as HTML 5 reads them

  /// Resolves character references as Python's `html.unescape` does: those without a semicolon too, by the longest name
  /// that fits.
  static func unescape(_ text: [UInt32]) -> [UInt32] {
    guard text.contains(ampersand) else { return text }
    var result: [UInt32] = []
    result.reserveCapacity(text.count)
    var index = 0
    while index < text.count {
      if text[index] == ampersand, let (value, end) = reference(in: text, after: index + 1) {
        result += value
        index = end
      } else {
        result.append(text[index])
        index += 1
      }
    }
    return result
  }

  /// The text that the reference starting at `start`, right after its ampersand, stands for, and where it ends; nil if
  /// there is none.
  private static func reference(in text: [UInt32], after start: Int) -> (value: [UInt32], end: Int)? {
    guard start < text.count else { return nil }
    if text[start] == hash { return numericReference(in: text, at: start) }

    var end = start
    while end < text.count, end - start < longestName, !endsOfName.contains(text[end]) { end += 1 }
    guard end > start else { return nil }
    if end < text.count, text[end] == semicolon { end += 1 }
    let name = text[start..<end]
    if let whole = value(of: name) { return (whole, end) }
    if name.count > 2 {
      for count in stride(from: name.count - 1, through: 2, by: -1) {
        if let part = value(of: name.prefix(count)) { return (part + name.dropFirst(count), end) }
      }
    }
    return ([ampersand] + name, end)
  }

  private static func numericReference(in text: [UInt32], at start: Int) -> (value: [UInt32], end: Int)? {
    var index = start + 1
    var radix: UInt32 = 10
    if index < text.count, text[index] | 0x20 == UInt32(UInt8(ascii: "x")) {
      radix = 16
      index += 1
    }
    let firstDigit = index
    var number: UInt32 = 0
    while index < text.count, let digit = digit(text[index], radix: radix) {
      number = min(number * radix + digit, 0x110000)
      index += 1
    }
    guard index > firstDigit else { return nil }
    if index < text.count, text[index] == semicolon { index += 1 }
    return (characters(numbered: number), index)
  }

  private static func digit(_ scalar: UInt32, radix: UInt32) -> UInt32? {
    switch scalar {
    case 0x30...0x39: scalar - 0x30
    case 0x41...0x46 where radix == 16: scalar - 0x37
    case 0x61...0x66 where radix == 16: scalar - 0x57
    default: nil
    }
  }

  /// What a numeric reference means: the C1 range is read as windows-1252, non-characters and controls give nothing.
  private static func characters(numbered number: UInt32) -> [UInt32] {
    switch number {
    case 0, 0xD800...0xDFFF, 0x110000...: [0xFFFD]
    case 0x80...0x9F: [SingleByteCodec.windows1252.scalar(for: UInt8(number))]
    case 0x1...0x8, 0xB, 0xE...0x1F, 0x7F, 0xFDD0...0xFDEF: []
    case _ where number & 0xFFFE == 0xFFFE: []
    default: [number]
    }
  }

  // MARK: References as ftfy reads them

  private static let longestWholeName = 24

  /// Resolves only references that end with a semicolon, and names in capitals that would otherwise mean nothing.
  static func unescapeWholeEntities(_ text: [UInt32]) -> [UInt32] {
    guard text.contains(ampersand) else { return text }
    var result: [UInt32] = []
    result.reserveCapacity(text.count)
    var index = 0
    while index < text.count {
      if text[index] == ampersand, let end = endOfWholeReference(in: text, after: index + 1) {
        result += wholeReference(Array(text[index..<end]))
        index = end
      } else {
        result.append(text[index])
        index += 1
      }
    }
    return result
  }

  private static func endOfWholeReference(in text: [UInt32], after start: Int) -> Int? {
    var index = start
    if index < text.count, text[index] == hash { index += 1 }
    let first = index
    while index < text.count, isASCIIAlphanumeric(text[index]) { index += 1 }
    guard (1...longestWholeName).contains(index - first), index < text.count, text[index] == semicolon else {
      return nil
    }
    return index + 1
  }

  private static func isASCIIAlphanumeric(_ scalar: UInt32) -> Bool {
    (0x30...0x39).contains(scalar) || ScalarSet.asciiLetters.contains(scalar)
  }

  /// - Parameter text: a reference from its ampersand to its semicolon.
  private static func wholeReference(_ text: [UInt32]) -> [UInt32] {
    if text[1] == hash {
      let value = unescape(text)
      return value.contains(semicolon) ? text : value
    }
    if let value = value(of: text.dropFirst()) { return value }

    let name = text[1..<text.count - 1]
    guard !name.contains(where: ScalarSet.asciiLowercase.contains) else { return text }
    let lowercased = name.map { ScalarSet.asciiLetters.contains($0) ? $0 | 0x20 : $0 }
    guard let entity = entity(named: lowercased), unescape(text) == text else { return text }
    return String(scalarValues: entity.value).uppercased().scalarValues
  }
}
