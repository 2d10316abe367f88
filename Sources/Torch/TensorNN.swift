import CTorch

// Neural-network operations of libtorch, and the fused kernels of the shim.

extension Tensor {
  /// `x · weightᵀ + bias`; x `[..., in]`, weight `[out, in]`.
  package func linear(_ weight: Tensor, _ bias: Tensor? = nil) -> Tensor {
    Tensor { ct_linear(c, weight.c, bias?.c, $0) }
  }
  /// `x · weightᵀ` times both factors, `+ bias`, in bf16; x `[rows, in]` and weight `[out, in]` in `float8E4M3`, their factors one number
  /// each in fp32, the bias in bf16.
  package func scaledProduct(_ weight: Tensor, factors: (Tensor, Tensor), bias: Tensor?) -> Tensor {
    Tensor { ct_scaled_product(c, weight.c, factors.0.c, factors.1.c, bias?.c, $0) }
  }
  /// In `float8E4M3` under one scale, and the number, in fp32, that undoes the scaling.
  ///
  /// The largest value becomes 448, the largest of the type, but none becomes more than 448 times larger. The product with the scale has
  /// the type of this tensor, as the published code rounds it.
  package func quantizedToFloat8() -> (values: Tensor, factor: Tensor) {
    var values: ct_tensor?
    let factor = Tensor { ct_quantize_float8(c, &values, $0) }
    return (Tensor(owning: values ?? Tensor.emptyPointer()), factor)
  }
  /// x `[B, in, L]`, weight `[out, in / groups, width]`.
  package func conv1d(_ weight: Tensor, _ bias: Tensor?, stride: Int = 1, padding: Int = 0, groups: Int = 1) -> Tensor {
    Tensor { ct_conv1d(c, weight.c, bias?.c, Int64(stride), Int64(padding), Int64(groups), $0) }
  }
  /// x `[B, in, H, W]`; stride and padding are (height, width).
  package func conv2d(_ weight: Tensor, _ bias: Tensor?, stride: [Int] = [1, 1], padding: [Int] = [0, 0]) -> Tensor {
    precondition(stride.count == 2 && padding.count == 2)
    return Tensor { ct_conv2d(c, weight.c, bias?.c, stride, padding, $0) }
  }
  /// x `[B, in, T, H, W]`; stride and padding are (time, height, width).
  package func conv3d(_ weight: Tensor, _ bias: Tensor?, stride: [Int] = [1, 1, 1], padding: [Int] = [0, 0, 0])
    -> Tensor
  {
    precondition(stride.count == 3 && padding.count == 3)
    return Tensor { ct_conv3d(c, weight.c, bias?.c, stride, padding, $0) }
  }
  /// Over the last dimension.
  package func layerNorm(_ weight: Tensor? = nil, _ bias: Tensor? = nil, eps: Double) -> Tensor {
    Tensor { ct_layer_norm(c, size(-1), weight?.c, bias?.c, eps, $0) }
  }
  package func groupNorm(_ groups: Int, _ weight: Tensor?, _ bias: Tensor?, eps: Double) -> Tensor {
    Tensor { ct_group_norm(c, Int64(groups), weight?.c, bias?.c, eps, $0) }
  }
  /// Rows of this table `[N, C]` for `ids` of any shape.
  package func embedding(_ ids: Tensor) -> Tensor { Tensor { ct_embedding(c, ids.c, $0) } }
  package func softmax(_ dim: Int) -> Tensor { Tensor { ct_softmax(c, dim, $0) } }
  /// `softmax(q·kᵀ·scale + mask)·v` with q, k, v `[B, H, L, D]`; a boolean mask is true where to attend, another is added.
  package static func scaledDotProductAttention(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, mask: Tensor? = nil, scale: Double
  )
    -> Tensor
  { Tensor { ct_scaled_dot_product_attention(q.c, k.c, v.c, mask?.c, scale, $0) } }

  /// `[B, C, L]` to another length.
  package func interpolateLinear(_ length: Int, alignCorners: Bool) -> Tensor {
    Tensor { ct_interpolate_linear(c, Int64(length), alignCorners, $0) }
  }
  /// `[B, C, H, W]` to another height and width.
  package func interpolateNearest(_ height: Int, _ width: Int) -> Tensor {
    Tensor { ct_interpolate_nearest(c, Int64(height), Int64(width), $0) }
  }
  /// `[B, C, H, W]` to another height and width; with `antialias` the filter widens when it shrinks.
  package func interpolateBilinear(_ height: Int, _ width: Int, antialias: Bool) -> Tensor {
    Tensor { ct_interpolate_bilinear(c, Int64(height), Int64(width), antialias, $0) }
  }
  /// `g · v / ‖v‖` with the norm over all dimensions but `dim`.
  package static func weightNorm(v: Tensor, g: Tensor, dim: Int) -> Tensor {
    Tensor { ct_weight_norm(v.c, g.c, dim, $0) }
  }
  /// Mean cross entropy of logits `[N, classes]` and class indices `[N]`; index -100 is ignored.
  package func crossEntropy(_ target: Tensor, labelSmoothing: Double = 0) -> Tensor {
    Tensor { ct_cross_entropy(c, target.c, labelSmoothing, $0) }
  }
  package func dropout(_ p: Double) -> Tensor { Tensor { ct_dropout(c, p, $0) } }

  // MARK: Fused, each equal to its plain composition

  /// Attention without a mask; q, k, v and the result `[B, L, H, D]`.
  package static func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, scale: Double) -> Tensor {
    Tensor { ct_attention(q.c, k.c, v.c, scale, $0) }
  }
  /// Bytes that `attention` of one sample takes on the processor beside its operands and its result.
  package static func attentionWorkspace(queries: Int, keys: Int, heads: Int, headDim: Int, _ dtype: DType) -> Int {
    var bytes: Int64 = 0
    check(ct_attention_workspace(Int64(queries), Int64(keys), Int64(heads), Int64(headDim), dtype.rawValue, &bytes))
    return Int(bytes)
  }
  /// `layerNorm(x)·(1 + scale) + shift`; x `[B, F·T, C]`, shift and scale `[B, F, C]`, one row for the T tokens of a frame.
  package func normModulate(shift: Tensor, scale: Tensor, eps: Double) -> Tensor {
    Tensor { ct_norm_modulate(c, shift.c, scale.c, eps, $0) }
  }
  /// `x / rms(x) · weight` over the last dimension, the quotient in fp32.
  package func rmsNorm(_ weight: Tensor, eps: Double) -> Tensor { Tensor { ct_rms_norm(c, weight.c, eps, $0) } }
  /// `rmsNorm`, then the rotation of each head's pairs by `factors` `[L, D/2, 2]` (cosine, sine; fp32).
  ///
  /// x `[B, L, H·D]`. The result is written to `destination`, which may be a strided view, where one is given.
  @discardableResult
  package func rmsNormRope(
    _ weight: Tensor, _ factors: Tensor, heads: Int, eps: Double, into destination: Tensor? = nil
  )
    -> Tensor
  { Tensor { ct_rms_norm_rope(c, weight.c, factors.c, eps, Int64(heads), destination?.c, $0) } }
  /// Rotates the pairs of x `[B, L, H, D]` in place by `factors` `[L, D/2, 2]`.
  package func rotate_(_ factors: Tensor) { check(ct_rotate_(c, factors.c)) }
  /// `x + y·gate`; x and y `[B, F·T, C]`, gate `[B, F, C]`. With `inPlace` the sum replaces x.
  package func gateResidual(_ y: Tensor, _ gate: Tensor, inPlace: Bool) -> Tensor {
    Tensor { ct_gate_residual(c, y.c, gate.c, inPlace, $0) }
  }
  /// Whether `linearPacked` is faster on this processor than `linear` in bf16.
  package static var prefersPackedLinear: Bool { ct_prefers_packed_linear() }
  /// This bf16 weight `[out, in]`, in even, in the order that `linearPacked` reads.
  package func packedForLinear() -> Tensor { Tensor { ct_pack_linear(c, $0) } }
  /// `x · weightᵀ + bias`, then GELU in its tanh form if asked; x `[..., in]` in bf16 and a packed weight of `outputs` rows.
  package func linearPacked(_ packed: Tensor, outputs: Int, _ bias: Tensor?, geluTanh: Bool = false) -> Tensor {
    Tensor { ct_linear_packed(c, packed.c, Int64(outputs), bias?.c, geluTanh, $0) }
  }
  /// GELU in its tanh form; without gradients x itself is changed.
  package func geluTanhInPlace() -> Tensor {
    guard !gradientsEnabled else { return gelu(tanhForm: true) }
    check(ct_gelu_tanh_(c))
    return self
  }
  /// `silu(x / max(‖x‖, 1e-12) · √C · gamma)`, the norm over the channels of x `[B, C, T, H, W]`.
  package func rmsNormSilu(_ gamma: Tensor) -> Tensor { Tensor { ct_rms_norm_silu(c, gamma.c, $0) } }
  /// `rmsNormSilu` behind the `count` frames before this, `history`, which are normalised already; zeros where there is none.
  ///
  /// Returns `[B, C, count + T, H, W]`, what a causal convolution takes.
  package func rmsNormSilu(_ gamma: Tensor, after history: Tensor?, count: Int) -> Tensor {
    Tensor { ct_rms_norm_silu_after(c, gamma.c, history?.c, Int64(count), $0) }
  }
}
