import CTorch

/// An explicit source of random numbers: one seed and device give one sequence.
// Unchecked for `c`: libtorch locks the generator in each draw. Draws from several threads come in no fixed order.
package final class RandomGenerator: @unchecked Sendable {
  let c: ct_generator
  package let device: Device

  /// For a device that is not there this fails as an operation does; the rest of an error scope then draws on the CPU.
  package init(seed: UInt64, device: Device = .cpu) {
    var pointer: ct_generator?
    check(ct_generator_new(device.c, seed, &pointer))
    self.device = pointer == nil ? .cpu : device
    if pointer == nil { check(ct_generator_new(Device.cpu.c, seed, &pointer)) }
    guard let pointer else { fatalError(String(cString: ct_last_error())) }
    c = pointer
  }

  deinit { ct_generator_free(c) }

  /// The state, for saving and resuming a sequence.
  package var state: Tensor {
    get { Tensor { ct_generator_state(c, $0) } }
    set { check(ct_generator_set_state(c, newValue.c)) }
  }

  /// Standard normal values.
  package func normal(_ shape: [Int], _ dtype: DType = .float32) -> Tensor {
    Tensor { ct_randn(shape, Int32(shape.count), c, dtype.rawValue, device.c, $0) }
  }

  /// Uniform values in [0, 1).
  package func uniform(_ shape: [Int], _ dtype: DType = .float32) -> Tensor {
    Tensor { ct_rand(shape, Int32(shape.count), c, dtype.rawValue, device.c, $0) }
  }

  /// Whole numbers in the range.
  package func integers(_ range: Range<Int>, _ shape: [Int]) -> Tensor {
    Tensor { ct_randint(Int64(range.lowerBound), Int64(range.upperBound), shape, Int32(shape.count), c, device.c, $0) }
  }

  /// 0 ..< count in random order.
  package func permutation(_ count: Int) -> Tensor { Tensor { ct_randperm(Int64(count), c, device.c, $0) } }
}

extension Tensor {
  package func normal_(mean: Double = 0, deviation: Double = 1, _ generator: RandomGenerator) {
    check(ct_normal_(c, mean, deviation, generator.c))
  }
  package func uniform_(_ low: Double = 0, _ high: Double = 1, _ generator: RandomGenerator) {
    check(ct_uniform_(c, low, high, generator.c))
  }
}
