package import NN
package import Torch

/// The Wan diffusion transformer in the OmniAvatar layout: predicts the flow of noisy latents under text, picture and sound.
///
/// One set of weights serves three passes: every token sees every token (the teacher), a block-causal mask over a whole clip
/// (training of the student), and one block at a time over a key/value cache (serving, and rollouts in training).
/// Shapes: B batch, F latent frames, H and W latent pixels, T tokens of a frame, L = F·T, C width.
package struct WanTransformer: Sendable {
  /// Called with intermediate results by the reference's names; for parity.
  package typealias Tap = (String, Tensor) -> Void

  /// Text read once per session: the keys and values of every layer's cross-attention.
  package struct TextContext: Sendable {
    package let embedded: Tensor  // [B, L, C]
    let layers: [(keys: Tensor, values: Tensor)]

    /// The keys and values of a layer, `[B, L, C]`; for inspection.
    package func keysAndValues(layer: Int) -> (keys: Tensor, values: Tensor) {
      (layers[layer].keys.flatten(2), layers[layer].values.flatten(2))
    }
  }

  /// What a timestep means to every layer; computed once per step of a schedule.
  package struct TimestepContext: Sendable {
    package let embedding: Tensor  // [N, C]
    package let projection: Tensor  // [N, 6·C]
    let layers: [LayerModulation]
    let headShift, headScale: Tensor  // [B, F or 1, C]
  }

  package let config: WanTransformerConfiguration
  /// Whether a pass with gradients keeps only the input of each layer and computes the rest again when it goes back.
  package var checkpointsLayers = false
  let patchEmbedding: (weight: Tensor, bias: Tensor)
  let textIn, textOut: Linear
  let timeIn, timeOut, timeProjection: Linear
  let layers: [WanTransformerLayer]
  let headModulation: Tensor  // [1, 2, C]
  let head: Linear
  let audioPack: AudioPack
  let audioProjections: [Linear]

  /// - Throws: `TorchError` for sizes that no model can have. Wrong keys are reported by the store's `finish`.
  package init(_ config: WanTransformerConfiguration, _ path: ParameterPath) throws {
    if let problem = config.problem { throw TorchError("The transformer's configuration is impossible: \(problem).") }
    self.config = config
    let dim = config.dim
    let patch = config.patchSize
    let fanIn = config.inDim * patch.reduce(1, *)
    let embedding = path / "patch_embedding"
    patchEmbedding = (
      embedding.parameter("weight", [dim, config.inDim] + patch, .uniform(fanIn: fanIn)),
      embedding.parameter("bias", [dim], .uniform(fanIn: fanIn))
    )
    textIn = Linear(config.textDim, dim, path / "text_embedding" / 0)
    textOut = Linear(dim, dim, path / "text_embedding" / 2)
    timeIn = Linear(config.freqDim, dim, path / "time_embedding" / 0)
    timeOut = Linear(dim, dim, path / "time_embedding" / 2)
    timeProjection = Linear(dim, dim * 6, path / "time_projection" / 1)
    layers = (0..<config.numLayers).map { WanTransformerLayer(config, path / "blocks" / $0) }
    headModulation = (path / "head").parameter(
      "modulation", [1, 2, dim], .normal(deviation: 1 / Double(dim).squareRoot()))
    head = Linear(dim, config.outDim * patch.reduce(1, *), path / "head" / "head")
    audioPack = AudioPack(
      channels: config.audioInputDim, patch: [LatentGeometry.livetalk.audioRowsPerLatentFrame, 1, 1],
      width: config.audioHiddenSize,
      layerNorm: true, path / "audio_proj")
    audioProjections = config.audioLayers.indices.map {
      Linear(config.audioHiddenSize, dim, path / "audio_cond_projs" / ($0 - config.audioLayers.lowerBound))
    }
  }

  /// The type of the weights, in which a pass is computed.
  package var dtype: DType { timeIn.dtype }
  package var device: Device { timeIn.device }

  // MARK: Conditions

  /// Reads encoded text `[B, L, textDim]`. Every row takes part, empty ones too.
  package func read(text: Tensor) -> TextContext {
    let embedded = textOut(textIn.geluTanh(text))
    return TextContext(embedded: embedded, layers: layers.map { $0.crossAttention.crossKeysAndValues(embedded) })
  }

  /// Reads timesteps `[B, F]`, or `[B, 1]` where all frames share one. The sinusoid has the timesteps' own type.
  package func read(timesteps: Tensor) -> TimestepContext {
    let (batch, frames) = (timesteps.size(0), timesteps.size(1))
    let sinusoid = sinusoidalEmbedding(timesteps.flatten(), width: config.freqDim).to(timeIn.dtype)
    let embedding = timeOut(timeIn(sinusoid).silu())  // [N, C]
    let projection = timeProjection(embedding.silu())  // [N, 6C]
    // All layers at once: [layers, 6, 1, 1, C] + [6, B, F, C].
    let tables = Tensor.stack(layers.map { $0.modulation.squeeze(0) }, 0).unsqueeze(2).unsqueeze(2)
    let perFrame = projection.reshape(batch, frames, 6, config.dim).permute(2, 0, 1, 3)
    let all = tables + perFrame
    let shared = embedding.reshape(batch, frames, config.dim)
    return TimestepContext(
      embedding: embedding, projection: projection,
      layers: (0..<layers.count).map { LayerModulation(all.select(0, $0)) },
      headShift: headModulation.narrow(1, 0, 1) + shared, headScale: headModulation.narrow(1, 1, 1) + shared)
  }

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
  package func memoryShape(for latents: Tensor) -> MemoryShape {
    MemoryShape(
      layers: config.numLayers, heads: config.numHeads, headDim: config.headDim,
      tokensPerFrame: config.tokensPerFrame(height: latents.size(3), width: latents.size(4)), batch: latents.size(0),
      dtype: latents.dtype, device: latents.device)
  }

  /// The rotary factors for latents of this height and width.
  package func rotary(for latents: Tensor) -> Rotary {
    Rotary(
      headDim: config.headDim,
      grid: (latents.size(3) / config.patchSize[1], latents.size(4) / config.patchSize[2]), device: latents.device)
  }

  /// True where a token of row q may see token k: `[L, L]`, for blocks of `framesPerBlock` over the whole clip.
  ///
  /// A token sees its own block and the ones before; with a window only the last `windowFrames` counted from its block's end.
  package static func blockCausalMask(
    frames: Int, tokensPerFrame: Int, framesPerBlock: Int, windowFrames: Int?, device: Device
  ) -> Tensor {
    let tokens = Tensor.range(Double(frames * tokensPerFrame), .int64, device: device)
    let blockTokens = Double(framesPerBlock * tokensPerFrame)
    let end = ((tokens.to(.float64) / blockTokens).floor() + 1) * blockTokens  // [L]
    let key = tokens.to(.float64).unsqueeze(0)
    var mask = key .< end.unsqueeze(1)
    if let windowFrames {
      mask = mask .& (key .>= (end - Double(windowFrames * tokensPerFrame)).unsqueeze(1))
    }
    return mask .| (tokens.unsqueeze(0) .== tokens.unsqueeze(1))
  }

  // MARK: The pass itself

  private func run(
    _ latents: Tensor, condition: Tensor, timestep: TimestepContext, text: TextContext, audio: Tensor?,
    context: SelfAttentionContext, tap: Tap?
  ) -> Tensor {
    let (batch, frames) = (latents.size(0), latents.size(2))
    let grid = [latents.size(3) / config.patchSize[1], latents.size(4) / config.patchSize[2]]
    let tokensPerFrame = grid[0] * grid[1]
    var x = patchify(Tensor.cat([latents, condition], 1))  // [B, L, C]
    tap?("patch_tokens", x.reshape(batch, frames, grid[0], grid[1], config.dim).permute(0, 4, 1, 2, 3))
    for (index, layer) in layers.enumerated() {
      if let audio, config.audioLayers.contains(index) {
        let added = audio.select(0, index - config.audioLayers.lowerBound).unsqueeze(2)  // [B, F, 1, C]
        x = (x.unflatten(1, frames, tokensPerFrame) + added).flatten(1, 2)
      }
      x =
        gradientsEnabled && checkpointsLayers
        ? layer.checkpointed(
          x, index: index, modulation: timestep.layers[index], text: text.layers[index], context: context, tap: tap)
        : layer(
          x, index: index, modulation: timestep.layers[index], text: text.layers[index], context: context, tap: tap)
      tap?("block\(index)", x)
    }
    let out = head(x.normModulate(shift: timestep.headShift, scale: timestep.headScale, eps: config.eps))
    tap?("head", out)
    return unpatchify(out, frames: frames, grid: grid)
  }

  /// `[B, in, F, H, W]` → tokens `[B, F·h·w, C]`: the patch convolution as one matrix product.
  private func patchify(_ x: Tensor) -> Tensor {
    let (h, w) = (config.patchSize[1], config.patchSize[2])
    let (b, c, f) = (x.size(0), x.size(1), x.size(2))
    let (rows, columns) = (x.size(3) / h, x.size(4) / w)
    let patches = x.reshape(b, c, f, rows, h, columns, w).permute(0, 2, 3, 5, 1, 4, 6)
    return patches.reshape(b, f * rows * columns, c * h * w).linear(
      patchEmbedding.weight.flatten(1), patchEmbedding.bias)
  }

  /// Tokens `[B, F·h·w, pt·ph·pw·out]`, channels fastest → `[B, out, F, H, W]`.
  private func unpatchify(_ x: Tensor, frames: Int, grid: [Int]) -> Tensor {
    let (h, w) = (config.patchSize[1], config.patchSize[2])
    return x.reshape(x.size(0), frames, grid[0], grid[1], h, w, config.outDim).permute(0, 6, 1, 2, 4, 3, 5)
      .reshape(x.size(0), config.outDim, frames, grid[0] * h, grid[1] * w)
  }
}
