#include "compositions.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace ctorch::kernels {

at::Tensor pack_linear_weight(const at::Tensor& weight) {
  TORCH_CHECK(
      weight.dim() == 2 && weight.scalar_type() == at::kBFloat16 && weight.size(1) % 2 == 0,
      "only a bf16 weight [N, K] with an even K can be packed");
  const int64_t features = weight.size(0), pairs = weight.size(1) / 2;
  const int64_t panels = (features + panel_columns - 1) / panel_columns;
  const at::Tensor padded = at::constant_pad_nd(weight, {0, 0, 0, panels * panel_columns - features});
  return padded.reshape({panels, panel_columns, pairs, 2}).permute({0, 2, 1, 3}).contiguous();
}

}  // namespace ctorch::kernels

namespace ctorch::kernels::compositions {

namespace {

/// The type that norms and rotations are computed in: fp32, or fp64 for what is fp64 itself.
at::ScalarType wide_type(const at::Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

/// x as [B, F, T, C], to broadcast a modulation [B or 1, F, C] over T.
at::Tensor by_frame(const at::Tensor& x, const at::Tensor& modulation) {
  const int64_t frames = modulation.size(-2), channels = x.size(-1);
  const int64_t batch = x.dim() > 2 ? x.size(0) : 1;
  return x.reshape({batch, frames, -1, channels});
}

at::Tensor over_tokens(const at::Tensor& modulation) {
  return modulation.reshape({-1, modulation.size(-2), 1, modulation.size(-1)});
}

/// x [B, L, H, D] with each pair (a, b) turned into (a·cos − b·sin, b·cos + a·sin), in the wide type, in x's type.
at::Tensor turned(const at::Tensor& x, const at::Tensor& cos_sin) {
  const int64_t tokens = x.size(1), pairs = x.size(3) / 2;
  const at::Tensor pair = x.to(wide_type(x)).reshape({x.size(0), tokens, x.size(2), pairs, 2});
  const at::Tensor angle = cos_sin.reshape({1, tokens, 1, pairs, 2});
  const at::Tensor a = pair.select(-1, 0), b = pair.select(-1, 1);
  const at::Tensor cosine = angle.select(-1, 0), sine = angle.select(-1, 1);
  return at::stack({a * cosine - b * sine, b * cosine + a * sine}, -1).reshape(x.sizes()).to(x.scalar_type());
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  return at::scaled_dot_product_attention(
             q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), {}, 0.0, false, scale)
      .transpose(1, 2)
      .contiguous();
}

int64_t attention_workspace(int64_t queries, int64_t keys, int64_t heads, int64_t width, at::ScalarType type) {
  // Of libtorch's FlashAttentionKernel.cpp, which walks over the keys in tiles of 512: in each thread a tile of scores, a maximum and a sum
  // for each query, what is summed; narrower types have the weights in their own type too. Beside these the logarithm of each sum.
  const int64_t rows = std::min<int64_t>(queries, queries >= 768 ? 256 : queries >= 192 ? 64 : 32);
  const int64_t columns = std::min<int64_t>(keys, 512);
  const int64_t wide = type == at::kDouble ? 8 : 4, narrow = type == at::kBFloat16 || type == at::kHalf ? 2 : 0;
  return at::get_num_threads() * rows * (wide * (columns + 2 + width) + narrow * columns) + wide * queries * heads;
}

at::Tensor linear_packed(
    const at::Tensor& x, const at::Tensor& packed, int64_t features, const at::Tensor& bias, Activation activation) {
  const at::Tensor weight = packed.permute({0, 2, 1, 3}).reshape({-1, packed.size(1) * 2}).narrow(0, 0, features);
  const at::Tensor out = at::linear(x, weight, bias.defined() ? bias.to(x.scalar_type()) : bias);
  return activation == Activation::gelu_tanh ? at::gelu(out, "tanh") : out;
}

at::Tensor norm_modulate(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale, double eps) {
  const at::Tensor normal = at::layer_norm(x.to(wide_type(x)), {x.size(-1)}, {}, {}, eps).to(x.scalar_type());
  const at::Tensor modulated = by_frame(normal, shift) * (1 + over_tokens(scale)) + over_tokens(shift);
  return modulated.reshape(x.sizes()).to(x.scalar_type());
}

at::Tensor gate_residual(const at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) {
  return (x + (by_frame(y, gate) * over_tokens(gate)).reshape(x.sizes())).to(x.scalar_type());
}

void gate_residual_(const at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) {
  x.copy_(gate_residual(x, y, gate));
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(wide_type(x));
  const at::Tensor normal = wide * at::rsqrt(wide.square().mean(-1, true) + eps);
  return (normal.to(x.scalar_type()) * weight).to(x.scalar_type());
}

at::Tensor rms_norm_rope(
    const at::Tensor& x, const at::Tensor& weight, const at::Tensor& cos_sin, double eps, int64_t heads,
    const at::Tensor& out) {
  const at::Tensor normal = rms_norm(x, weight, eps);
  const at::Tensor result =
      turned(normal.reshape({x.size(0), x.size(1), heads, x.size(2) / heads}), cos_sin).reshape(x.sizes());
  if (!out.defined()) return result;
  out.copy_(result);
  return out;
}

void rotate_(const at::Tensor& x, const at::Tensor& cos_sin) { x.copy_(turned(x, cos_sin)); }

at::Tensor rms_norm_silu_channels_last(const at::Tensor& x, const at::Tensor& gamma, bool silu) {
  std::vector<int64_t> shape(x.dim(), 1);
  shape[1] = x.size(1);
  const at::Tensor length = at::linalg_vector_norm(x, 2, at::IntArrayRef{1}, true).clamp_min(1e-12);
  const at::Tensor normal = x / length * std::sqrt(static_cast<double>(x.size(1))) * gamma.reshape(shape);
  return (silu ? at::silu(normal) : normal).to(x.scalar_type());
}

at::Tensor rms_norm_silu_after(
    const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& history, int64_t count) {
  // By way of the dispatch: the norm alone may still have a kernel.
  const at::Tensor normal = kernels::rms_norm_silu_channels_last(x, gamma);
  return history.defined() ? at::cat({history, normal}, 2) : at::constant_pad_nd(normal, {0, 0, 0, 0, count, 0}, 0);
}

void gelu_tanh_(const at::Tensor& x) { x.copy_(at::gelu(x, "tanh")); }

}  // namespace ctorch::kernels::compositions
