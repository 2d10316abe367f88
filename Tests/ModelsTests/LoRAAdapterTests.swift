import Basics
import Models
import Testing
import Torch

@Suite struct LoRAAdapterTests {
  private func normal(_ shape: Int..., seed: UInt64) -> Tensor { RandomGenerator(seed: seed).normal(shape) }

  @Test(arguments: ["", "base_model.model."], [".default", ""])
  func `a merged weight is the base and alpha over rank times the factors`(prefix: String, name: String) throws {
    let base = ["a.q.weight": normal(6, 4, seed: 1), "a.q.bias": normal(6, seed: 2)]
    let (down, up) = (normal(2, 4, seed: 3), normal(6, 2, seed: 4))
    let merged = try LoRAAdapter.merge(
      ["\(prefix)a.q.lora_A\(name).weight": down, "\(prefix)a.q.lora_B\(name).weight": up], into: base, alpha: 5)
    #expect(merged.keys.sorted() == ["a.q.bias", "a.q.weight"])
    let exact =
      (try #require(base["a.q.weight"])).to(.float64) + up.to(.float64).matmul(down.to(.float64)) * (5.0 / 2)
    #expect(try #require(merged["a.q.weight"]).maxAbsDifference(exact) < 1e-5)
    #expect(try #require(merged["a.q.bias"]).equals(try #require(base["a.q.bias"])))
  }

  @Test func `a merged weight is rounded once, to the type of the base`() throws {
    let base = normal(6, 4, seed: 1).to(.bfloat16)
    let (down, up) = (normal(2, 4, seed: 3).to(.bfloat16), normal(6, 2, seed: 4).to(.bfloat16))
    let merged = try LoRAAdapter.merge(
      ["l.lora_A.weight": down, "l.lora_B.weight": up], into: ["l.weight": base], alpha: 3)
    let weight = try #require(merged["l.weight"])
    #expect(weight.dtype == .bfloat16)
    #expect(weight.equals((base.to(.float32) + up.to(.float32).matmul(down.to(.float32)) * 1.5).to(.bfloat16)))
  }

  @Test func `whole tensors replace those of the base or are added to it`() throws {
    let merged = try LoRAAdapter.merge(
      ["patch.weight": Tensor.ones([9]), "base_model.model.audio.weight": Tensor.ones([2])],
      into: ["patch.weight": Tensor.zeros([4]), "other": Tensor.zeros([1])], alpha: 1)
    #expect(merged.keys.sorted() == ["audio.weight", "other", "patch.weight"])
    #expect(merged["patch.weight"]?.shape == [9])
  }

  @Test func `one error lists everything that does not fit`() {
    let error = #expect(throws: FileError.self) {
      try LoRAAdapter.merge(
        [
          "alone.lora_A.default.weight": Tensor.ones([2, 3]),
          "none.lora_A.default.weight": .ones([2, 3]), "none.lora_B.default.weight": .ones([4, 2]),
          "odd.lora_A.default.weight": .ones([2, 3]), "odd.lora_B.default.weight": .ones([5, 2]),
        ], into: ["alone.weight": Tensor.ones([4, 3]), "odd.weight": Tensor.ones([4, 3])], alpha: 1)
    }
    let text = error?.description ?? ""
    #expect(text.contains("'alone' has only one of its two factors"))
    #expect(text.contains("no 'none'"))
    #expect(text.contains("do not fit 'odd.weight' [4, 3]"))
  }
}
