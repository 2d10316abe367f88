#include "kernels.h"

namespace ct::kernels {

at::Tensor attention(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, double scale) {
  return at::scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), {}, 0.0, false, scale)
      .transpose(1, 2);
}

at::Tensor norm_modulate(const at::Tensor &x, const at::Tensor &shift, const at::Tensor &scale, double eps) {
  const auto frames = shift.size(1), width = x.size(-1);
  auto n = at::layer_norm(x.to(at::kFloat), {width}, {}, {}, eps).to(x.scalar_type());
  n = n.unflatten(1, {frames, x.size(1) / frames});
  return (n * (1 + scale.unsqueeze(2)) + shift.unsqueeze(2)).flatten(1, 2).to(x.scalar_type());
}

at::Tensor rms_norm(const at::Tensor &x, const at::Tensor &weight, double eps) {
  const auto f = x.to(at::kFloat);
  return (f * at::rsqrt(f.square().mean(-1, true) + eps)).to(x.scalar_type()) * weight;
}

static at::Tensor rotated(const at::Tensor &x, const at::Tensor &factors) {  // [B, L, H, D], [L, D/2, 2]
  const auto pairs = x.to(at::kFloat).unflatten(-1, {x.size(-1) / 2, 2});
  const auto a = pairs.select(-1, 0), b = pairs.select(-1, 1);
  const auto f = factors.unsqueeze(1);
  const auto c = f.select(-1, 0), s = f.select(-1, 1);
  return at::stack({a * c - b * s, a * s + b * c}, -1).flatten(-2).to(x.scalar_type());
}

at::Tensor rms_norm_rope(const at::Tensor &x, const at::Tensor &weight, const at::Tensor &factors, double eps,
                         int64_t heads, const std::optional<at::Tensor> &destination) {
  const auto width = x.size(-1);
  auto y = rotated(rms_norm(x, weight, eps).unflatten(-1, {heads, width / heads}), factors).flatten(-2);
  if (!destination) return y;
  auto target = *destination;
  target.copy_(y);
  return target;
}

void rotate_(at::Tensor &x, const at::Tensor &factors) { x.copy_(rotated(x, factors)); }

at::Tensor gate_residual(const at::Tensor &x, const at::Tensor &y, const at::Tensor &gate, bool in_place) {
  const auto frames = gate.size(1);
  const auto sum = (y.unflatten(1, {frames, y.size(1) / frames}) * gate.unsqueeze(2)).flatten(1, 2).to(x.scalar_type());
  if (!in_place) return x + sum;
  auto target = x;
  return target.add_(sum);
}

at::Tensor rms_norm_silu(const at::Tensor &x, const at::Tensor &gamma) {
  const auto norm = at::norm(x, 2, {1}, true).clamp_min(1e-12);
  const auto g = gamma.reshape({1, -1, 1, 1, 1});
  return at::silu(x / norm * std::sqrt(static_cast<double>(x.size(1))) * g);
}

}  // namespace ct::kernels
