package import NN
package import Torch

/// The Wan diffusion transformer in the OmniAvatar layout: predicts the flow of noisy latents under text, picture and sound.
///
/// One set of weights serves three passes: every token sees every token (the teacher), a block-causal mask over a whole clip
/// (training of the student), and one block at a time over a key/value cache (serving, and rollouts in training).
/// Shapes: B batch, F latent frames, H and W latent pixels, T tokens of a frame, L = F·T, C width.
package struct WanTransformer: Sendable {
  package typealias Tap = WanTap
  package typealias TextContext = WanTextContext
  package typealias TimestepContext = WanTimestepContext

  package let config: WanTransformerConfiguration
  /// Whether a pass with gradients keeps only the input of each layer and computes the rest again when it goes back.
  package var checkpointsLayers = false
  var trunk: WanTrunk
  let audioPack: AudioPack
  let audioProjections: [Linear]

  /// - Throws: `TorchError` for sizes that no model can have. Wrong keys are reported by the store's `finish`.
  package init(_ config: WanTransformerConfiguration, _ path: ParameterPath) throws {
    if let problem = config.problem { throw TorchError("The transformer's configuration is impossible: \(problem).") }
    self.config = config
    trunk = WanTrunk(config.trunk, path)
    audioPack = AudioPack(
      channels: config.audioInputDim, patch: [LatentGeometry.livetalk.audioRowsPerLatentFrame, 1, 1],
      width: config.audioHiddenSize,
      layerNorm: true, path / "audio_proj")
    audioProjections = config.audioLayers.indices.map {
      Linear(config.audioHiddenSize, config.dim, path / "audio_cond_projs" / ($0 - config.audioLayers.lowerBound))
    }
  }

  /// The type of the weights, in which a pass is computed.
  package var dtype: DType { trunk.dtype }
  package var device: Device { trunk.device }
  /// Where the layers lie; everything else is on `device`, but the head.
  package var layerDevices: LayerDevices { trunk.devices }
  var layers: [WanTransformerLayer] { trunk.layers }

  /// The same model, whose layers' weights the ranks share out.
  package func sharded(by layers: ShardedLayers) -> WanTransformer {
    var model = self
    model.trunk.sharded = layers
    return model
  }

  // MARK: Conditions

  /// Reads encoded text `[B, L, textDim]`. Every row takes part, empty ones too.
  package func read(text: Tensor) -> TextContext { trunk.read(text: text) }

  /// Reads timesteps `[B, F]`, or `[B, 1]` where all frames share one. The sinusoid has the timesteps' own type.
  package func read(timesteps: Tensor) -> TimestepContext { trunk.read(timesteps: timesteps) }

  /// Packs audio features `[B, 4F - 3, audioInputDim]`, one row per video frame, into `[B, F, audioHiddenSize]`.
  ///
  /// Three more copies of the first row go in front, so that the first latent frame, one video frame long, has four rows too.
  package func pack(audioFeatures: Tensor) -> Tensor {
    let copies = LatentGeometry.livetalk.audioRowsPerLatentFrame - 1
    let first = audioFeatures.narrow(1, 0, 1)
    return pack(rows: Tensor.cat([Tensor](repeating: first, count: copies) + [audioFeatures], 1))
  }

  /// Packs rows of audio features `[B, 4F, audioInputDim]` into `[B, F, audioHiddenSize]`; for streams past the first frame.
  package func pack(rows: Tensor) -> Tensor {
    audioPack(rows.transpose(1, 2).unsqueeze(-1).unsqueeze(-1)).squeeze(-2).squeeze(-2)
  }

  /// What each audio layer adds to the tokens of each latent frame, `[layers, B, F, C]`, from packed audio `[B, F, hidden]`.
  ///
  /// A model of fewer than four layers has no audio layer.
  package func audioContext(packed: Tensor) -> Tensor {
    guard !audioProjections.isEmpty else {
      return .empty([0, packed.size(0), packed.size(1), config.dim], packed.dtype, device: packed.device)
    }
    return Tensor.stack(audioProjections.map { $0(packed) }, 0)
  }

  // MARK: Passes

  /// The predicted flow `[B, out, F, H, W]` where every token sees every token, or those of the mask `[L, L]`.
  ///
  /// - Parameters:
  ///   - latents: noisy latents `[B, C, F, H, W]`.
  ///   - condition: picture and mask `[B, C+1, F, H, W]`.
  ///   - audio: `audioContext`, or nil for none.
  package func callAsFunction(
    _ latents: Tensor, condition: Tensor, timestep: TimestepContext, text: TextContext, audio: Tensor?,
    mask: Tensor? = nil, tap: Tap? = nil
  ) -> Tensor {
    let factors = rotary(for: latents).factors(start: 0, frames: latents.size(2))
    return run(
      latents, condition: condition, timestep: timestep, text: text, audio: audio,
      context: SelfAttentionContext(factors: factors, mask: mask), tap: tap)
  }

  /// The predicted flow of one block `[B, C, n, H, W]` that starts at latent frame `start`, over earlier blocks.
  ///
  /// The memory takes up the block's keys and values; further calls at the same start replace them.
  package func callAsFunction(
    block latents: Tensor, start: Int, condition: Tensor, timestep: TimestepContext, text: TextContext, audio: Tensor?,
    memory: any AttentionMemory, rotary: Rotary, tap: Tap? = nil
  ) -> Tensor {
    let block = start..<start + latents.size(2)
    let factors = memory.begin(block, rotary: rotary)
    return run(
      latents, condition: condition, timestep: timestep, text: text, audio: audio,
      context: SelfAttentionContext(factors: factors, memory: memory, block: block), tap: tap)
  }

  /// The rows of a memory for latents `[B, C, F, H, W]`.
  package func memoryShape(for latents: Tensor) -> MemoryShape { trunk.memoryShape(for: latents) }

  /// The rotary factors for latents of this height and width.
  package func rotary(for latents: Tensor) -> Rotary {
    let grid = trunk.grid(of: latents)
    return Rotary(headDim: config.headDim, grid: (grid[0], grid[1]), device: latents.device)
  }

  // MARK: The pass itself

  private func run(
    _ latents: Tensor, condition: Tensor, timestep: TimestepContext, text: TextContext, audio: Tensor?,
    context: SelfAttentionContext, tap: Tap?
  ) -> Tensor {
    let (batch, frames) = (latents.size(0), latents.size(2))
    let grid = trunk.grid(of: latents)
    let tokensPerFrame = grid[0] * grid[1]
    var context = context
    var x = trunk.patchEmbedding(Tensor.cat([latents, condition], 1))  // [B, L, C]
    tap?("patch_tokens", x.reshape(batch, frames, grid[0], grid[1], config.dim).permute(0, 4, 1, 2, 3))
    for index in layers.indices {
      if let audio, config.audioLayers.contains(index) {
        let added = audio.select(0, index - config.audioLayers.lowerBound).unsqueeze(2)  // [B, F, 1, C]
        x = (x.unflatten(1, frames, tokensPerFrame) + added.to(x.device)).flatten(1, 2)
      }
      x = trunk.layer(
        index, x, timestep: timestep, text: text, context: &context, checkpoints: checkpointsLayers, tap: tap)
      tap?("block\(index)", x)
    }
    return trunk.flow(x, timestep: timestep, frames: frames, grid: grid, tap: tap)
  }
}
