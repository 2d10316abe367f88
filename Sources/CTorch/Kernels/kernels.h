// The fused operations, as the C ABI calls them: each is one pass over its data where libtorch's own operations take
// several.
//
// An operation runs the kernel of its tensors' device, if that device has one that takes these arguments and no gradient
// has to flow through it; otherwise the composition of libtorch's operations in compositions.cpp. The two agree to fp32
// rounding for fp32 input; for bf16 input a kernel computes in fp32 and rounds once at the end where the composition rounds
// after each operation.
//
// Letters: B batch, L tokens, F latent frames (F divides L; a frame is L/F consecutive tokens), H heads, D head width,
// C channels (C = H·D in attention).
#pragma once

#include <ATen/core/Tensor.h>

namespace ctorch::kernels {

/// True where the processor has kernels (AVX-512 with BF16) and nobody has switched the kernels off.
bool fused_kernels();

/// Switches the kernels of all devices on or off for the whole process. For tests and benchmarks.
void set_fused_kernels(bool on);

// MARK: Attention

/// softmax(scale · q kᵀ) v over all keys, no mask; softmax in fp32. q [B, Lq, H, D], k and v [B, Lk, H, D], any strides
/// with D innermost and contiguous; returns [B, Lq, H, D] contiguous. The CPU's kernel takes bf16 with D a multiple of 16
/// up to 128.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale);

/// Bytes that `attention` of one sample takes on the CPU beside its operands and its result.
int64_t attention_workspace(int64_t queries, int64_t keys, int64_t heads, int64_t width, at::ScalarType type);

// MARK: Linear layers with packed weights

/// What is done to a linear layer's output before it is rounded.
enum class Activation { none, gelu_tanh };

/// Output features of one panel of a packed weight.
inline constexpr int64_t panel_columns = 64;

/// True where `linear_packed` is the faster way: AVX-512 BF16 without AMX, which libtorch's own product uses.
bool prefers_packed_linear();

/// A bf16 weight [N, K] (K even) in the order `linear_packed` reads it: [⌈N/64⌉, K/2, 64, 2], missing columns zero. Made once;
/// the original need not be kept. Throws c10::Error for another type or an odd K.
at::Tensor pack_linear_weight(const at::Tensor& weight);

/// activation(x Wᵀ + bias) for bf16 x [..., K], `packed` from `pack_linear_weight` and `features` = N; bias [N] (bf16 or fp32)
/// or undefined. Returns [..., N]. Sums in fp32 and rounds once. Works on every processor, but is fast only where
/// `prefers_packed_linear`.
at::Tensor linear_packed(
    const at::Tensor& x, const at::Tensor& packed, int64_t features, const at::Tensor& bias, Activation activation);

// MARK: Norms, modulation and gates of the transformer

/// LayerNorm without weights over C, then · (1 + scale) + shift. x [B, L, C] contiguous; shift, scale [B or 1, F, C],
/// bf16 or fp32, innermost dimension contiguous. Returns x's type and shape.
at::Tensor norm_modulate(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale, double eps);

/// x + y · gate. x, y [B, L, C] contiguous, gate [B or 1, F, C].
at::Tensor gate_residual(const at::Tensor& x, const at::Tensor& y, const at::Tensor& gate);

/// x += y · gate, in place.
void gate_residual_(const at::Tensor& x, const at::Tensor& y, const at::Tensor& gate);

// MARK: Query and key norms and rotary positions

/// x · rsqrt(mean(x²) + eps) over C in fp32, then · weight [C]. x [..., C].
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

/// `rms_norm`, then each head's pairs (2i, 2i+1) turned by cos_sin, fp32 [L, D/2, 2] (cosine, sine), shared by heads
/// and batch. x [B, L, H·D]. With `out` ([B, L, H·D], x's type, any batch and row strides, for example rows of a key
/// cache) the result is written there and `out` is returned; otherwise a new tensor is.
at::Tensor rms_norm_rope(
    const at::Tensor& x, const at::Tensor& weight, const at::Tensor& cos_sin, double eps, int64_t heads,
    const at::Tensor& out);

/// Turns the pairs of x [B, L, H, D] by cos_sin, fp32 [L, D/2, 2], in place. x may be a view of a cache.
void rotate_(const at::Tensor& x, const at::Tensor& cos_sin);

// MARK: Decoder and activations

/// x / max(‖x‖₂, 1e-12) · √C · gamma over channels, then SiLU if `silu`. x [B, C, T, H, W] (or [B, C, H, W]); the CPU's
/// kernel takes channels-last. gamma has C elements. The result keeps x's memory format.
at::Tensor rms_norm_silu_channels_last(const at::Tensor& x, const at::Tensor& gamma, bool silu = true);

/// `rms_norm_silu_channels_last` of x [B, C, T, H, W] behind the `count` frames before it, `history`, which are normalised
/// already; zeros where it is undefined. Returns [B, C, count + T, H, W], what a causal convolution takes.
at::Tensor rms_norm_silu_after(
    const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& history, int64_t count);

/// GELU in its tanh form, in place.
void gelu_tanh_(const at::Tensor& x);

}  // namespace ctorch::kernels
