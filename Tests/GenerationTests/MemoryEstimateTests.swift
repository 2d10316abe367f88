import Foundation
import Models
import NN
import Testing
import Torch

@testable import Generation

/// The arithmetic against what is allocated, at the smallest sizes.
@Suite struct MemoryEstimateTests {
  /// The bytes of every tensor that a value holds, at whatever depth; of views of one storage the largest counts.
  ///
  /// - Parameter device: that they are on; nil for any.
  private func held(by root: Any, on device: Device? = nil) -> Int {
    var tensors: [Tensor] = []
    func visit(_ value: Any) {
      if let tensor = value as? Tensor {
        if device == nil || tensor.device == device { tensors.append(tensor) }
        return
      }
      for child in Mirror(reflecting: value).children { visit(child.value) }
    }
    visit(root)
    var kept: [Tensor] = []
    for tensor in tensors.sorted(by: { $0.byteCount > $1.byteCount }) where tensor.count > 0 {
      if !kept.contains(where: { $0.sharesStorage(with: tensor) }) { kept.append(tensor) }
    }
    return kept.map(\.byteCount).reduce(0, +)
  }

  private func bytes(_ items: [MemoryEstimate.Item], _ beginning: String) throws -> Int {
    try #require(items.first { $0.name.hasPrefix(beginning) }?.bytes, "\(beginning) is not in \(items)")
  }

  @Test(arguments: [(DType.float32, false), (.float16, false), (.float16, true)])
  func `weights of Live Avatar are those that are loaded`(dtype: DType, float8: Bool) throws {
    let options = WeightOptions(float8: float8)
    let estimate = try MemoryEstimate(LiveAvatarPreset.liveAvatarTiny, dtype: dtype, weights: options)
    let models = try LiveAvatarModels(random: .liveAvatarTiny, device: .cpu, dtype: dtype, weights: options)
    #expect(try bytes(estimate.weights, "diffusion transformer") == held(by: models.transformer))
    #expect(try bytes(estimate.weights, "video autoencoder") == held(by: models.vae))
    #expect(try bytes(estimate.weights, "speech encoder") == held(by: models.audioEncoder))
  }

  @Test(arguments: [false, true])
  func `offloaded layers are counted on the host, and two of them on the device`(float8: Bool) throws {
    let preset = LiveAvatarPreset.liveAvatarTiny
    let dtype = float8 ? DType.float16 : .float32
    let options = WeightOptions(float8: float8, offload: true)
    let plain = try MemoryEstimate(preset, dtype: dtype, weights: WeightOptions(float8: float8))
    let estimate = try MemoryEstimate(preset, dtype: dtype, weights: options)
    let models = try LiveAvatarModels(random: preset, device: .cpu, dtype: dtype, weights: options)
    let device = try bytes(estimate.weights, "diffusion transformer") + bytes(estimate.weights, "two of its layers")
    // The host is the device here.
    #expect(device + estimate.hostBytes == held(by: models.transformer))
    #expect(estimate.hostBytes > 0 && plain.hostBytes == 0)
    #expect(plain.total - estimate.total == estimate.hostBytes / 4 * 2)
  }

  /// The second device is `meta`, whose tensors have a size and no values.
  @Test(arguments: [DType.float32, .float16])
  func `each of two devices has the bytes that its layers hold`(dtype: DType) throws {
    let preset = LiveAvatarPreset.liveAvatarTiny
    let groups: [(layers: Range<Int>, device: Device)] = [(0..<1, .cpu), (1..<4, .meta)]
    let store = ParameterStore(
      random: RandomGenerator(seed: 1), dtype: dtype, isFrozen: true, layerDevices: LayerDevices(groups))
    let transformer = try WanS2VTransformer(preset.transformer, store.root)
    let estimates = try groups.map { try MemoryEstimate(preset, dtype: dtype, layers: $0.layers) }
    for (group, estimate) in zip(groups, estimates) {
      #expect(try bytes(estimate.weights, "diffusion transformer") == held(by: transformer, on: group.device))
    }
    #expect(estimates[1].weights.count == 1 && !estimates[1].activations.contains { $0.name != "denoising step" })
    // What is made before a pass, which does not run there.
    try withInferenceMode {
      let text = RandomGenerator(seed: 3).normal([1, 32, preset.transformer.textDim], dtype)
      let read = transformer.read(text: text)
      let shape = transformer.memoryShape(for: .zeros([1, 16, 3, 16, 16], dtype))
      let memories = (0..<4).map { _ in RingMemory(shape, windowFrames: 12) }
      for (group, estimate) in zip(groups, estimates) {
        let counted = try ["blocks", "text"].map { try bytes(estimate.caches, $0) }
        let kept: [Any] = [memories, (read, text)]
        #expect(counted == kept.map { held(by: $0, on: group.device) })
      }
    }
    // Together what one device has, in 8 bits too.
    for weights in [WeightOptions(), WeightOptions(float8: true)] {
      let parts = try groups.map { try MemoryEstimate(preset, dtype: dtype, weights: weights, layers: $0.layers) }
      let whole = try MemoryEstimate(preset, dtype: dtype, weights: weights)
      #expect(parts.map(\.weightBytes).reduce(0, +) == whole.weightBytes)
      #expect(parts.map(\.cacheBytes).reduce(0, +) == whole.cacheBytes)
    }
  }

  @Test func `weights of LiveTalk are those that are loaded`() throws {
    let estimate = try MemoryEstimate(ModelPreset.tiny, dtype: .float32)
    let models = try AvatarModels(random: .tiny, device: .cpu, dtype: .float32)
    #expect(
      estimate.weights.map(\.bytes) == [
        held(by: models.transformer), held(by: models.vae), held(by: models.audioEncoder),
      ])
  }

  @Test func `weights of 14B have as many bytes as its published parameters`() throws {
    let estimate = try MemoryEstimate(LiveAvatarPreset.liveAvatar14B, dtype: .bfloat16)
    let weights = try bytes(estimate.weights, "diffusion transformer")
    // What reads timesteps and sound is kept in fp32.
    #expect(weights > 2 * 16_295_755_609 && Double(weights) < 2.05 * 16_295_755_609)
    let eight = try bytes(
      try MemoryEstimate(
        LiveAvatarPreset.liveAvatar14B, dtype: .bfloat16, weights: WeightOptions(float8: true)
      ).weights, "diffusion")
    #expect(Double(eight) < 0.55 * Double(weights))
  }

  @Test func `caches of Live Avatar are those that a session holds`() throws {
    let size = ReferencePicture.Size(height: 64, width: 128)
    let estimate = try MemoryEstimate(LiveAvatarPreset.liveAvatarTiny, size: size, dtype: .float32)
    let models = try LiveAvatarModels(random: .liveAvatarTiny, device: .cpu, dtype: .float32)
    let text = RandomGenerator(seed: 3).normal([1, 32, models.textWidth])
    try withInferenceMode {
      let conditions = LiveAvatarConditions(
        sink: RandomGenerator(seed: 4).normal([1, 16, 1, 8, 16]), motion: .zeros([1, 16, 19, 8, 16]))
      let rollout = try LiveAvatarRollout(
        transformer: models.transformer, conditions: conditions, textEmbedding: text, options: LiveAvatarOptions())
      let memories = (0..<4).map { rollout.blocks.memory(of: $0) }
      #expect(try bytes(estimate.caches, "blocks") == memories.map { held(by: $0) }.reduce(0, +))
      let reference = Mirror(reflecting: rollout.blocks.reference).children.first { $0.label == "condition" }
      #expect(try bytes(estimate.caches, "picture and motion") == held(by: try #require(reference).value))
      #expect(try bytes(estimate.caches, "text") == held(by: models.transformer.read(text: text)) + text.byteCount)
      var decoder = models.vae.stream()
      _ = decoder.decode(conditions.motion.narrow(2, 0, 3))
      #expect(try bytes(estimate.caches, "decoder") == held(by: decoder.rememberedFrames))
    }
  }

  @Test func `caches of LiveTalk are those that a session holds, with the autoencoder of Wan 2.2 too`() throws {
    for preset in [ModelPreset.tiny, .mini] {
      let estimate = try MemoryEstimate(preset, dtype: .float32)
      let models = try AvatarModels(random: preset, device: .cpu, dtype: .float32)
      let stride = preset.vae.spatialStride
      let latents = Tensor.zeros(
        [1, preset.vae.latentChannels, 3, preset.size.height / stride, preset.size.width / stride])
      try withInferenceMode {
        let memory = try KVCachePolicy.livetalk.memory(
          models.transformer.memoryShape(for: latents.narrow(2, 0, 1)), framesPerBlock: 3)
        #expect(try bytes(estimate.caches, "blocks") == held(by: memory))
        var decoder = models.vae.stream()
        for _ in 0..<2 { _ = decoder.decode(latents) }
        #expect(try bytes(estimate.caches, "decoder") == held(by: decoder.rememberedFrames))
      }
    }
  }

  @Test func `the processes of a pipeline hold together what one holds, but for what each reads for itself`() throws {
    let preset = LiveAvatarPreset.liveAvatar14B
    let whole = try MemoryEstimate(preset, dtype: .bfloat16)
    let step = try MemoryEstimate(preset, dtype: .bfloat16, stage: (2..<3, false))
    let decoder = try MemoryEstimate(preset, dtype: .bfloat16, stage: (0..<0, true))
    #expect(try 4 * bytes(step.caches, "blocks") == bytes(whole.caches, "blocks"))
    #expect(decoder.weights.map(\.name) == ["video autoencoder"] && decoder.caches.map(\.name) == ["decoder"])
    #expect(!step.caches.contains { $0.name == "decoder" } && step.total < whole.total)
  }

  @Test func `a clip needs what its device holds of a session and of the weights`() throws {
    let checkpoint = try TinyCheckpoint(liveAvatar: true)
    let folder = try CheckpointFolder(checkpoint.root)
    let (size, options) = (LiveAvatarPreset.liveAvatarTiny.size, SessionOptions(folder.settings))
    func least(
      float8: Bool = false, offload: Bool = false, stage: (steps: Range<Int>, decodes: Bool)? = nil,
      on groups: [(layers: Range<Int>, device: Device)] = [(0..<4, .cuda(0))]
    ) throws -> Int {
      // Counted, not allocated: there need not be such devices.
      let needs = try folder.leastMemory(
        size, options, on: LayerDevices(groups), dtype: .float16,
        weights: WeightOptions(float8: float8, offload: offload), stage: stage)
      #expect(needs.map(\.device) == groups.map(\.device))
      return needs.map(\.bytes).reduce(0, +)
    }
    let weights = try folder.weights(.transformer)
    let layers = weights.filter { $0.key.hasPrefix("blocks.") }.values.map(\.count).reduce(0, +)
    let all = try least()
    #expect(try all - least(offload: true) == 2 * layers)
    #expect(try all > least(float8: true) && all > least(stage: (0..<1, false)) && all > least(stage: (0..<0, true)))
    let session = try MemoryEstimate(.liveAvatarTiny, dtype: .float16, options: LiveAvatarOptions(options))
    let decoder = try folder.weights(.vae).values.map(\.count).reduce(0, +)
    let own = 2 * (weights.values.map(\.count).reduce(0, +) + decoder)
    #expect(all == session.cacheBytes + session.activationBytes + own)
    // Two devices hold what one holds, and activations each.
    let second = try MemoryEstimate(
      .liveAvatarTiny, dtype: .float16, options: LiveAvatarOptions(options), layers: 2..<4)
    #expect(try least(on: [(0..<2, .cuda(0)), (2..<4, .cuda(1))]) == all + second.activationBytes)
  }
}
