import Foundation

/// A JSON value, read by a small parser: a published `tokenizer.json` holds 256 thousand pieces in 17 MB, on which
/// Foundation's decoders spend seconds.
enum JSONValue: Sendable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  struct SyntaxError: Error {
    let message: String
  }

  /// - Throws: `SyntaxError` where `data` is not one JSON value in UTF-8.
  init(_ data: Data) throws {
    self = try data.withUnsafeBytes { bytes in
      var parser = Parser(bytes: bytes.bindMemory(to: UInt8.self))
      return try parser.document()
    }
  }

  private struct Parser {
    let bytes: UnsafeBufferPointer<UInt8>
    var index = 0
    var depth = 0

    init(bytes: UnsafeBufferPointer<UInt8>) {
      self.bytes = bytes
    }

    private static let deepest = 256

    mutating func document() throws -> JSONValue {
      let result = try value()
      skipSpaces()
      guard index == bytes.count else { throw error("text after the end") }
      return result
    }

    private func error(_ message: String) -> SyntaxError {
      SyntaxError(message: "\(message) at byte \(index)")
    }

    private mutating func skipSpaces() {
      while index < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[index]) { index += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
      guard index < bytes.count, bytes[index] == byte else { return false }
      index += 1
      return true
    }

    private mutating func expect(_ byte: UInt8) throws {
      guard take(byte) else {
        throw error(index < bytes.count ? "no '\(Character(Unicode.Scalar(byte)))'" : "unexpected end")
      }
    }

    private mutating func value() throws -> JSONValue {
      skipSpaces()
      guard index < bytes.count else { throw error("unexpected end") }
      switch bytes[index] {
      case UInt8(ascii: "{"): return try nested { try $0.object() }
      case UInt8(ascii: "["): return try nested { try $0.array() }
      case UInt8(ascii: "\""): return .string(try string())
      case UInt8(ascii: "t"): return try word("true", .bool(true))
      case UInt8(ascii: "f"): return try word("false", .bool(false))
      case UInt8(ascii: "n"): return try word("null", .null)
      default: return .number(try number())
      }
    }

    private mutating func nested(_ body: (inout Parser) throws -> JSONValue) throws -> JSONValue {
      guard depth < Self.deepest else { throw error("nesting too deep") }
      depth += 1
      defer { depth -= 1 }
      return try body(&self)
    }

    private mutating func word(_ word: StaticString, _ value: JSONValue) throws -> JSONValue {
      for offset in 0..<word.utf8CodeUnitCount { try expect(word.utf8Start[offset]) }
      return value
    }

    private mutating func object() throws -> JSONValue {
      try expect(UInt8(ascii: "{"))
      var members: [String: JSONValue] = [:]
      skipSpaces()
      if take(UInt8(ascii: "}")) { return .object(members) }
      repeat {
        skipSpaces()
        let key = try string()
        skipSpaces()
        try expect(UInt8(ascii: ":"))
        members[key] = try value()
        skipSpaces()
      } while take(UInt8(ascii: ","))
      try expect(UInt8(ascii: "}"))
      return .object(members)
    }

    private mutating func array() throws -> JSONValue {
      try expect(UInt8(ascii: "["))
      var elements: [JSONValue] = []
      skipSpaces()
      if take(UInt8(ascii: "]")) { return .array(elements) }
      repeat {
        elements.append(try value())
        skipSpaces()
      } while take(UInt8(ascii: ","))
      try expect(UInt8(ascii: "]"))
      return .array(elements)
    }

    /// A number as serde_json computes it, the reference's parser: the digits as an integer, multiplied or divided by a
    /// power of ten. That is one unit in the last place off the nearest double now and then, which decides between
    /// splits of a text that would otherwise score the same.
    private mutating func number() throws -> Double {
      let start = index
      let isNegative = take(UInt8(ascii: "-"))
      var digits: UInt64 = 0
      var exponent = 0
      var isFull = false
      func append(_ digit: UInt64) {
        let (product, overflows) = digits.multipliedReportingOverflow(by: 10)
        let (sum, overflowsToo) = product.addingReportingOverflow(digit)
        isFull = isFull || overflows || overflowsToo
        if !isFull { digits = sum }
      }

      let firstDigit = index
      while let digit = takeDigit() {
        append(digit)
        if isFull { exponent += 1 }
      }
      guard index > firstDigit, index == firstDigit + 1 || bytes[firstDigit] != UInt8(ascii: "0") else {
        index = start
        throw error("no value")
      }
      if take(UInt8(ascii: ".")) {
        let firstFraction = index
        while let digit = takeDigit() {
          append(digit)
          if !isFull { exponent -= 1 }
        }
        guard index > firstFraction else { throw error("no digit") }
      }
      if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
        let isSmall = take(UInt8(ascii: "-"))
        if !isSmall { _ = take(UInt8(ascii: "+")) }
        let firstPower = index
        var power = 0
        while let digit = takeDigit() { power = min(power * 10 + Int(digit), 100_000) }
        guard index > firstPower else { throw error("no digit") }
        exponent += isSmall ? -power : power
      }

      var value = Double(digits)
      while exponent < -Self.largestPower, value != 0 {
        value /= Self.powersOfTen[Self.largestPower]
        exponent += Self.largestPower
      }
      if value != 0 {
        guard exponent <= Self.largestPower else { throw error("number too large") }
        let power = Self.powersOfTen[abs(exponent)]
        value = exponent < 0 ? value / power : value * power
        guard value.isFinite else { throw error("number too large") }
      }
      return isNegative ? -value : value
    }

    private static let largestPower = 308
    private static let powersOfTen = (0...largestPower).map { Double("1e\($0)") ?? .infinity }

    private mutating func takeDigit() -> UInt64? {
      guard index < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[index]) else { return nil }
      index += 1
      return UInt64(bytes[index - 1] - UInt8(ascii: "0"))
    }

    private mutating func string() throws -> String {
      try expect(UInt8(ascii: "\""))
      let start = index
      while index < bytes.count, bytes[index] != UInt8(ascii: "\""), bytes[index] != UInt8(ascii: "\\") {
        guard bytes[index] >= 0x20 else { throw error("control character in a string") }
        index += 1
      }
      guard index < bytes.count else { throw error("unexpected end") }
      guard bytes[index] == UInt8(ascii: "\\") else {
        index += 1
        return try text(of: bytes[start..<index - 1])
      }

      var content = Array(bytes[start..<index])
      while true {
        guard index < bytes.count else { throw error("unexpected end") }
        let byte = bytes[index]
        guard byte >= 0x20 else { throw error("control character in a string") }
        index += 1
        switch byte {
        case UInt8(ascii: "\""): return try text(of: content)
        case UInt8(ascii: "\\"): content += Array(String(Character(try escaped())).utf8)
        default: content.append(byte)
        }
      }
    }

    private func text(of content: some Collection<UInt8>) throws -> String {
      guard let text = String(validating: content, as: UTF8.self) else { throw error("a string that is not UTF-8") }
      return text
    }

    /// The character after a backslash. Half a surrogate pair becomes U+FFFD.
    private mutating func escaped() throws -> Unicode.Scalar {
      guard index < bytes.count else { throw error("unexpected end") }
      let byte = bytes[index]
      index += 1
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
      case UInt8(ascii: "b"): return "\u{8}"
      case UInt8(ascii: "f"): return "\u{C}"
      case UInt8(ascii: "n"): return "\n"
      case UInt8(ascii: "r"): return "\r"
      case UInt8(ascii: "t"): return "\t"
      case UInt8(ascii: "u"):
        let first = try codeUnit()
        let saved = index
        if (0xD800..<0xDC00).contains(first), take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) {
          let second = try codeUnit()
          if (0xDC00..<0xE000).contains(second) {
            return Unicode.Scalar(0x10000 + ((first - 0xD800) << 10 | (second - 0xDC00))) ?? "\u{FFFD}"
          }
        }
        index = saved
        return Unicode.Scalar(first) ?? "\u{FFFD}"
      default: throw error("unknown escape")
      }
    }

    private mutating func codeUnit() throws -> UInt32 {
      var unit: UInt32 = 0
      for _ in 0..<4 {
        guard index < bytes.count, let digit = Character(Unicode.Scalar(bytes[index])).hexDigitValue else {
          throw error("no four hexadecimal digits")
        }
        unit = unit << 4 | UInt32(digit)
        index += 1
      }
      return unit
    }
  }
}
