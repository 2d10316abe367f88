import NN
import Torch

// B batch, F latent frames, T tokens of a frame, L = F·T tokens, H heads, D head width, C = H·D.

/// What self-attention sees.
struct SelfAttentionContext {
  /// The rotary factors of the call's tokens, `[L, D/2, 2]`.
  var factors: Tensor
  /// Keys and values of earlier blocks, of which the call's tokens are the next; nil where they see each other only.
  var memory: (any AttentionMemory)?
  /// The latent frames of the call.
  var block = 0..<0
  /// True where a token may see another, `[L, L]`; nil for all. Without a memory only.
  var mask: Tensor?
  /// Whether activation checkpointing computes the pass again.
  var isRecomputed = false
  /// Where the ranks share out the layers' weights.
  var sharded: ShardedLayers?
}

/// Query, key, value and output projections with normalised queries and keys.
struct WanAttention: Sendable {
  let q, k, v, o: Linear
  /// Queries, keys and values of the same tokens by one product.
  let qkv: Linear?
  let normQ, normK: RMSNorm
  let heads: Int
  let scale: Double

  init(dim: Int, heads: Int, eps: Double, joinsProjections: Bool, _ path: ParameterPath) {
    let separate = ["q", "k", "v"].map { Linear(dim, dim, path / $0) }
    let joined = joinsProjections ? Linear.joined(separate) : nil
    let parts = joined?.parts ?? separate
    (q, k, v) = (parts[0], parts[1], parts[2])
    qkv = joined?.whole
    o = Linear(dim, dim, path / "o")
    normQ = RMSNorm(dim, eps: eps, path / "norm_q")
    normK = RMSNorm(dim, eps: eps, path / "norm_k")
    self.heads = heads
    scale = 1 / Double(dim / heads).squareRoot()
  }

  private init(q: Linear, k: Linear, v: Linear, o: Linear, normQ: RMSNorm, normK: RMSNorm, heads: Int, scale: Double) {
    (self.q, self.k, self.v, self.o, qkv) = (q, k, v, o, nil)
    (self.normQ, self.normK, self.heads, self.scale) = (normQ, normK, heads, scale)
  }

  /// See `Linear`.
  ///
  /// - Precondition: its projections are not joined.
  func mapped(_ change: (Tensor) -> Tensor) -> WanAttention {
    precondition(qkv == nil, "joined projections have one weight")
    return WanAttention(
      q: q.mapped(change), k: k.mapped(change), v: v.mapped(change), o: o.mapped(change), normQ: normQ.mapped(change),
      normK: normK.mapped(change), heads: heads, scale: scale)
  }

  private func split(_ x: Tensor) -> Tensor { x.unflatten(-1, heads, -1) }  // [B, L, H, D]

  /// Queries, keys and values of x, each `[B, L, C]`.
  private func project(_ x: Tensor) -> (queries: Tensor, keys: Tensor, values: Tensor) {
    guard let parts = qkv?(x).chunks(3, -1) else { return (q(x), k(x), v(x)) }
    return (parts[0], parts[1], parts[2])
  }

  /// Self-attention of x `[B, L, C]`.
  func selfAttention(_ x: Tensor, _ context: SelfAttentionContext, layer: Int, tap: WanTap? = nil) -> Tensor {
    let (newQueries, projectedKeys, flatValues) = project(x)
    if let tap {
      tap("block\(layer).q", normQ(newQueries))
      tap("block\(layer).k", normK(projectedKeys))
      tap("block\(layer).v", flatValues)
    }
    let queries = split(newQueries.rmsNormRope(normQ.weight, context.factors, heads: heads, eps: normQ.eps))
    let newKeys = ProjectedKeys(projected: projectedKeys, norm: normK, heads: heads, factors: context.factors)
    let newValues = split(flatValues)
    let (keys, values) =
      context.memory?.exchange(
        newKeys, newValues, of: context.block, layer: layer, isRecomputed: context.isRecomputed)
      ?? (newKeys.rotated(), newValues)
    let attended =
      context.mask.map {
        Tensor.scaledDotProductAttention(
          queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), mask: $0, scale: scale
        ).transpose(1, 2)
      } ?? Tensor.attention(queries, keys, values, scale: scale)
    tap?("block\(layer).attention", attended.flatten(2))
    return o(attended.flatten(2))
  }

  /// Every tensor that may take part in a gradient.
  var tensors: [Tensor] { [q, k, v, o].flatMap(\.tensors) + [normQ.weight, normK.weight] }

  /// The keys and values `[B, L, H, D]` of embedded text `[B, L, C]`: they do not change during a session.
  func crossKeysAndValues(_ text: Tensor) -> (keys: Tensor, values: Tensor) {
    (split(normK(k(text))), split(v(text)))
  }

  /// Attention of x `[B, L, C]` to the text's keys and values.
  func crossAttention(_ x: Tensor, _ text: (keys: Tensor, values: Tensor)) -> Tensor {
    o(Tensor.attention(split(normQ(q(x))), text.keys, text.values, scale: scale).flatten(2))
  }
}

/// The six modulation tensors of a layer, each `[B, F or 1, C]`.
struct LayerModulation: Sendable {
  let attentionShift, attentionScale, attentionGate: Tensor
  let ffnShift, ffnScale, ffnGate: Tensor

  /// - Parameter parts: `[6, B, F, C]`.
  init(_ parts: Tensor) {
    attentionShift = parts.select(0, 0)
    attentionScale = parts.select(0, 1)
    attentionGate = parts.select(0, 2)
    ffnShift = parts.select(0, 3)
    ffnScale = parts.select(0, 4)
    ffnGate = parts.select(0, 5)
  }

  init(_ tensors: [Tensor]) {
    (attentionShift, attentionScale, attentionGate) = (tensors[0], tensors[1], tensors[2])
    (ffnShift, ffnScale, ffnGate) = (tensors[3], tensors[4], tensors[5])
  }

  var tensors: [Tensor] { [attentionShift, attentionScale, attentionGate, ffnShift, ffnScale, ffnGate] }
}

/// One layer: modulated self-attention, cross-attention to the text without a gate, modulated feed-forward.
struct WanTransformerLayer: Sendable {
  let modulation: Tensor  // [1, 6, C]
  let selfAttention, crossAttention: WanAttention
  let norm3: LayerNorm
  let ffnIn, ffnOut: Linear
  let eps: Double

  init(dim: Int, heads: Int, ffnDim: Int, eps: Double, _ path: ParameterPath) {
    modulation = path.parameter("modulation", [1, 6, dim], .normal(deviation: 1 / Double(dim).squareRoot()))
    let joins = path.store.mayRearrange
    selfAttention = WanAttention(dim: dim, heads: heads, eps: eps, joinsProjections: joins, path / "self_attn")
    crossAttention = WanAttention(dim: dim, heads: heads, eps: eps, joinsProjections: false, path / "cross_attn")
    norm3 = LayerNorm(dim, eps: eps, path / "norm3")
    ffnIn = Linear(dim, ffnDim, path / "ffn" / 0)
    ffnOut = Linear(ffnDim, dim, path / "ffn" / 2)
    self.eps = eps
  }

  private init(
    modulation: Tensor, selfAttention: WanAttention, crossAttention: WanAttention, norm3: LayerNorm, ffnIn: Linear,
    ffnOut: Linear, eps: Double
  ) {
    (self.modulation, self.selfAttention, self.crossAttention) = (modulation, selfAttention, crossAttention)
    (self.norm3, self.ffnIn, self.ffnOut, self.eps) = (norm3, ffnIn, ffnOut, eps)
  }

  /// The layer with other weights in place of those that a pass reads, which `change` is given in an order that never changes.
  ///
  /// Its modulation, which is read with the timesteps, stays.
  func mapped(_ change: (Tensor) -> Tensor) -> WanTransformerLayer {
    WanTransformerLayer(
      modulation: modulation, selfAttention: selfAttention.mapped(change),
      crossAttention: crossAttention.mapped(change), norm3: norm3.mapped(change), ffnIn: ffnIn.mapped(change),
      ffnOut: ffnOut.mapped(change), eps: eps)
  }

  /// Every tensor that may take part in a gradient of a pass.
  var tensors: [Tensor] {
    selfAttention.tensors + crossAttention.tensors + [norm3.weight, norm3.bias] + ffnIn.tensors + ffnOut.tensors
  }

  /// x `[B, L, C]` → `[B, L, C]`; without gradients x itself is changed, unless it is to be kept.
  func callAsFunction(
    _ x: Tensor, index: Int, modulation m: LayerModulation, text: (keys: Tensor, values: Tensor),
    context: SelfAttentionContext, keepsInput: Bool = false, tap: WanTap?
  ) -> Tensor {
    context.sharded?.gather(index)
    let inPlace = !gradientsEnabled
    let attended = selfAttention.selfAttention(
      x.normModulate(shift: m.attentionShift, scale: m.attentionScale, eps: eps), context, layer: index, tap: tap)
    tap?("block\(index).self_attn", attended)
    var x = x.gateResidual(attended, m.attentionGate, inPlace: inPlace && !keepsInput)
    let read = crossAttention.crossAttention(norm3(x), text)
    tap?("block\(index).cross_attn", read)
    if inPlace { x.add_(read) } else { x = x + read }
    let hidden = ffnIn.geluTanh(x.normModulate(shift: m.ffnShift, scale: m.ffnScale, eps: eps))
    let fed = ffnOut(hidden)
    tap?("block\(index).ffn", fed)
    return x.gateResidual(fed, m.ffnGate, inPlace: inPlace)
  }

  /// As the pass itself, but keeps only its inputs for the gradient and runs again where that is asked for.
  func checkpointed(
    _ x: Tensor, index: Int, modulation: LayerModulation, text: (keys: Tensor, values: Tensor),
    context: SelfAttentionContext, tap: WanTap?
  ) -> Tensor {
    let tensors = [x] + modulation.tensors + [text.keys, text.values] + tensors
    return Tensor.checkpointed(tensors) { inputs in
      var context = context
      context.isRecomputed = gradientsEnabled
      return self(
        inputs[0], index: index, modulation: LayerModulation(Array(inputs[1..<7])), text: (inputs[7], inputs[8]),
        context: context, keepsInput: true, tap: gradientsEnabled ? nil : tap)
    }
  }
}
