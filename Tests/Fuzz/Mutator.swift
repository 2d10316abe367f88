import Basics

/// Damages files the way that mistakes, cut downloads and attackers do. The same seed gives the same damage.
struct Mutator {
  var random: SeededRandom

  init(seed: UInt64, reader: String, number: Int) { random = SeededRandom(seed: seed, [number], reader) }

  /// A file with one to six mutations.
  ///
  /// - Parameters:
  ///   - container: what is repaired around a mutation, so that it reaches the parser behind a checksum or a length.
  ///   - words: pieces that mean something in the format.
  ///   - others: files of the same format, of which pieces are taken.
  mutating func damaged(_ file: [UInt8], in container: Container, words: [String], others: [[UInt8]]) -> [UInt8] {
    guard random.chance(0.75), let inner = container.inner(file, &random) else {
      return mutated(file, words, others)
    }
    return container.rebuilt(file, inner.place, mutated(inner.bytes, words, others))
  }

  private mutating func mutated(_ file: [UInt8], _ words: [String], _ others: [[UInt8]]) -> [UInt8] {
    var bytes = file
    for _ in 0..<random.integer(1...6) { mutate(&bytes, words, others) }
    return bytes
  }

  private mutating func mutate(_ bytes: inout [UInt8], _ words: [String], _ others: [[UInt8]]) {
    guard !bytes.isEmpty else { return bytes = others.isEmpty ? [0] : random.pick(others) }
    let place = random.integer(0...(bytes.count - 1))
    let end = min(bytes.count, place + random.integer(1...max(1, min(64, bytes.count))))
    switch random.integer(0...11) {
    case 0: bytes[place] ^= 1 << UInt8(random.integer(0...7))
    case 1: bytes[place] = UInt8(random.integer(0...255))
    case 2: write(number: random.pick(Mutator.numbers), into: &bytes, at: place)
    case 3: bytes.removeSubrange(place..<end)
    case 4: bytes.insert(contentsOf: bytes[place..<end], at: place)
    case 5: bytes.removeSubrange(place...)
    case 6: for index in place..<end { bytes[index] = 0 }
    case 7:
      guard !words.isEmpty else { return }
      bytes.insert(contentsOf: Array(random.pick(words).utf8), at: place)
    case 8:
      guard !others.isEmpty else { return }
      let other = random.pick(others)
      guard !other.isEmpty else { return }
      let start = random.integer(0...(other.count - 1))
      bytes.replaceSubrange(place..<end, with: other[start..<min(other.count, start + 64)])
    default: replaceNumber(&bytes, from: place)
    }
  }

  private static let numbers: [UInt64] = [
    0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 40, 1 << 62,
    0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000, .max,
  ]

  private mutating func write(number: UInt64, into bytes: inout [UInt8], at place: Int) {
    let size = random.pick([1, 2, 4, 8])
    let isLittle = random.chance(0.5)
    for index in 0..<size where place + index < bytes.count {
      bytes[place + index] = UInt8(truncatingIfNeeded: number >> UInt64(8 * (isLittle ? index : size - 1 - index)))
    }
  }

  private static let texts = [
    "0", "-1", "1", "2", "65536", "2000000000", "2147483647", "-2147483648", "4294967296", "9223372036854775807",
    "-9223372036854775808", "18446744073709551616", "1e400", "-1e400", "1e-400", "0.5", "1.0000000000000002", "nan",
    "null",
    "true", "\"1\"", "[]", "{}",
  ]

  /// Puts another number where one is written in digits, at `place` or behind it.
  private mutating func replaceNumber(_ bytes: inout [UInt8], from place: Int) {
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    guard let first = bytes[place...].firstIndex(where: digits.contains) else { return }
    let last = bytes[first...].firstIndex { !digits.contains($0) } ?? bytes.count
    bytes.replaceSubrange(first..<last, with: Array(random.pick(Mutator.texts).utf8))
  }
}
