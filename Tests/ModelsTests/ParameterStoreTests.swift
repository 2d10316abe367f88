import Models
import NN
import Testing
import Torch

@Suite struct ParameterStoreTests {
  private func weights(_ shapes: [String: [Int]]) -> [String: Tensor] { shapes.mapValues { Tensor.ones($0) } }

  @Test func `one error lists every missing, misshaped and unused key`() throws {
    let store = ParameterStore(
      weights: weights(["a.weight": [2, 3], "b.weight": [4], "b.bias": [5], "left.over": [1], "also": [1]]),
      name: "model.safetensors")
    _ = Linear(3, 2, store.root / "a")
    _ = LayerNorm(5, eps: 1e-5, store.root / "b")
    _ = RMSNorm(5, eps: 1e-5, store.root / "c" / 0)
    let error = try #require(throws: CheckpointMismatch.self) { try store.finish() }
    #expect(error.missing == ["a.bias", "c.0.weight"])
    #expect(error.misshaped == ["b.weight is [4], expected [5]"])
    #expect(error.unused == ["also", "left.over"])
    #expect(
      error.description == "model.safetensors does not fit the model: 2 missing (a.bias, c.0.weight); "
        + "1 wrong shape (b.weight is [4], expected [5]); 2 unused (also, left.over).")
  }

  @Test func `keys under an ignored prefix may be left over`() throws {
    let store = ParameterStore(weights: weights(["a.weight": [2, 3], "head.x": [1], "heading": [1]]), name: "w")
    _ = Linear(3, 2, bias: false, store.root / "a")
    let error = #expect(throws: CheckpointMismatch.self) { try store.finish(ignoring: ["head."]) }
    #expect(error?.unused == ["heading"])
    try store.finish(ignoring: ["head"])
  }

  @Test func `a checkpoint that fits is taken as it is`() throws {
    let given = weights(["a.weight": [2, 3], "a.bias": [2]])
    let store = ParameterStore(weights: given, name: "w")
    let layer = Linear(3, 2, store.root / "a")
    try store.finish()
    #expect(store.parameters[0].tensor.sharesStorage(with: try #require(given["a.weight"])))
    #expect((store.root / "a").contains("bias") && !(store.root / "a").contains("scale"))
    expectSame(layer(Tensor.ones([1, 3])), Tensor.full([1, 2], 4))
  }

  private func expectSame(_ a: Tensor, _ b: Tensor) { #expect(a.equals(b)) }

  @Test func `parameters are brought to the type asked for`() throws {
    let store = ParameterStore(weights: weights(["weight": [3]]), name: "w", dtype: .bfloat16)
    #expect(RMSNorm(3, eps: 1e-6, store.root).weight.dtype == .bfloat16)
    let kept = ParameterStore(weights: ["weight": Tensor.ones([3], .float16)], name: "w")
    #expect(RMSNorm(3, eps: 1e-6, kept.root).weight.dtype == .float16)
    #expect(kept.root.parameter("weight", [3], dtype: .float64).dtype == .float64)
  }

  @Test func `random parameters are those of the seed and within their bounds`() {
    func parameters(_ seed: UInt64) -> [(name: String, tensor: Tensor)] {
      let store = ParameterStore(random: RandomGenerator(seed: seed))
      _ = Linear(400, 300, store.root / "a")
      _ = LayerNorm(7, eps: 1e-5, store.root / "b")
      _ = Embedding(500, 20, store.root / "c")
      return store.parameters
    }
    let (one, same, other) = (parameters(1), parameters(1), parameters(2))
    #expect(one.map(\.name) == ["a.weight", "a.bias", "b.weight", "b.bias", "c.weight"])
    #expect(zip(one, same).allSatisfy { $0.tensor.equals($1.tensor) })
    #expect(!one[0].tensor.equals(other[0].tensor))
    #expect(one[0].tensor.abs().max().item <= 0.05 && one[0].tensor.abs().max().item > 0.049)
    #expect(one[2].tensor.equals(.ones([7])) && one[3].tensor.equals(.zeros([7])))
    #expect(abs(one[4].tensor.square().mean().item - 1) < 0.05)
  }

  @Test func `shapes list a model's layout without making it`() throws {
    let store = ParameterStore.shapes()
    let config = TinyTransformer.configuration(layers: 4)
    _ = try WanTransformer(config, store.root)
    let random = ParameterStore(random: RandomGenerator(seed: 1))
    _ = try WanTransformer(config, random.root)
    #expect(store.layout.map(\.name) == random.layout.map(\.name))
    #expect(store.layout.map(\.shape) == random.parameters.map(\.tensor.shape))
    #expect(store.parameters.allSatisfy { $0.tensor.count == 0 })
    try store.finish()
  }

  @Test func `weights of a convolution can be laid out with their channels innermost`() {
    let store = ParameterStore(random: RandomGenerator(seed: 1))
    let cube = store.root.parameter("cube", [4, 3, 2, 2, 2], .ones, channelsLast: true)
    let square = store.root.parameter("square", [4, 3, 2, 2], .ones, channelsLast: true)
    #expect(cube.shape == [4, 3, 2, 2, 2] && cube.stride(1) == 1)
    #expect(square.shape == [4, 3, 2, 2] && square.stride(1) == 1)
  }

  @Test func `models with missing keys say so instead of failing halfway`() throws {
    let config = TinyTransformer.configuration(layers: 4)
    let empty = ParameterStore(weights: [:], name: "nothing")
    _ = try WanTransformer(config, empty.root)
    let transformer = #expect(throws: CheckpointMismatch.self) { try empty.finish() }
    #expect(transformer?.missing.count == empty.layout.count)

    let store = ParameterStore(weights: [:], name: "nothing")
    _ = WanVAE(TinyTransformer.vae, store.root)
    let vae = #expect(throws: CheckpointMismatch.self) { try store.finish() }
    #expect(vae?.missing.count == store.layout.count)
  }
}
