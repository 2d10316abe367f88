/// A small deterministic generator (SplitMix64, Steele et al. 2014): the same key gives the same numbers everywhere.
package struct SeededRandom: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// - Parameter key: what the numbers depend on, such as a seed, a clip's number and the name of a use of them.
  package init(seed: UInt64, _ key: [Int] = [], _ use: String = "") {
    state = seed
    for part in key { state = splitMix64(state &+ UInt64(bitPattern: Int64(part)) &* 0xD6E8_FEB8_6659_FD93) }
    for byte in use.utf8 { state = splitMix64(state &+ UInt64(byte)) }
    state = splitMix64(state)
  }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    return splitMix64(state)
  }

  /// Uniform in [0, 1).
  package mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

  package mutating func number(_ range: ClosedRange<Double>) -> Double {
    range.lowerBound + (range.upperBound - range.lowerBound) * unit()
  }

  package mutating func integer(_ range: ClosedRange<Int>) -> Int {
    range.lowerBound + Int(unit() * Double(range.count))
  }

  package mutating func chance(_ probability: Double) -> Bool { unit() < probability }

  /// One of the elements, which must be at least one.
  package mutating func pick<Element>(_ elements: [Element]) -> Element { elements[integer(0...(elements.count - 1))] }

  /// Normal with mean 0 and deviation 1, near enough: the sum of twelve uniform numbers.
  package mutating func normal() -> Double {
    var sum = -6.0
    for _ in 0..<12 { sum += unit() }
    return sum
  }
}

/// The finaliser of SplitMix64: a permutation of the 64-bit numbers in which every bit of the result depends on every bit of the
/// argument.
package func splitMix64(_ value: UInt64) -> UInt64 {
  var z = value
  z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
  z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
  return z ^ (z >> 31)
}
