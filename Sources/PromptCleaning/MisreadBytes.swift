/// The bytes behind misread text: mending and decoding them.
enum MisreadBytes {
  private typealias Pattern = [ByteSet]

  /// A set of bytes, as four words of 64.
  private struct ByteSet: Sendable {
    private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    init(_ ranges: ClosedRange<UInt8>...) {
      for byte in ranges.joined() {
        let bit = UInt64(1) << UInt64(byte & 63)
        switch byte >> 6 {
        case 0: words.0 |= bit
        case 1: words.1 |= bit
        case 2: words.2 |= bit
        default: words.3 |= bit
        }
      }
    }

    func contains(_ byte: UInt8) -> Bool {
      let word =
        switch byte >> 6 {
        case 0: words.0
        case 1: words.1
        case 2: words.2
        default: words.3
        }
      return word >> UInt64(byte & 63) & 1 == 1
    }
  }

  /// The length of the first pattern that matches at `start`.
  private static func match(_ patterns: [Pattern], in bytes: [UInt8], at start: Int) -> Int? {
    for pattern in patterns where start + pattern.count <= bytes.count {
      if pattern.indices.allSatisfy({ pattern[$0].contains(bytes[start + $0]) }) { return pattern.count }
    }
    return nil
  }

  private static func replacing(
    _ patterns: [Pattern], in bytes: [UInt8], by replacement: (ArraySlice<UInt8>) -> [UInt8]
  ) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count)
    var index = 0
    while index < bytes.count {
      if let length = match(patterns, in: bytes, at: index) {
        result += replacement(bytes[index..<index + length])
        index += length
      } else {
        result.append(bytes[index])
        index += 1
      }
    }
    return result
  }

  // MARK: Spaces that were no-break spaces

  private static let space = ByteSet(0x20...0x20)
  private static let continuation = ByteSet(0x80...0xBF)
  private static let likelyContinuation = ByteSet(0x80...0x84, 0x86...0x9F, 0xA1...0xBF)

  /// Sequences that are UTF-8 if their space is byte 0xA0, and then likely characters.
  private static let spacedSequences: [Pattern] = [
    [ByteSet(0xC2...0xC3, 0xC5...0xC5, 0xCE...0xCE, 0xD0...0xD0, 0xD9...0xD9), space],
    [ByteSet(0xE2...0xE3), space, likelyContinuation],
    [ByteSet(0xE0...0xE3), likelyContinuation, space],
    [ByteSet(0xF0...0xF0), space, continuation, continuation],
    [ByteSet(0xF0...0xF0), continuation, space, continuation],
    [ByteSet(0xF0...0xF0), continuation, continuation, space],
  ]

  /// Portuguese contractions begin with an accented "a" that belongs to the word after it.
  private static let contractions = [" ", "quele", "quela", "quilo", "s "].map { Array($0.utf8) }

  static func restoringNoBreakSpaces(_ bytes: [UInt8]) -> [UInt8] {
    guard bytes.contains(where: { $0 >= 0xC2 }) else { return bytes }
    var separated: [UInt8] = []
    separated.reserveCapacity(bytes.count)
    var index = 0
    while index < bytes.count {
      separated.append(bytes[index])
      if bytes[index] == 0xC3, index + 1 < bytes.count, bytes[index + 1] == 0x20,
        !contractions.contains(where: { bytes[(index + 2)...].starts(with: $0) })
      {
        separated += [0xA0, 0x20]
        index += 1
      }
      index += 1
    }
    return replacing(spacedSequences, in: separated) { $0.map { $0 == 0x20 ? 0xA0 : $0 } }
  }

  // MARK: Sequences that lost a byte

  private static let lost = ByteSet(0x1A...0x1A)
  private static let lostOrQuestion = ByteSet(0x1A...0x1A, 0x3F...0x3F)
  private static let lostOrContinuation = ByteSet(0x1A...0x1A, 0x80...0xBF)
  private static let surrogateLead = ByteSet(0xED...0xED)
  private static let highSurrogate = ByteSet(0xA0...0xAF)
  private static let lowSurrogate = ByteSet(0xB0...0xBF)
  private static let anyLastByte = ByteSet(0x1A...0x1A, 0x3F...0x3F, 0x80...0xBF)
  private static let leadOfThree = ByteSet(0xE0...0xEF)
  private static let leadOfFour = ByteSet(0xF0...0xF4)

  /// Sequences with byte 0x1A, or one question mark, where a continuation byte was.
  private static let lossySequences: [Pattern] = [
    [ByteSet(0xC2...0xDF), lost],
    [ByteSet(0xC2...0xC3), ByteSet(0x3F...0x3F)],
    [surrogateLead, highSurrogate, lostOrQuestion, surrogateLead, lowSurrogate, anyLastByte],
    [surrogateLead, highSurrogate, anyLastByte, surrogateLead, lowSurrogate, lostOrQuestion],
    [leadOfThree, lostOrQuestion, lostOrContinuation],
    [leadOfThree, lostOrContinuation, lostOrQuestion],
    [leadOfFour, lostOrQuestion, lostOrContinuation, lostOrContinuation],
    [leadOfFour, lostOrContinuation, lostOrQuestion, lostOrContinuation],
    [leadOfFour, lostOrContinuation, lostOrContinuation, lostOrQuestion],
    [lost],
  ]

  /// Such a sequence becomes U+FFFD.
  static func replacingLossySequences(_ bytes: [UInt8]) -> [UInt8] {
    replacing(lossySequences, in: bytes) { _ in [0xEF, 0xBF, 0xBD] }
  }

  // MARK: UTF-8 and its variants

  /// The text that `bytes` encode in UTF-8, or nil if they do not. Surrogate pairs encoded as two sequences (CESU-8) and
  /// C0 80 for the null character (Java) are taken too.
  static func decode(_ bytes: [UInt8]) -> [UInt32]? {
    var result: [UInt32] = []
    result.reserveCapacity(bytes.count)
    var index = 0
    while index < bytes.count {
      let lead = bytes[index]
      if lead < 0x80 {
        result.append(UInt32(lead))
        index += 1
      } else if lead == 0xC0 {
        // ftfy also takes C0 before a final line feed for a null character, and the line feed with it.
        guard index + 1 < bytes.count,
          bytes[index + 1] == 0x80 || (bytes[index + 1] == 0x0A && index + 2 == bytes.count)
        else { return nil }
        result.append(0)
        index += 2
      } else if let scalar = surrogatePair(in: bytes, at: index) {
        result.append(scalar)
        index += 6
      } else {
        guard let (scalar, length) = sequence(in: bytes, at: index) else { return nil }
        result.append(scalar)
        index += length
      }
    }
    return result
  }

  private static let surrogatePairs: [Pattern] = [
    [surrogateLead, highSurrogate, continuation, surrogateLead, lowSurrogate, continuation]
  ]

  private static func surrogatePair(in bytes: [UInt8], at start: Int) -> UInt32? {
    guard match(surrogatePairs, in: bytes, at: start) != nil else { return nil }
    let high = UInt32(bytes[start + 1] & 0x0F) << 16 | UInt32(bytes[start + 2] & 0x3F) << 10
    let low = UInt32(bytes[start + 4] & 0x0F) << 6 | UInt32(bytes[start + 5] & 0x3F)
    return 0x10000 + (high | low)
  }

  private static func sequence(in bytes: [UInt8], at start: Int) -> (scalar: UInt32, length: Int)? {
    let lead = bytes[start]
    let length: Int
    let smallest: UInt32
    switch lead {
    case 0xC2...0xDF: (length, smallest) = (2, 0x80)
    case 0xE0...0xEF: (length, smallest) = (3, 0x800)
    case 0xF0...0xF4: (length, smallest) = (4, 0x10000)
    default: return nil
    }
    guard start + length <= bytes.count else { return nil }
    var scalar = UInt32(lead) & (0x7F >> UInt32(length))
    for byte in bytes[start + 1..<start + length] {
      guard byte & 0xC0 == 0x80 else { return nil }
      scalar = scalar << 6 | UInt32(byte & 0x3F)
    }
    guard scalar >= smallest, Unicode.Scalar(scalar) != nil else { return nil }
    return (scalar, length)
  }
}
