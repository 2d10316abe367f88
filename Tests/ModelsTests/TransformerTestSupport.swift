import NN
import Testing
import Torch

@testable import Models

/// A small transformer with random weights and everything that a pass needs.
struct TinyTransformer {
  static func configuration(layers: Int = 4) -> WanTransformerConfiguration {
    WanTransformerConfiguration(
      trunk: WanTrunkConfiguration(
        dim: 48, inDim: 33, ffnDim: 64, textDim: 12, freqDim: 16, numHeads: 2, numLayers: layers),
      audioInputDim: 10, audioHiddenSize: 8)
  }

  static let vae = WanVAEConfiguration(
    width: 4, latentChannels: 16, widthMultipliers: [1, 2, 2, 2], residualBlocks: 1,
    temporalDownsampling: [false, true, true])

  static let height = 4, width = 6

  let model: WanTransformer
  let store: ParameterStore
  let dtype: DType
  let text: Tensor
  let latents: Tensor  // [1, 16, F, H, W]
  let condition: Tensor  // [1, 17, F, H, W]
  let features: Tensor  // [1, 4F - 3, 10]

  init(
    frames: Int, layers: Int = 4, dtype: DType = .float32, seed: UInt64 = 1, height: Int = height, width: Int = width
  )
    throws
  {
    let generator = RandomGenerator(seed: seed)
    store = ParameterStore(random: generator, dtype: dtype)
    model = try WanTransformer(Self.configuration(layers: layers), store.root)
    self.dtype = dtype
    text = generator.normal([1, 7, 12]).to(dtype)
    latents = generator.normal([1, 16, frames, height, width]).to(dtype)
    condition = generator.normal([1, 17, frames, height, width]).to(dtype)
    features = generator.normal([1, 4 * frames - 3, 10]).to(dtype)
  }

  var tokensPerFrame: Int { model.config.tokensPerFrame(height: latents.size(3), width: latents.size(4)) }
  var audio: Tensor { model.audioContext(packed: model.pack(audioFeatures: features)) }
  func timestep(_ value: Double) -> WanTransformer.TimestepContext {
    model.read(timesteps: .full([1, 1], value, dtype))
  }

  func memory(window: Int, sinks: Int = 0, limit: Int? = nil, visible: Int? = nil) -> RingMemory {
    RingMemory(
      model.memoryShape(for: latents), windowFrames: window, sinkFrames: sinks, visibleTokens: visible,
      positionLimit: limit)
  }

  /// The flow of the block at `start`; the inputs of a frame are those at its number modulo the clip's length.
  func block(
    _ start: Int, _ frames: Int, _ timestep: WanTransformer.TimestepContext, _ memory: any AttentionMemory,
    scale: Double = 1,
    text context: WanTransformer.TextContext? = nil
  ) -> Tensor {
    let at = start % latents.size(2)
    return model(
      block: latents.narrow(2, at, frames) * scale, start: start, condition: condition.narrow(2, at, frames),
      timestep: timestep, text: context ?? model.read(text: text), audio: audio.narrow(2, at, frames), memory: memory,
      rotary: model.rotary(for: latents))
  }
}
