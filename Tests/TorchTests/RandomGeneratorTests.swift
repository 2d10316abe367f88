import Testing
import Torch

@Suite struct RandomGeneratorTests {
  @Test func `a generator for a device that is not there fails its scope, not the process`() {
    #expect(throws: TorchError.self) {
      try withTorchErrors {
        let generator = RandomGenerator(seed: 1, device: .cuda(99))
        #expect(generator.normal([3]).shape == [3])
      }
    }
  }

  @Test func `one seed gives one sequence and another seed another`() {
    func draws(_ seed: UInt64) -> [Tensor] {
      let generator = RandomGenerator(seed: seed)
      return [
        generator.normal([5]), generator.uniform([5]), generator.integers(0..<1000, [5]), generator.permutation(50),
      ]
    }
    #expect(zip(draws(3), draws(3)).allSatisfy { $0.equals($1) })
    #expect(zip(draws(3), draws(4)).allSatisfy { !$0.equals($1) })
    let generator = RandomGenerator(seed: 3)
    #expect(!generator.normal([5]).equals(generator.normal([5])))
  }

  @Test func `a saved state resumes the sequence`() {
    let generator = RandomGenerator(seed: 5)
    _ = generator.normal([7])
    let state = generator.state
    let first = generator.normal([9])
    generator.state = state
    #expect(generator.normal([9]).equals(first))
    let other = RandomGenerator(seed: 0)
    other.state = state
    #expect(other.normal([9]).equals(first))
  }

  @Test func `a generator does not depend on what others draw`() {
    let (one, other) = (RandomGenerator(seed: 8), RandomGenerator(seed: 8))
    let first = one.normal([4])
    _ = Tensor.ones([100]).dropout(0.5)  // the global state
    _ = RandomGenerator(seed: 1).uniform([100])
    let second = one.normal([4])
    #expect(other.normal([4]).equals(first) && other.normal([4]).equals(second))
  }

  @Test func `normal and uniform values have their moments`() {
    let generator = RandomGenerator(seed: 11)
    let normal = generator.normal([200_000], .float64)
    #expect(abs(normal.mean().item) < 0.01)
    #expect(abs(normal.square().mean().item - 1) < 0.015)
    #expect(abs((normal.square() * normal).mean().item) < 0.04)
    #expect(abs(normal.square().square().mean().item - 3) < 0.1)
    let uniform = generator.uniform([200_000], .float64)
    #expect(uniform.min().item >= 0 && uniform.max().item < 1)
    #expect(abs(uniform.mean().item - 0.5) < 0.003)
    #expect(abs(uniform.variance(unbiased: false).item - 1 / 12.0) < 0.001)
  }

  @Test func `whole numbers fill their range and a permutation has each once`() {
    let generator = RandomGenerator(seed: 12)
    let drawn = Set(generator.integers(-2..<3, [500]).array(Int.self))
    #expect(drawn == [-2, -1, 0, 1, 2])
    #expect(generator.permutation(100).array(Int.self).sorted() == Array(0..<100))
  }

  @Test func `tensors are filled in place`() {
    let tensor = Tensor.zeros([10_000])
    tensor.normal_(mean: 5, deviation: 0.5, RandomGenerator(seed: 1))
    #expect(abs(tensor.mean().item - 5) < 0.03)
    #expect(abs(tensor.variance(unbiased: true).item - 0.25) < 0.02)
    tensor.uniform_(-3, -1, RandomGenerator(seed: 1))
    #expect(tensor.min().item >= -3 && tensor.max().item <= -1)
  }
}
