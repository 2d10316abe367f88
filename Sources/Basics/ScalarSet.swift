/// A set of Unicode scalar values: a bitmap below U+2800, where nearly all members of the sets here and in other modules lie, and a
/// list of ranges above.
package struct ScalarSet: Sendable {
  private static let bitmapLimit: UInt32 = 0x2800

  private var bitmap = [UInt64](repeating: 0, count: Int(bitmapLimit) / 64)
  private var high: [ClosedRange<UInt32>] = []

  package init(_ ranges: [ClosedRange<UInt32>]) {
    for range in ranges {
      for value in range where value < Self.bitmapLimit {
        bitmap[Int(value >> 6)] |= 1 << UInt64(value & 63)
      }
      if range.upperBound >= Self.bitmapLimit {
        high.append(max(range.lowerBound, Self.bitmapLimit)...range.upperBound)
      }
    }
  }

  /// - Parameter ranges: as in `ranges(in:)`.
  package init(_ ranges: String) {
    self.init(Self.ranges(in: ranges))
  }

  /// Reads hexadecimal scalars and `first-last` ranges, with white space between them; words that are neither are ignored.
  package static func ranges(in source: String) -> [ClosedRange<UInt32>] {
    source.split(whereSeparator: { $0 == " " || $0 == "\n" }).compactMap { word in
      let ends = word.split(separator: "-").compactMap { UInt32($0, radix: 16) }
      guard let first = ends.first, let last = ends.last, first <= last else { return nil }
      return first...last
    }
  }

  /// The scalars of `ranges(in:)`, in their order.
  package static func values(in source: String) -> [UInt32] {
    ranges(in: source).flatMap(\.self)
  }

  package func contains(_ scalar: UInt32) -> Bool {
    if scalar < Self.bitmapLimit { return bitmap[Int(scalar >> 6)] >> UInt64(scalar & 63) & 1 == 1 }
    return high.contains { $0.contains(scalar) }
  }

  /// Everything but the members of this set.
  package var inverted: ScalarSet {
    var result = self
    result.bitmap = bitmap.map { ~$0 }
    var next = Self.bitmapLimit
    result.high = []
    for range in high.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if next < range.lowerBound { result.high.append(next...range.lowerBound - 1) }
      next = max(next, range.upperBound + 1)
    }
    if next <= 0x10FFFF { result.high.append(next...0x10FFFF) }
    return result
  }

  package static func + (left: ScalarSet, right: ScalarSet) -> ScalarSet {
    var result = left
    for index in result.bitmap.indices { result.bitmap[index] |= right.bitmap[index] }
    result.high += right.high
    return result
  }
}

extension ScalarSet {
  /// What Python calls a space: `str.isspace`, and `\s` in its regular expressions.
  package static let pythonSpaces = ScalarSet("9-D 1C-20 85 A0 1680 2000-200A 2028-2029 202F 205F 3000")

  /// The Unicode property White_Space, Rust's `char::is_whitespace`.
  package static let whiteSpace = ScalarSet("9-D 20 85 A0 1680 2000-200A 2028-2029 202F 205F 3000")

  package static let asciiLetters = ScalarSet("41-5A 61-7A")
  package static let asciiLowercase = ScalarSet("61-7A")
}

extension String {
  /// A string of the given scalar values; a value that is no scalar becomes U+FFFD.
  package init(scalarValues: some Sequence<UInt32>) {
    var view = String.UnicodeScalarView()
    for value in scalarValues { view.append(Unicode.Scalar(value) ?? "\u{FFFD}") }
    self.init(view)
  }

  package var scalarValues: [UInt32] { unicodeScalars.map(\.value) }
}
