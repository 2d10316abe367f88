import Models
import Testing
import Torch

@testable import Generation
@testable import NN
@testable import Training

/// The arithmetic against what is allocated, at the smallest size.
@Suite struct DistillationMemoryTests {
  private let preset = TinyLiveAvatarTraining.preset

  private func settings(_ lowRank: LoRAConfiguration?) -> DMDConfiguration {
    var settings = DMDConfiguration()
    settings.run.applyTiny(steps: 1)
    settings.run.latentFrames = 6
    settings.average = EMASettings(decay: 0.9, startStep: 0)
    settings.rollout = .liveAvatar
    settings.lowRank = lowRank
    return settings
  }

  private func estimate(_ settings: DMDConfiguration, ranks: Int = 1) throws -> [String: Int] {
    let model = try DistilledTransformer(preset, size: .init(height: 64, width: 64), dtype: .float32)
    let estimate = MemoryEstimate(distilling: model, settings, textRows: 5, ranks: ranks)
    let items = estimate.weights + estimate.caches + estimate.activations
    return Dictionary(uniqueKeysWithValues: items.map { ($0.name, $0.bytes) })
  }

  @Test(arguments: [nil, ["head"], []] as [[String]?])
  func `weights and what the optimizers keep are those that are allocated`(whole: [String]?) throws {
    var lowRank = whole.map { _ in TinyLiveAvatarTraining.lora }
    lowRank?.whole = whole ?? []
    let store = ParameterStore(
      weights: try randomWeights(), name: "base", adaptation: lowRank.map { ($0, RandomGenerator(seed: 2)) })
    _ = try WanS2VTransformer(preset.transformer, store.root)
    let base = store.parameters.filter { !$0.name.contains("lora_") }.map(\.tensor.byteCount).reduce(0, +)
    let optimizer = try ShardedOptimizer(store.trained, averaging: MovingAverage(weight: 0.9))
    optimizer.startAverage(counter: 0)
    let part = try #require(optimizer.parts.first)
    let counted = try estimate(settings(lowRank))
    #expect(counted[lowRank == nil ? "teacher" : "base of all three"] == base)
    #expect(counted["trained, of student and critic"] == 2 * part.working.byteCount)
    #expect(counted["their gradients"] == 2 * part.gradients.byteCount)
    #expect(counted["their master weights and moments"] == 2 * (part.first.byteCount + part.second.byteCount))
    #expect(counted["the student's EMA"] == part.average?.byteCount)
    // Two clips' frames of four latent rows and columns of tokens.
    #expect(counted["the rollout's keys and values"] == 2 * 4 * 6 * 16 * 96 * 4)
  }

  private func randomWeights() throws -> [String: Tensor] {
    let store = ParameterStore(random: RandomGenerator(seed: 1))
    _ = try WanS2VTransformer(preset.transformer, store.root)
    return Dictionary(uniqueKeysWithValues: store.parameters.map { ($0.name, $0.tensor) })
  }

  @Test func `bf16 weights have a master in fp32`() throws {
    let parameters = [("a", [3, 5]), ("b", [130])].map { name, shape in
      (name: name, tensor: Tensor.zeros(shape, .bfloat16))
    }
    let part = try #require(try ShardedOptimizer(parameters).parts.first)
    let counted = OptimizerMemory(parameters.map { ($0.tensor.count, .bfloat16) }, ranks: 1, averages: false)
    #expect(counted.weights == part.working.byteCount && counted.gradients == part.gradients.byteCount)
    #expect(counted.state == part.master.byteCount + part.first.byteCount + part.second.byteCount)
    #expect(counted.average == 0)
  }

  @Test func `ranks share what can be shared, and checkpoints save activations`() throws {
    let one = try estimate(settings(TinyLiveAvatarTraining.lora))
    let two = try estimate(settings(TinyLiveAvatarTraining.lora), ranks: 2)
    let state = "their master weights and moments"
    #expect(two[state] ?? 0 < one[state] ?? 0 && two["base of all three"] == one["base of all three"])
    var saving = settings(TinyLiveAvatarTraining.lora)
    (saving.run.checkpointLayers, saving.blockwise) = (true, true)
    let saved = try estimate(saving)
    for name in ["the student's backward pass", "the critic's backward pass"] {
      #expect(saved[name] ?? 0 < one[name] ?? 0)
    }
  }

  @Test func `14B fits eight GPUs of 80 GB, and not without sharing out its base`() throws {
    let model = try DistilledTransformer(.liveAvatar14B, dtype: .bfloat16)
    var settings = DMDConfiguration.liveAvatar14B
    func total() -> Int { MemoryEstimate(distilling: model, settings, textRows: 512, ranks: 8).total }
    #expect(total() > 80_000_000_000)
    settings.run.shardWeights = true
    #expect((60_000_000_000..<70_000_000_000).contains(total()))
  }
}
