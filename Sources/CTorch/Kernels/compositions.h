// Every operation of kernels.h, where each is described, as a composition of libtorch's own: for all devices and types, with gradients.
#pragma once

#include "kernels.h"

namespace ctorch::kernels::compositions {

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale);
int64_t attention_workspace(int64_t queries, int64_t keys, int64_t heads, int64_t width, at::ScalarType type);
at::Tensor linear_packed(
    const at::Tensor& x, const at::Tensor& packed, int64_t features, const at::Tensor& bias, Activation activation);
at::Tensor norm_modulate(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale, double eps);
at::Tensor gate_residual(const at::Tensor& x, const at::Tensor& y, const at::Tensor& gate);
void gate_residual_(const at::Tensor& x, const at::Tensor& y, const at::Tensor& gate);
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);
at::Tensor rms_norm_rope(
    const at::Tensor& x, const at::Tensor& weight, const at::Tensor& cos_sin, double eps, int64_t heads,
    const at::Tensor& out);
void rotate_(const at::Tensor& x, const at::Tensor& cos_sin);
at::Tensor rms_norm_silu_channels_last(const at::Tensor& x, const at::Tensor& gamma, bool silu);
at::Tensor rms_norm_silu_after(
    const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& history, int64_t count);
void gelu_tanh_(const at::Tensor& x);

}  // namespace ctorch::kernels::compositions
