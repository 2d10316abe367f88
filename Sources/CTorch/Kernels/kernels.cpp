// The dispatch: a kernel of the tensors' device where there is one for them, else the composition.
#include "kernels.h"

#include <c10/core/GradMode.h>

#include <atomic>
#include <type_traits>

#include "compositions.h"
#include "table.h"

namespace ctorch::kernels {

namespace {

std::atomic<bool> enabled{true};

const KernelTable& table(at::DeviceType device) {
  static const KernelTable none;
  if (!enabled.load(std::memory_order_relaxed)) return none;
  switch (device) {
    case at::kCPU: return cpu::table();
    case at::kCUDA: return cuda::table();
    default: return none;
  }
}

bool requires_gradient(const at::Tensor& tensor) { return tensor.defined() && tensor.requires_grad(); }
template <class Number>
bool requires_gradient(Number) {
  return false;
}

/// True when autograd would have to see this call: the kernels have no derivative.
template <class... Arguments>
bool needs_gradient(const Arguments&... arguments) {
  return c10::GradMode::is_enabled() && (requires_gradient(arguments) || ...);
}

/// The device of an operation's first argument.
template <class... Rest>
at::DeviceType device_of(const at::Tensor& first, const Rest&...) {
  return first.device().type();
}

template <class Result, class... Arguments>
Result dispatch(
    Kernel<Result(Arguments...)> KernelTable::*operation, Result (*composition)(Arguments...),
    std::type_identity_t<Arguments>... arguments) {
  const auto& kernel = table(device_of(arguments...)).*operation;
  const bool fused = kernel.run && !needs_gradient(arguments...) && kernel.takes(arguments...);
  return fused ? kernel.run(arguments...) : composition(arguments...);
}

}  // namespace

bool fused_kernels() { return table(at::kCPU).attention.run != nullptr; }

void set_fused_kernels(bool on) { enabled = on; }

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  return dispatch(&KernelTable::attention, compositions::attention, q, k, v, scale);
}

int64_t attention_workspace(int64_t queries, int64_t keys, int64_t heads, int64_t width, at::ScalarType type) {
  const auto own = table(at::kCPU).attention_workspace;
  const int64_t bytes = own ? own(queries, keys, heads, width, type) : 0;
  return bytes > 0 ? bytes : compositions::attention_workspace(queries, keys, heads, width, type);
}

at::Tensor linear_packed(
    const at::Tensor& x, const at::Tensor& packed, int64_t features, const at::Tensor& bias, Activation activation) {
  return dispatch(&KernelTable::linear_packed, compositions::linear_packed, x, packed, features, bias, activation);
}

at::Tensor norm_modulate(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale, double eps) {
  return dispatch(&KernelTable::norm_modulate, compositions::norm_modulate, x, shift, scale, eps);
}

at::Tensor gate_residual(const at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) {
  return dispatch(&KernelTable::gate_residual, compositions::gate_residual, x, y, gate);
}

void gate_residual_(const at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) {
  return dispatch(&KernelTable::gate_residual_, compositions::gate_residual_, x, y, gate);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return dispatch(&KernelTable::rms_norm, compositions::rms_norm, x, weight, eps);
}

at::Tensor rms_norm_rope(
    const at::Tensor& x, const at::Tensor& weight, const at::Tensor& cos_sin, double eps, int64_t heads,
    const at::Tensor& out) {
  return dispatch(&KernelTable::rms_norm_rope, compositions::rms_norm_rope, x, weight, cos_sin, eps, heads, out);
}

void rotate_(const at::Tensor& x, const at::Tensor& cos_sin) {
  return dispatch(&KernelTable::rotate_, compositions::rotate_, x, cos_sin);
}

at::Tensor rms_norm_silu_channels_last(const at::Tensor& x, const at::Tensor& gamma, bool silu) {
  return dispatch(&KernelTable::rms_norm_silu_channels_last, compositions::rms_norm_silu_channels_last, x, gamma, silu);
}

at::Tensor rms_norm_silu_after(
    const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& history, int64_t count) {
  return dispatch(&KernelTable::rms_norm_silu_after, compositions::rms_norm_silu_after, x, gamma, history, count);
}

void gelu_tanh_(const at::Tensor& x) {
  return dispatch(&KernelTable::gelu_tanh_, compositions::gelu_tanh_, x);
}

}  // namespace ctorch::kernels
