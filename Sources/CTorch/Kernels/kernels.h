// Fused kernels over ATen tensors, each with the plain composition as its fall-back.
#pragma once
#include <ATen/ATen.h>

namespace ct::kernels {
at::Tensor attention(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, double scale);
at::Tensor norm_modulate(const at::Tensor &x, const at::Tensor &shift, const at::Tensor &scale, double eps);
at::Tensor rms_norm(const at::Tensor &x, const at::Tensor &weight, double eps);
at::Tensor rms_norm_rope(const at::Tensor &x, const at::Tensor &weight, const at::Tensor &factors, double eps,
                         int64_t heads, const std::optional<at::Tensor> &destination);
void rotate_(at::Tensor &x, const at::Tensor &factors);
at::Tensor gate_residual(const at::Tensor &x, const at::Tensor &y, const at::Tensor &gate, bool in_place);
at::Tensor rms_norm_silu(const at::Tensor &x, const at::Tensor &gamma);
}  // namespace ct::kernels
