import Basics
import Foundation
import NN
import Testing
import Torch

@testable import Generation
@testable import Models

/// Layers of a transformer in groups, each on a device. There is one processor, so a group's neighbour is the same device, or `meta`, where
/// there are shapes only: enough to see where everything lies, and not for a pass, since libtorch has no norms there.
@Suite struct LayerDevicesTests {
  private func rollout(_ transformer: WanS2VTransformer, sink: AdaptiveSink = .released) throws -> LiveAvatarRollout {
    let (config, generator) = (transformer.config, RandomGenerator(seed: 4))
    return try LiveAvatarRollout(
      transformer: transformer,
      conditions: LiveAvatarConditions(
        sink: generator.normal([1, 16, 1, 8, 8]), motion: generator.normal([1, 16, 19, 8, 8])),
      textEmbedding: generator.normal([1, 6, config.textDim]),
      options: LiveAvatarOptions(blocksPerClip: 2, adaptiveSink: sink, seed: 3))
  }

  /// Latents of blocks past the change of the sink, what the window holds, and another text.
  private func video(_ transformer: WanS2VTransformer, sink: AdaptiveSink = .released) throws -> Tensor {
    try withInferenceMode {
      let rollout = try rollout(transformer, sink: sink)
      let device = transformer.device
      return Tensor.cat(
        (0..<6).map { block in
          let features = RandomGenerator(seed: 50 + UInt64(block)).normal([1, 12, transformer.config.audioInputDim])
          if block == 3 { rollout.setText(RandomGenerator(seed: 8).normal([1, 6, transformer.config.textDim])) }
          return rollout.next(audio: transformer.read(audioFeatures: features.to(device)))
        }, 2
      ).to(.cpu)
    }
  }

  private func random(
    _ dtype: DType = .float32, float8: Bool = false, _ device: Device = .cpu, layersPerDevice: Int? = nil
  ) throws -> WanS2VTransformer {
    try LiveAvatarModels(
      random: .liveAvatarTiny, device: device, dtype: dtype,
      weights: WeightOptions(float8: float8, layersPerDevice: layersPerDevice)
    ).transformer
  }

  // MARK: The video

  @Test(arguments: [(DType.float32, false), (.bfloat16, true)])
  func `layers in groups make what they make in one, to the last bit`(dtype: DType, float8: Bool) throws {
    for sink in float8 ? [AdaptiveSink.released] : [.released, .paper] {
      let whole = try video(random(dtype, float8: float8), sink: sink)
      // Groups of equal size, and with a rest.
      for (count, sizes) in [(2, [2, 2]), (3, [3, 1])] {
        let transformer = try random(dtype, float8: float8, layersPerDevice: count)
        #expect(transformer.layerDevices.groups.map(\.layers.count) == sizes)
        #expect(try video(transformer, sink: sink).equals(whole), "\(count) layers in a group, sink \(sink)")
      }
    }
  }

  @Test(
    .enabled(if: Device.cudaCount > 1, "there are not two GPUs"),
    arguments: [(DType.float32, false), (.bfloat16, true)])
  func `layers on two GPUs make what they make on one`(dtype: DType, float8: Bool) throws {
    let whole = try video(random(dtype, float8: float8, .cuda(0)))
    let divided = try random(dtype, float8: float8, .cuda(0), layersPerDevice: 2)
    #expect(divided.layerDevices.table == [.cuda(0), .cuda(0), .cuda(1), .cuda(1)])
    #expect(try video(divided).equals(whole))
  }

  @Test func `groups are loaded with the adapter merged into them`() throws {
    let folder = try TinyCheckpoint(liveAvatar: true)
    let checkpoint = try folder.open()
    let whole = try video(checkpoint.loadS2VTransformer(dtype: .float32))
    let divided = try checkpoint.loadS2VTransformer(dtype: .float32, WeightOptions(layersPerDevice: 2))
    #expect(try divided.layerDevices.groups.count == 2 && video(divided).equals(whole))
  }

  @Test func `several speakers are heard by every group`() throws {
    func flow(_ transformer: WanS2VTransformer) throws -> Tensor {
      try withInferenceMode {
        let generator = RandomGenerator(seed: 6)
        let audio = transformer.read(
          audioFeatures: generator.normal([2, 12, transformer.config.audioInputDim]),
          masks: generator.uniform([2, 3, 4, 4, 1]))
        return try rollout(transformer).next(audio: audio)
      }
    }
    #expect(try flow(random(layersPerDevice: 2)).equals(flow(random())))
  }

  @Test func `LiveTalk's layers too, and older frames are turned back in every group`() throws {
    func video(_ layersPerDevice: Int?) throws -> [[UInt8]] {
      let models = try AvatarModels(
        random: .tiny, device: .cpu, dtype: .float32, layersPerDevice: layersPerDevice)
      #expect(models.transformer.layerDevices.groups.count == (layersPerDevice == nil ? 1 : 3))
      var options = SessionOptions(policy: .anchorHeavy(sinks: 3, window: 9), positionLimit: 12)
      options.steps = 2
      let generator = RandomGenerator(seed: 7)
      return try withInferenceMode {
        let session = try models.session(
          image: generator.uniform([1, 3, 1, 64, 64]) * 2 - 1,
          textEmbedding: generator.normal([1, 6, models.textWidth]), options: options)
        return try (0..<6).flatMap { block in
          let features = RandomGenerator(seed: 50 + UInt64(block)).normal(
            [1, session.videoFramesInNextBlock, models.transformer.config.audioInputDim])
          return try session.next(audioFeatures: features).read()
        }
      }
    }
    let whole = try video(nil)
    #expect(whole.count == 69)
    #expect(try video(2) == whole)
  }

  // MARK: Where everything lies

  private static let onTwo = LayerDevices([(0..<2, .cpu), (2..<4, .meta)])

  /// A model whose last two layers and head are on another device, where nothing can be read.
  private func divided(_ dtype: DType) throws -> WanS2VTransformer {
    let store = ParameterStore(
      random: RandomGenerator(seed: 1), dtype: dtype, isFrozen: true, layerDevices: Self.onTwo)
    return try WanS2VTransformer(LiveAvatarPreset.liveAvatarTiny.transformer, store.root)
  }

  @Test(arguments: [DType.float32, .bfloat16])
  func `what belongs to a layer is made on the layer's device`(dtype: DType) throws {
    let model = try divided(dtype)
    let generator = RandomGenerator(seed: 4)
    try withTorchErrors {
      withInferenceMode {
        let text = model.read(text: generator.normal([1, 6, 64], dtype))
        let timestep = model.read(timesteps: .full([1, 1], 800))
        let audio = model.read(audioFeatures: generator.normal([1, 12, model.config.audioInputDim]))
        let memory = RingMemory(model.memoryShape(for: .zeros([1, 16, 3, 8, 8], dtype)), windowFrames: 12)
        for (layer, device) in Self.onTwo.table.enumerated() {
          let tensors =
            [text.layers[layer].keys, text.layers[layer].values, memory.keys[layer], memory.values[layer]]
            + timestep.layers[layer].tensors
          #expect(tensors.allSatisfy { $0.device == device && $0.count > 0 }, "layer \(layer)")
        }
        for (layer, sound) in zip(model.config.audioLayers, audio.sounds) {
          let tensors = [sound.shift, sound.scale, sound.keys, sound.values]
          #expect(tensors.allSatisfy { $0.device == Self.onTwo[layer] && $0.count > 0 }, "sound after layer \(layer)")
        }
        #expect(timestep.headShift.device == .meta && timestep.headScale.device == .meta)
        #expect(text.embedded.device == .cpu && timestep.projection.device == .cpu)
      }
    }
  }

  @Test func `each weight is read to the device of its layer at once`() throws {
    let config = LiveAvatarPreset.liveAvatarTiny.transformer
    let random = ParameterStore(random: RandomGenerator(seed: 1))
    _ = try WanS2VTransformer(config, random.root)
    let weights = Dictionary(uniqueKeysWithValues: random.parameters.map { ($0.name, $0.tensor) })
    var asked: [String: Device] = [:]
    let store = ParameterStore(
      weights: weights, name: "random", isFrozen: true, layerDevices: Self.onTwo,
      transform: { key, tensor, device in
        asked[key] = device
        return tensor
      }, checksValues: false)
    _ = try WanS2VTransformer(config, store.root)
    try store.finish()
    // Sound is added after the layers 0, 2 and 3.
    let later = [
      "blocks.2.", "blocks.3.", "head.", "audio_injector.injector.1.", "audio_injector.injector.2.",
      "audio_injector.injector_adain_layers.1.", "audio_injector.injector_adain_layers.2.",
    ]
    for entry in store.layout {
      let device: Device = later.contains { entry.name.hasPrefix($0) } ? .meta : .cpu
      #expect(asked[entry.name] == device && entry.device == device, "\(entry.name)")
    }
    #expect(Set(later.filter { prefix in asked.keys.contains { $0.hasPrefix(prefix) } }) == Set(later))
  }

  // MARK: Numbers that cannot be

  @Test(arguments: [0, -1, 5])
  func `a number of layers that the transformer does not have is refused`(count: Int) throws {
    let options = WeightOptions(layersPerDevice: count)
    let error = #expect(throws: LiveTalkError.self) { try options.layerDevices(4, from: .cpu) }
    #expect(
      error?.description
        == "--layers-per-device is a number from 1 to 4, the layers of this transformer, not \(count).")
  }

  @Test func `more groups than devices, and what keeps the layers elsewhere, are refused`() throws {
    func message(_ options: WeightOptions, _ device: Device) -> String {
      refusal { _ = try options.layerDevices(40, from: device) }
    }
    let there = Device.cudaCount
    #expect(
      message(WeightOptions(layersPerDevice: 15), .cuda(there)).hasPrefix(
        "With --layers-per-device 15 the 40 layers take the devices cuda:\(there) to cuda:\(there + 2), and this machine has \(there) "
          + "CUDA device"))
    #expect(message(WeightOptions(layersPerDevice: 20), .mps).contains("there is one mps: leave it out"))
    #expect(
      message(WeightOptions(offload: true, layersPerDevice: 20), .cpu).contains("leave one of them out"))
    // One group is one device, whichever it is.
    #expect(
      try WeightOptions(layersPerDevice: 40).layerDevices(40, from: .mps).table == Array(repeating: .mps, count: 40))
  }
}
