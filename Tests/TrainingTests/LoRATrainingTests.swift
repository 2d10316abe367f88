import Foundation
import Generation
import Models
import NN
import Testing
import Torch

@testable import Training

@Suite struct LoRATrainingTests {
  private let tiny: TinyTraining
  private let adaptation = LoRAConfiguration(
    rank: 3, alpha: 6, targets: ["self_attn.q", "ffn.2"], whole: ["patch_embedding", "audio_cond_projs"])
  private let conditions: Conditions
  private let xt = RandomGenerator(seed: 1).normal([1, 16, 3, 4, 6])

  init() throws {
    tiny = try TinyTraining()
    let generator = RandomGenerator(seed: 2)
    conditions = Conditions(
      text: generator.normal([1, 5, 8]),
      audioFeatures: generator.normal([1, 9, TinyTraining.preset.transformer.audioInputDim]),
      referenceLatent: generator.normal([1, 16, 1, 4, 6]))
  }

  private func load(
    _ adaptation: LoRAConfiguration?, from folder: String = "base", isTrained: Bool = true,
    checkpointsLayers: Bool = false
  ) throws -> LoadedTransformer {
    var run = RunSettings()
    (run.precision, run.checkpointLayers) = (.float32, checkpointsLayers)
    return try LoadedTransformer(
      try CheckpointFolder(tiny.folder[folder]), run, device: .cpu, isTrained: isTrained, adaptation: adaptation)
  }

  private func flow(_ model: any TrainableTransformer) -> Tensor {
    model.flow(xt, timesteps: Tensor.full([1, 1], 500), conditions)
  }

  /// The adapted model after something has been learnt.
  private func trained(checkpointsLayers: Bool = false) throws -> LoadedTransformer {
    let loaded = try load(adaptation, checkpointsLayers: checkpointsLayers)
    withGradients(false) {
      for (number, (_, tensor)) in loaded.store.trained.enumerated() {
        tensor.add_(RandomGenerator(seed: UInt64(number)).normal(tensor.shape), alpha: 0.05)
      }
    }
    return loaded
  }

  @Test func `training begins with the base`() throws {
    let (base, adapted, trained) = (try load(nil), try load(adaptation), try trained())
    #expect(withGradients(false) { flow(base.model).equals(flow(adapted.model)) })
    #expect(withGradients(false) { flow(base.model).maxAbsDifference(flow(trained.model)) } > 1e-3)
  }

  @Test func `LoRA and fully trained layers are trained, and nothing else`() throws {
    let loaded = try trained()
    let names = loaded.store.trained.map(\.name)
    let factors = (0..<4).flatMap { layer in
      ["self_attn.q", "ffn.2"].flatMap { target in
        ["lora_A", "lora_B"].map { "blocks.\(layer).\(target).\($0).default.weight" }
      }
    }
    let whole =
      ["patch_embedding.weight", "patch_embedding.bias"] + ["weight", "bias"].map { "audio_cond_projs.0.\($0)" }
    #expect(names.sorted() == (factors + whole).sorted())
    flow(loaded.model).square().mean().backward()
    for (name, tensor) in loaded.store.parameters {
      #expect((tensor.grad?.abs().max().item ?? 0 > 0) == names.contains(name), "\(name)")
      #expect(tensor.requiresGrad == names.contains(name), "\(name)")
    }
    for factor in loaded.store.trained where factor.name.hasSuffix("lora_A.default.weight") {
      #expect(factor.tensor.shape[0] == 3)
    }
  }

  @Test func `activation checkpointing leaves the gradients of LoRA as they are`() throws {
    func gradients(_ isCheckpointed: Bool) throws -> [String: Tensor] {
      let loaded = try trained(checkpointsLayers: isCheckpointed)
      flow(loaded.model).square().mean().backward()
      return Dictionary(
        uniqueKeysWithValues: loaded.store.trained.compactMap { name, tensor in tensor.grad.map { (name, $0) } })
    }
    expectEqual(try gradients(false), try gradients(true), tolerance: 1e-6)
  }

  @Test func `the merged transformer is the adapted one`() throws {
    let loaded = try trained()
    let values = loaded.store.trained.map { ($0.name, $0.tensor.detach()) }
    try FileManager.default.copyItem(at: tiny.folder["base"], to: tiny.folder["merged"])
    let file = tiny.folder["merged/LiveTalk-1.3B-V0.1/model.safetensors"]
    try FileManager.default.removeItem(at: file)
    try loaded.write(values, to: tiny.folder["merged"])
    let merged = try load(nil, from: "merged", isTrained: false)
    withGradients(false) {
      let (one, other) = (flow(loaded.model), flow(merged.model))
      #expect(one.maxAbsDifference(other) < 1e-5)
      #expect(one.abs().max().item > 0.1)
    }
    // The keys are those of PEFT: what merges published adapters merges these.
    let base = try readWeights(tiny.folder["base/LiveTalk-1.3B-V0.1/model.safetensors"])
    let again = try LoRAAdapter.merge(Dictionary(uniqueKeysWithValues: values), into: base, alpha: 6)
    let written = try readWeights(file)
    #expect(Set(again.keys) == Set(base.keys) && Set(written.keys) == Set(base.keys))
    #expect(try again.allSatisfy { try #require(written[$0.key]).equals($0.value) })
    let changed = base.filter { !(written[$0.key]?.equals($0.value) ?? false) }.map(\.key)
    #expect(changed.count == 4 * 2 + 4)
  }

  @Test func `a rank of 0 and unknown layers are refused`() throws {
    #expect(message { _ = try load(LoRAConfiguration(rank: 0, alpha: 1, targets: ["q"])) }.contains("rank of 0"))
    #expect(message { _ = try load(LoRAConfiguration(rank: 2, alpha: 1, targets: [])) }.contains("no layer"))
    #expect(message { _ = try load(LoRAConfiguration(rank: 2, alpha: 1, targets: ["z"])) }.contains("match no layer"))
  }

  @Test func `one seed gives the same LoRA weights`() throws {
    let (one, other) = (try load(adaptation), try load(adaptation))
    for (a, b) in zip(one.store.trained, other.store.trained) {
      #expect(a.name == b.name && a.tensor.detach().equals(b.tensor.detach()))
    }
  }
}
