import NN
package import Torch

// B batch, F latent frames, H and W latent pixels, h and w tokens along a side, T = h·w tokens of a frame, L tokens, C width.

/// What the Wan transformers have in common: patches, text, timesteps, layers and head. A family adds how picture and sound come in.
struct WanTrunk: Sendable {
  let config: WanTrunkConfiguration
  /// Where the layers lie. What stands before them is with the first of them, the head with the last.
  let devices: LayerDevices
  let patchEmbedding: PatchEmbedding
  let textIn, textOut: Linear
  let timeIn, timeOut, timeProjection: Linear
  /// Their weights are on the host where they are offloaded: a pass asks `layer(at:)` for one.
  let layers: [WanTransformerLayer]
  private let offloaded: OffloadedLayers?
  let headModulation: Tensor  // [1, 2, C]
  let head: Linear
  /// Gathers a layer's weights where the ranks share them out; nil where each has all.
  var sharded: ShardedLayers?

  /// - Parameter timeDType: of the layers that read timesteps; nil for that of all others.
  init(_ config: WanTrunkConfiguration, timeDType: DType? = nil, _ path: ParameterPath) {
    self.config = config
    let dim = config.dim
    patchEmbedding = PatchEmbedding(config.inDim, dim, patch: config.patchSize, path / "patch_embedding")
    textIn = Linear(config.textDim, dim, path / "text_embedding" / 0)
    textOut = Linear(dim, dim, path / "text_embedding" / 2)
    timeIn = Linear(config.freqDim, dim, dtype: timeDType, path / "time_embedding" / 0)
    timeOut = Linear(dim, dim, dtype: timeDType, path / "time_embedding" / 2)
    timeProjection = Linear(dim, dim * 6, dtype: timeDType, path / "time_projection" / 1)
    devices = path.store.layerDevices ?? LayerDevices(layers: config.numLayers, on: path.store.device)
    precondition(devices.table.count == config.numLayers, "each layer has a device")
    let offloads = path.store.offloadsLayers
    layers = (0..<config.numLayers).map {
      let layer = WanTransformerLayer(
        dim: dim, heads: config.numHeads, ffnDim: config.ffnDim, eps: config.eps,
        path.beside(layer: $0) / "blocks" / $0)
      // One by one: the device need not hold two of them.
      return offloads ? layer.mapped(OffloadedLayers.onHost) : layer
    }
    offloaded = offloads ? OffloadedLayers(layers, device: path.store.device) : nil
    let end = path.besideLastLayer / "head"
    headModulation = end.parameter("modulation", [1, 2, dim], .normal(deviation: 1 / Double(dim).squareRoot()))
    head = Linear(dim, config.outDim * config.patchSize.reduce(1, *), end / "head")
  }

  /// The type of the weights, in which a pass is computed.
  var dtype: DType { textIn.dtype }
  var device: Device { textIn.device }

  func read(text: Tensor) -> WanTextContext {
    let embedded = textOut(textIn.geluTanh(text))
    return WanTextContext(
      embedded: embedded,
      layers: devices.groups.flatMap { group in
        let words = embedded.to(group.device)
        return group.layers.map { index in
          sharded?.gather(index)
          return layer(at: index).crossAttention.crossKeysAndValues(words)
        }
      })
  }

  func read(timesteps: Tensor) -> WanTimestepContext {
    let (batch, frames) = (timesteps.size(0), timesteps.size(1))
    let sinusoid = sinusoidalEmbedding(timesteps.flatten(), width: config.freqDim).to(timeIn.dtype)
    let embedding = timeOut(timeIn(sinusoid).silu())  // [N, C]
    let projection = timeProjection(embedding.silu())  // [N, 6C]
    let perFrame = projection.reshape(batch, frames, 6, config.dim).permute(2, 0, 1, 3)
    let modulations = devices.groups.flatMap { group in
      // All layers of a device at once: [layers, 6, 1, 1, C] + [6, B, F, C].
      let tables = Tensor.stack(layers[group.layers].map { $0.modulation.squeeze(0) }, 0).unsqueeze(2).unsqueeze(2)
      let all = (tables + perFrame.to(group.device)).to(dtype)
      return (0..<group.layers.count).map { LayerModulation(all.select(0, $0)) }
    }
    let shared = embedding.reshape(batch, frames, config.dim).to(devices.last)
    return WanTimestepContext(
      embedding: embedding, projection: projection, layers: modulations,
      headShift: (headModulation.narrow(1, 0, 1) + shared).to(dtype),
      headScale: (headModulation.narrow(1, 1, 1) + shared).to(dtype))
  }

  /// A layer whose weights are on the device until another is asked for.
  private func layer(at index: Int) -> WanTransformerLayer { offloaded?.layer(index) ?? layers[index] }

  /// One layer over tokens `[B, L, C]`, checkpointed where the pass has gradients and asks for it.
  ///
  /// Tokens and context are handed over where the layer is on another device than the one before it.
  func layer(
    _ index: Int, _ x: Tensor, timestep: WanTimestepContext, text: WanTextContext,
    context: inout SelfAttentionContext, checkpoints: Bool, tap: WanTap?
  ) -> Tensor {
    let (layer, modulation, words) = (layer(at: index), timestep.layers[index], text.layers[index])
    let x = x.to(devices[index])
    context.factors = context.factors.to(devices[index])
    context.sharded = sharded
    return gradientsEnabled && checkpoints
      ? layer.checkpointed(x, index: index, modulation: modulation, text: words, context: context, tap: tap)
      : layer(x, index: index, modulation: modulation, text: words, context: context, tap: tap)
  }

  /// Tokens `[B, F·T, C]` to a flow `[B, out, F, H, W]`, on the device of the first layers.
  func flow(_ x: Tensor, timestep: WanTimestepContext, frames: Int, grid: [Int], tap: WanTap?) -> Tensor {
    let out = head(x.normModulate(shift: timestep.headShift, scale: timestep.headScale, eps: config.eps))
    tap?("head", out)
    // The head gives [pt·ph·pw·out] for a token, channels fastest.
    let (h, w) = (config.patchSize[1], config.patchSize[2])
    return out.reshape(out.size(0), frames, grid[0], grid[1], h, w, config.outDim).permute(0, 6, 1, 2, 4, 3, 5)
      .reshape(out.size(0), config.outDim, frames, grid[0] * h, grid[1] * w).to(device)
  }

  /// Height and width in tokens of latents `[B, C, F, H, W]`.
  func grid(of latents: Tensor) -> [Int] {
    [latents.size(3) / config.patchSize[1], latents.size(4) / config.patchSize[2]]
  }

  func memoryShape(for latents: Tensor) -> MemoryShape {
    MemoryShape(
      devices: devices.table, heads: config.numHeads, headDim: config.headDim,
      tokensPerFrame: grid(of: latents).reduce(1, *), batch: latents.size(0), dtype: latents.dtype)
  }
}

/// Is told intermediate results by the reference's names; for parity.
package typealias WanTap = (String, Tensor) -> Void

/// Text read once per session: the keys and values of every layer's cross-attention.
package struct WanTextContext: Sendable {
  package let embedded: Tensor  // [B, L, C]
  let layers: [(keys: Tensor, values: Tensor)]

  /// The keys and values of a layer, `[B, L, C]`; for inspection.
  package func keysAndValues(layer: Int) -> (keys: Tensor, values: Tensor) {
    (layers[layer].keys.flatten(2), layers[layer].values.flatten(2))
  }
}

/// What a timestep means to every layer; computed once per step of a schedule.
package struct WanTimestepContext: Sendable {
  package let embedding: Tensor  // [N, C]
  package let projection: Tensor  // [N, 6·C]
  let layers: [LayerModulation]
  let headShift, headScale: Tensor  // [B, F or 1, C]

  /// What the head needs of the first so many timesteps of each sample; layers have passed.
  func first(_ count: Int) -> WanTimestepContext {
    WanTimestepContext(
      embedding: embedding, projection: projection, layers: [], headShift: headShift.narrow(1, 0, count),
      headScale: headScale.narrow(1, 0, count))
  }
}

/// A convolution whose stride is its kernel: latents `[B, in, F, H, W]` to one token of width C for each patch. What fills no whole
/// patch at an end is left out.
struct PatchEmbedding: Sendable {
  let weight: Tensor  // [C, in, t, h, w]
  let bias: Tensor  // [C]
  private let patch: [Int]

  init(_ inputs: Int, _ width: Int, patch: [Int], _ path: ParameterPath) {
    let fanIn = inputs * patch.reduce(1, *)
    weight = path.parameter("weight", [width, inputs] + patch, .uniform(fanIn: fanIn))
    bias = path.parameter("bias", [width], .uniform(fanIn: fanIn))
    self.patch = patch
  }

  /// Tokens `[B, F/t · H/h · W/w, C]`: one matrix product.
  func callAsFunction(_ x: Tensor) -> Tensor {
    let (t, h, w) = (patch[0], patch[1], patch[2])
    let (b, c) = (x.size(0), x.size(1))
    let (frames, rows, columns) = (x.size(2) / t, x.size(3) / h, x.size(4) / w)
    let whole = x.narrow(2, 0, frames * t).narrow(3, 0, rows * h).narrow(4, 0, columns * w)
    let patches = whole.reshape(b, c, frames, t, rows, h, columns, w).permute(0, 2, 4, 6, 1, 3, 5, 7)
    return patches.reshape(b, frames * rows * columns, c * t * h * w).linear(weight.flatten(1), bias)
  }
}
