package import NN
package import Torch

/// The diffusion transformer of Wan2.2-S2V as Live Avatar runs it: block by block over its own past, beside the tokens of a picture (the
/// sink) and of what moved before, with sound added after some layers (arXiv 2512.04677).
///
/// Shapes: A speakers, B batch, N video frames and n latent frames of a block, H and W latent pixels, T tokens of a frame, C width.
package struct WanS2VTransformer: Sendable {
  package typealias TextContext = WanTextContext
  package typealias TimestepContext = WanTimestepContext

  package let config: WanS2VConfiguration
  /// Whether a pass with gradients keeps only the input of each layer and computes the rest again when it goes back.
  package var checkpointsLayers = false
  package var sinkDistance = SinkDistance.drawn(seed: 0)
  var trunk: WanTrunk
  let poseEmbedding: PatchEmbedding
  let audioEncoder: CausalAudioEncoder
  let injectors: [AudioInjector]  // in the order of `audioLayers`
  /// Added to tokens of noise, of the sink, of motion.
  let kinds: Embedding  // [3, C]
  let motion: MotionTokens

  /// - Parameter keepsTypes: whether what is computed in fp32 stays in the type of the store, for a model that shall only be checked.
  /// - Throws: `TorchError` for sizes that no model can have. Wrong keys are reported by the store's `finish`.
  package init(_ config: WanS2VConfiguration, _ path: ParameterPath, keepsTypes: Bool = false) throws {
    if let problem = config.problem { throw TorchError("The transformer's configuration is impossible: \(problem).") }
    self.config = config
    let exact: DType? = keepsTypes ? nil : .float32
    trunk = WanTrunk(config.trunk, timeDType: exact, path)
    poseEmbedding = PatchEmbedding(config.condDim, config.dim, patch: config.patchSize, path / "cond_encoder")
    audioEncoder = CausalAudioEncoder(config, dtype: exact, path / "casual_audio_encoder")  // [sic]
    injectors = config.audioLayers.indices.map {
      AudioInjector(config, $0, path.beside(layer: config.audioLayers[$0]) / "audio_injector")
    }
    kinds = Embedding(3, config.dim, path / "trainable_cond_mask")
    motion = MotionTokens(config.inDim, config.dim, path / "frame_packer")
  }

  /// The type of the weights, in which a pass is computed.
  package var dtype: DType { trunk.dtype }
  package var device: Device { trunk.device }
  /// Where the layers lie; everything else is on `device`, but the head.
  package var layerDevices: LayerDevices { trunk.devices }

  /// The same model, whose layers' weights the ranks share out.
  package func sharded(by layers: ShardedLayers) -> WanS2VTransformer {
    var model = self
    model.trunk.sharded = layers
    return model
  }

  // MARK: Conditions

  /// Reads encoded text `[B, L, textDim]`. Every row takes part, empty ones too.
  package func read(text: Tensor) -> TextContext { trunk.read(text: text) }

  /// Reads timesteps `[B, n]`, or `[B, 1]` where all frames share one, in fp32. The sinusoid has the timesteps' own type.
  package func read(timesteps: Tensor) -> TimestepContext { trunk.read(timesteps: timesteps) }

  /// What a block's sound is to every layer that adds it.
  package struct AudioContext: Sendable {
    /// The audio encoder's result for the block and what stands before it, `[A, n, K + 1, C]` and `[A, n, 1, C]`; for inspection.
    package let local, global: Tensor
    let sounds: [AudioInjector.Sound]  // in the order of the injectors
    /// Where each of several speakers is heard, `[A, n·T, 1]`; nil for one, who is heard everywhere.
    let masks: Tensor?
  }

  /// Video frames that stand before a video, in picture and sound, and the latent frames that they are encoded to.
  package static let (motionVideoFrames, motionLatentFrames) = (73, MotionTokens.frames)

  /// Reads the audio features of a block, `[A, N, audioInputDim]`, N = 4n.
  ///
  /// As published, a block's sound does not depend on that of earlier blocks: its own first row stands before it, again and again.
  /// - Parameter masks: where each of several speakers is heard, `[A, n or more, h, w, 1]` in tokens; of a longer one the first n frames
  ///   count. Without masks every clip of a batch has a speaker of its own.
  package func read(audioFeatures: Tensor, masks: Tensor? = nil) -> AudioContext {
    let first = audioFeatures.narrow(1, 0, 1)
    let before = first.expand(first.size(0), Self.motionVideoFrames, first.size(2))
    let (local, global) = audioEncoder(Tensor.cat([before, audioFeatures], 1))
    let frames = audioFeatures.size(1) / 4
    func newest(_ x: Tensor) -> Tensor { x.narrow(1, x.size(1) - frames, frames).to(dtype) }
    let (blockLocal, blockGlobal) = (newest(local), newest(global))
    return AudioContext(
      local: local, global: global,
      sounds: injectors.map { $0.read(local: blockLocal, global: blockGlobal) },
      masks: masks.map { $0.narrow(1, 0, frames).flatten(1, 3).to(dtype) })
  }

  // MARK: Passes

  /// The tokens beside a video and their keys and values: what `read(reference:…)` makes of a picture.
  package struct Reference {
    let condition: ConditionMemory
    /// The rotary factors of the motion tokens, `[M, D/2, 2]`.
    let motionFactors: Tensor

    /// A layer's keys without rotation, and values, of picture and motion, `[B, M, C]`; for inspection.
    package func keysAndValues(layer: Int) -> (keys: Tensor, values: Tensor) { condition.ordered(layer: layer) }
  }

  /// Where the sink stands in time until a video has come that far.
  static let sinkPosition = 30

  /// Computes the keys and values of the sink and the motion tokens, which see each other and the text, but no sound and no noise.
  ///
  /// - Parameters:
  ///   - latents: the sink frame, then the latent frames that come before the clip, oldest first, `[B, C, 1 + m, H, W]`; where m is less
  ///     than 19, nothing stood before.
  ///   - timestep: zero.
  package func read(
    reference latents: Tensor, text: TextContext, timestep: TimestepContext, rotary: Rotary, tap: WanTap? = nil
  ) -> Reference {
    let factors = conditionFactors(rotary)
    let condition = ConditionMemory()
    var context = SelfAttentionContext(factors: factors, memory: condition)
    var x = tokens(ofReference: latents, tap: tap)
    tap?("tokens_in", x)
    tap?("rope", factors)
    for index in trunk.layers.indices {
      x = trunk.layer(index, x, timestep: timestep, text: text, context: &context, checkpoints: false, tap: tap)
      tap?("block\(index)", x)
    }
    return Reference(condition: condition, motionFactors: MotionTokens.factors(rotary))
  }

  /// The tokens of the sink frame and of what moved before, `[B, M, C]`; `latents` as in `read(reference:…)`.
  func tokens(ofReference latents: Tensor, tap: WanTap? = nil) -> Tensor {
    let patches = trunk.patchEmbedding(latents.narrow(2, 0, 1))
    tap?("patch_embedding", patches)
    let before = motion(latents.narrow(2, 1, latents.size(2) - 1)) + kinds.weight.select(0, 2)
    return Tensor.cat([patches + kinds.weight.select(0, 1), before], 1)
  }

  /// The rotary factors of these tokens where no video has come past them, `[M, D/2, 2]`.
  func conditionFactors(_ rotary: Rotary) -> Tensor {
    Tensor.cat([rotary.factors(start: Self.sinkPosition, frames: 1), MotionTokens.factors(rotary)], 0)
  }

  /// The predicted flow `[B, C, n, H, W]` of one block over earlier ones in the memory, which takes up its keys and values.
  ///
  /// - Parameters:
  ///   - pose: pose latents `[B, condDim, n, H, W]`; nil for zeros, as in the published systems.
  ///   - distance: how far the sink stands ahead of the block's first frame.
  package func callAsFunction(
    block latents: Tensor, start: Int, pose: Tensor? = nil, distance: Int, reference: Reference,
    timestep: TimestepContext, text: TextContext, audio: AudioContext, memory: any AttentionMemory, rotary: Rotary,
    tap: WanTap? = nil
  ) -> Tensor {
    let (frames, grid) = (latents.size(2), trunk.grid(of: latents))
    let block = start..<start + frames
    let position = max(Self.sinkPosition, start + distance)
    let factors = Tensor.cat([rotary.factors(start: position, frames: 1), reference.motionFactors], 0)
    let beside = MemoryBesideCondition(memory, reference.condition, factors: factors)
    var context = SelfAttentionContext(factors: beside.begin(block, rotary: rotary), memory: beside, block: block)
    var x = tokens(ofBlock: latents, pose: pose, tap: tap)
    tap?("tokens_in", x)
    tap?("rope", context.factors)
    tap?("rope_cond", factors)
    for index in trunk.layers.indices {
      x = trunk.layer(
        index, x, timestep: timestep, text: text, context: &context, checkpoints: checkpointsLayers, tap: tap)
      tap?("block\(index)", x)
      if let number = config.audioLayers.firstIndex(of: index) { x = x + heard(x, number, audio, tap) }
      tap?("block\(index)_after_audio", x)
    }
    return trunk.flow(x, timestep: timestep, frames: frames, grid: grid, tap: tap)
  }

  /// The tokens of a block, `[B, n·T, C]`; `latents` and `pose` as in the pass.
  private func tokens(ofBlock latents: Tensor, pose: Tensor?, tap: WanTap?) -> Tensor {
    let patches = trunk.patchEmbedding(latents)
    let posed = pose.map { poseEmbedding($0) }
    tap?("patch_embedding", patches)
    if let posed { tap?("cond_encoder", posed) }
    // Pose latents of zero leave the bias.
    return patches + (posed ?? poseEmbedding.bias) + kinds.weight.select(0, 0)
  }

  /// What the sound adds to tokens x `[B, n·T, C]` by the injector of that number; where there are several speakers, the sum of theirs,
  /// each where its mask says.
  func heard(_ x: Tensor, _ number: Int, _ audio: AudioContext, _ tap: WanTap? = nil) -> Tensor {
    let (injector, sound, name) = (injectors[number], audio.sounds[number], "inject\(number)")
    let speakers = sound.shift.size(0)
    guard let masks = audio.masks else {
      require(speakers == x.size(0), "Several speakers need a mask each.")
      return gradientsEnabled && checkpointsLayers
        ? injector.checkpointed(x, sound, name: name) : injector(x, sound, name: name, tap: tap)
    }
    require(x.size(0) == 1 && masks.size(0) == speakers, "Speakers with masks are those of one video, a mask for each.")
    let all = injector(x.expand(speakers, x.size(1), x.size(2)).contiguous(), sound, name: name, tap: tap)
    return (all * masks.to(all.device)).sum(0, keep: true)
  }
}

// MARK: - For inspection

extension WanS2VTransformer {
  /// What a block's sound adds to tokens `[1, n·T, C]` after a layer; nothing after a layer without sound.
  package func added(after layer: Int, to x: Tensor, by audio: AudioContext) -> Tensor {
    config.audioLayers.firstIndex(of: layer).map { heard(x, $0, audio) } ?? x * 0
  }

  /// The linear layers that the published system computes in 8 bits.
  package static let float8Layers = Float8Layers(excluding: [
    "text_embedding", "time_embedding", "time_projection", "head.head", "casual_audio_encoder.encoder.final_linear",
  ])
}
