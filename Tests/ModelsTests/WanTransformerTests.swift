import NN
import Testing
import Torch

@testable import Models

@Suite struct WanTransformerTests {
  @Test(arguments: [1, 2, 3])
  func `block by block over a memory is the whole clip under the block-causal mask`(framesPerBlock: Int) throws {
    let tiny = try TinyTransformer(frames: 6)
    withGradients(false) {
      let mask = BlockMask.mask(
        frames: 6, tokensPerFrame: tiny.tokensPerFrame, framesPerBlock: framesPerBlock, windowFrames: nil, device: .cpu)
      let timestep = tiny.timestep(300)
      let whole = tiny.model(
        tiny.latents, condition: tiny.condition, timestep: timestep, text: tiny.model.read(text: tiny.text),
        audio: tiny.audio, mask: mask)
      let memory = tiny.memory(window: 6)
      let blocks = stride(from: 0, to: 6, by: framesPerBlock).map { tiny.block($0, framesPerBlock, timestep, memory) }
      #expect(Tensor.cat(blocks, 2).maxAbsDifference(whole) < 2e-5)
      // Every part of the input counts.
      #expect(whole.abs().max().item > 0.1)
    }
  }

  @Test func `a windowed mask is a rolling memory, one timestep a frame`() throws {
    let tiny = try TinyTransformer(frames: 8, layers: 1)
    withGradients(false) {
      let mask = BlockMask.mask(
        frames: 8, tokensPerFrame: tiny.tokensPerFrame, framesPerBlock: 2, windowFrames: 4, device: .cpu)
      let values: [Double] = [900, 900, 700, 700, 300, 300, 0, 0]
      let whole = tiny.model(
        tiny.latents, condition: tiny.condition,
        timestep: tiny.model.read(timesteps: Tensor(values, [1, 8]).to(.float32)),
        text: tiny.model.read(text: tiny.text), audio: nil, mask: mask)
      let memory = tiny.memory(window: 4)
      let text = tiny.model.read(text: tiny.text)
      for start in stride(from: 0, to: 8, by: 2) {
        let flow = tiny.model(
          block: tiny.latents.narrow(2, start, 2), start: start, condition: tiny.condition.narrow(2, start, 2),
          timestep: tiny.timestep(values[start]), text: text, audio: nil, memory: memory,
          rotary: tiny.model.rotary(for: tiny.latents))
        #expect(flow.maxAbsDifference(whole.narrow(2, start, 2)) < 2e-5)
      }
    }
  }

  // MARK: Gradients

  private func expectGradientsEverywhere(_ tiny: TinyTransformer, _ loss: (TinyTransformer) -> Tensor) {
    for (_, tensor) in tiny.store.parameters { tensor.requiresGrad = true }
    let gradients = Tensor.gradients(of: [loss(tiny)], with: tiny.store.parameters.map(\.tensor))
    for (parameter, gradient) in zip(tiny.store.parameters, gradients) {
      let size = gradient?.abs().max().item ?? 0
      #expect(size > 0 && size.isFinite, "\(parameter.name)")
    }
  }

  private static let probe = RandomGenerator(seed: 77).normal([1, 16, 6, 4, 6])

  @Test func `a gradient reaches every parameter of the whole pass`() throws {
    expectGradientsEverywhere(try TinyTransformer(frames: 6)) { tiny in
      (tiny.model(
        tiny.latents, condition: tiny.condition, timestep: tiny.timestep(300), text: tiny.model.read(text: tiny.text),
        audio: tiny.audio) * Self.probe).sum()
    }
  }

  @Test func `a gradient reaches every parameter of the masked pass`() throws {
    expectGradientsEverywhere(try TinyTransformer(frames: 6)) { tiny in
      let mask = BlockMask.mask(
        frames: 6, tokensPerFrame: tiny.tokensPerFrame, framesPerBlock: 3, windowFrames: nil, device: .cpu)
      return
        (tiny.model(
          tiny.latents, condition: tiny.condition, timestep: tiny.timestep(300), text: tiny.model.read(text: tiny.text),
          audio: tiny.audio, mask: mask) * Self.probe).sum()
    }
  }

  // MARK: Conditions

  @Test func `sound and text and picture change the flow, and a stream packs its rows as a clip does`() throws {
    let tiny = try TinyTransformer(frames: 6)
    withGradients(false) {
      let text = tiny.model.read(text: tiny.text)
      func flow(condition: Tensor, text: WanTransformer.TextContext, audio: Tensor?) -> Tensor {
        tiny.model(tiny.latents, condition: condition, timestep: tiny.timestep(300), text: text, audio: audio)
      }
      let base = flow(condition: tiny.condition, text: text, audio: tiny.audio)
      #expect(base.maxAbsDifference(flow(condition: tiny.condition, text: text, audio: nil)) > 1e-3)
      #expect(base.maxAbsDifference(flow(condition: tiny.condition * 0, text: text, audio: tiny.audio)) > 1e-3)
      let other = tiny.model.read(text: tiny.text.flip(2))
      #expect(base.maxAbsDifference(flow(condition: tiny.condition, text: other, audio: tiny.audio)) > 1e-3)
    }
    let packed = tiny.model.pack(audioFeatures: tiny.features)
    #expect(packed.shape == [1, 6, 8])
    #expect(tiny.model.pack(rows: tiny.features.narrow(1, 9, 12)).maxAbsDifference(packed.narrow(1, 3, 3)) < 1e-6)
  }

  @Test(arguments: [1, 2, 3])
  func `a model too shallow for audio layers has none and still runs`(layers: Int) throws {
    let tiny = try TinyTransformer(frames: 3, layers: layers)
    #expect(tiny.audio.shape == [0, 1, 3, 48])
    let flow = withGradients(false) { tiny.block(0, 3, tiny.timestep(0), tiny.memory(window: 3)) }
    #expect(flow.isFinite().to(.int64).min().intItem == 1)
  }

  @Test func `sizes that no model can have are refused`() {
    func problem(_ change: (inout WanTransformerConfiguration) -> Void) -> String? {
      var config = TinyTransformer.configuration()
      change(&config)
      return config.problem
    }
    #expect(problem { _ in } == nil)
    #expect(problem { $0.numHeads = 5 }?.contains("5 heads") == true)
    #expect(problem { $0.dim = 128 }?.contains("width 64") == true)
    #expect(problem { $0.patchSize = [2, 2, 2] }?.contains("[2, 2, 2]") == true)
    #expect(throws: TorchError.self) {
      var config = TinyTransformer.configuration()
      config.numHeads = 0
      _ = try WanTransformer(config, ParameterStore.shapes().root)
    }
  }

  @Test func `the sizes of a checkpoint are read off its shapes`() throws {
    let tiny = try TinyTransformer(frames: 1)
    let weights = Dictionary(uniqueKeysWithValues: tiny.store.parameters.map { ($0.name, $0.tensor) })
    #expect(try WanTransformerConfiguration(readingFrom: weights, headDim: 24) == tiny.model.config)
    for key in ["patch_embedding.weight", "blocks.0.ffn.0.weight", "audio_proj.proj.weight", "head.head.weight"] {
      var lacking = weights
      lacking[key] = nil
      let error = #expect(throws: TorchError.self) {
        try WanTransformerConfiguration(readingFrom: lacking, headDim: 24)
      }
      #expect(error?.description.contains(key) == true)
    }
    for headDim in [0, 7] {
      #expect(throws: TorchError.self) { try WanTransformerConfiguration(readingFrom: weights, headDim: headDim) }
    }
  }
}

@Suite struct EncoderGradientTests {
  private func expectGradients(
    _ parameters: [(name: String, tensor: Tensor)], except: (String) -> Bool = { _ in false },
    _ output: () throws -> Tensor
  ) rethrows {
    for (_, tensor) in parameters { tensor.requiresGrad = true }
    let result = try output()
    let probe = RandomGenerator(seed: 9).normal(result.shape)
    let gradients = Tensor.gradients(of: [(result * probe).sum()], with: parameters.map(\.tensor))
    for (parameter, gradient) in zip(parameters, gradients) where !except(parameter.name) {
      let size = gradient?.abs().max().item ?? 0
      #expect(size > 0 && size.isFinite, "\(parameter.name)")
    }
  }

  @Test func `a gradient reaches every parameter of the autoencoder`() {
    let store = ParameterStore(random: RandomGenerator(seed: 1))
    let vae = WanVAE(TinyTransformer.vae, store.root)
    let video = RandomGenerator(seed: 2).uniform([1, 3, 9, 16, 16]) * 2 - 1
    expectGradients(store.parameters) {
      vae.decode(vae.moments(video: video).narrow(1, 0, 16), clamped: false).sum()
        + vae.moments(video: video).square().sum()
    }
  }

  @Test func `a gradient reaches every parameter of the speech encoder`() throws {
    let configuration = Wav2Vec2Configuration(
      width: 24, layers: 2, heads: 2, feedForwardWidth: 32, convolutionWidths: Array(repeating: 8, count: 7),
      positionKernel: 8, positionGroups: 2)
    let store = ParameterStore(random: RandomGenerator(seed: 1))
    let encoder = Wav2Vec2(configuration, store.root)
    let sound = RandomGenerator(seed: 2).normal([8000]).array(Float.self)
    try expectGradients(
      store.parameters,
      // A bias of keys adds the same to all scores of a query; a masked embedding is for pretraining alone.
      except: { $0.hasSuffix("k_proj.bias") || $0.hasSuffix("masked_spec_embed") }
    ) { try encoder.encode(sound, frameCount: 8) }
  }

  @Test func `a gradient reaches every parameter of the text encoder`() {
    let configuration = UMT5Configuration(
      vocabulary: 4, width: 24, attentionWidth: 36, feedForwardWidth: 40, heads: 3, layers: 2)
    let store = ParameterStore(random: RandomGenerator(seed: 1))
    let encoder = UMT5Encoder(configuration, store.root)
    expectGradients(store.parameters) {
      encoder.encode(ids: Tensor([0, 1, 2, 3], [1, 4]), mask: Tensor([1, 1, 1, 1], [1, 4]))
    }
  }
}
