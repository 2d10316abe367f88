/// How far the sink frame stands ahead of a block's first frame in time, once the video has come that far (Rolling RoPE of Live Avatar).
package enum SinkDistance: Sendable {
  /// The distances that the published code draws from, anew in every pass.
  package static let published = 4...30

  case fixed(Int)
  /// One of `published` for each block and step, by a seed: stages of a pipeline need not tell each other.
  case drawn(seed: UInt64)
  /// By block and step; for parity.
  case given(@Sendable (_ block: Int, _ step: Int) -> Int)

  package func callAsFunction(block: Int, step: Int) -> Int {
    switch self {
    case .fixed(let distance): distance
    case .given(let distance): distance(block, step)
    case .drawn(let seed):
      Self.published.lowerBound
        + Int(
          Self.mixed(
            Self.mixed(Self.mixed(seed) &+ UInt64(bitPattern: Int64(block))) &+ UInt64(bitPattern: Int64(step)))
            % UInt64(Self.published.count))
    }
  }

  /// SplitMix64's next number.
  private static func mixed(_ state: UInt64) -> UInt64 {
    var z = state &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
