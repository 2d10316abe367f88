// The kernels of a device type.
#pragma once

#include "kernels.h"

namespace ctorch::kernels {

template <class Signature>
struct Kernel;

/// An operation's kernel for one device type; null where there is none.
template <class Result, class... Arguments>
struct Kernel<Result(Arguments...)> {
  /// Whether the kernel takes these arguments: the devices, types, sizes and strides of all tensors. Gradients are not its
  /// concern.
  bool (*takes)(Arguments...) = nullptr;
  /// Called only with what it takes.
  Result (*run)(Arguments...) = nullptr;
};

/// One entry for each operation of kernels.h, by its name.
struct KernelTable {
  Kernel<decltype(kernels::attention)> attention;
  /// See kernels.h; 0 for what the kernel does not take.
  decltype(&kernels::attention_workspace) attention_workspace = nullptr;
  Kernel<decltype(kernels::linear_packed)> linear_packed;
  Kernel<decltype(kernels::norm_modulate)> norm_modulate;
  Kernel<decltype(kernels::gate_residual)> gate_residual;
  Kernel<decltype(kernels::gate_residual_)> gate_residual_;
  Kernel<decltype(kernels::rms_norm)> rms_norm;
  Kernel<decltype(kernels::rms_norm_rope)> rms_norm_rope;
  Kernel<decltype(kernels::rotate_)> rotate_;
  Kernel<decltype(kernels::rms_norm_silu_channels_last)> rms_norm_silu_channels_last;
  Kernel<decltype(kernels::rms_norm_silu_after)> rms_norm_silu_after;
  Kernel<decltype(kernels::gelu_tanh_)> gelu_tanh_;
};

namespace cpu {
/// Empty where the processor lacks AVX-512 (F, BW, DQ, VL) or its BF16 instructions.
const KernelTable& table();
}  // namespace cpu

namespace cuda {
const KernelTable& table();
}  // namespace cuda

}  // namespace ctorch::kernels
