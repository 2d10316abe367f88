import NN
import Testing
import Torch

@Suite struct LinearTests {
  /// A store of three layers with odd numbers of rows and outputs, and whole panels of 64.
  private static func weights(outputs: Int, inputs: Int, _ dtype: DType) -> [String: Tensor] {
    let generator = RandomGenerator(seed: 5)
    var weights: [String: Tensor] = [:]
    for name in ["q", "k", "v"] {
      weights["\(name).weight"] = (generator.normal([outputs, inputs]) * 0.1).to(dtype)
      weights["\(name).bias"] = generator.normal([outputs]).to(dtype)
    }
    return weights
  }

  private static func layers(_ weights: [String: Tensor], frozen: Bool, outputs: Int, inputs: Int) throws -> [Linear] {
    let store = ParameterStore(weights: weights, name: "weights", isFrozen: frozen)
    let layers = ["q", "k", "v"].map { Linear(inputs, outputs, store.root / $0) }
    try store.finish()
    return layers
  }

  @Test(arguments: [(64, 32), (70, 34), (128, 96), (3, 8)])
  func `a frozen layer gives what a trainable one gives`(outputs: Int, inputs: Int) throws {
    for dtype in [DType.bfloat16, .float32] {
      let weights = Self.weights(outputs: outputs, inputs: inputs, dtype)
      let x = RandomGenerator(seed: 6).normal([2, 7, inputs]).to(dtype)
      let plain = try Self.layers(weights, frozen: false, outputs: outputs, inputs: inputs)[0]
      let frozen = try Self.layers(weights, frozen: true, outputs: outputs, inputs: inputs)[0]
      withInferenceMode {
        // One rounding of bf16 apart, at most: values are below 8.
        let bound = dtype == .bfloat16 ? 0.04 : 1e-5
        #expect(frozen(x).maxAbsDifference(plain(x)) <= bound)
        #expect(frozen.geluTanh(x).maxAbsDifference(plain(x).gelu(tanhForm: true)) <= bound)
        #expect(frozen(x).shape == [2, 7, outputs])
      }
    }
  }

  @Test func `joined layers give what the layers give, and the layers stay usable as parts`() throws {
    for (dtype, frozen) in [(DType.float32, false), (.bfloat16, false), (.bfloat16, true)] {
      let weights = Self.weights(outputs: 64, inputs: 32, dtype)
      let x = RandomGenerator(seed: 7).normal([1, 5, 32]).to(dtype)
      let layers = try Self.layers(weights, frozen: frozen, outputs: 64, inputs: 32)
      let joined = try #require(Linear.joined(layers))
      withInferenceMode {
        let parts = joined.whole(x).chunks(3, -1)
        for ((layer, part), view) in zip(zip(layers, parts), joined.parts) {
          #expect(part.maxAbsDifference(layer(x)) <= (dtype == .bfloat16 ? 0.04 : 1e-5))
          #expect(view(x).equals(layer(x)))
        }
      }
    }
  }

  @Test func `a frozen layer passes gradients on to its input`() throws {
    let weights = Self.weights(outputs: 64, inputs: 32, .bfloat16)
    let frozen = try Self.layers(weights, frozen: true, outputs: 64, inputs: 32)[0]
    let x = RandomGenerator(seed: 8).normal([3, 32]).to(.bfloat16)
    x.requiresGrad = true
    frozen(x).sum().backward()
    let expected = (weights["q.weight"] ?? x).to(.float32).sum(0).unsqueeze(0).expand(3, 32)
    #expect((try #require(x.grad)).to(.float32).maxAbsDifference(expected) < 0.05)
  }

  @Test func `a frozen store holds no second list of the weights`() throws {
    let weights = Self.weights(outputs: 8, inputs: 8, .float32)
    let store = ParameterStore(weights: weights, name: "weights", isFrozen: true)
    _ = Linear(8, 8, store.root / "q")
    #expect(store.parameters.isEmpty && store.layout.count == 2)
  }
}
