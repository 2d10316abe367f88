// What the kernels of the CPU share.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/BFloat16.h>

#include "../table.h"

// CTORCH_AVX512 is 1 where the kernels are compiled at all; define it as 0 to leave them out. The other names open and
// close a stretch of code compiled for AVX-512.
#if !defined(CTORCH_AVX512)
#if defined(__x86_64__) && defined(__clang__)
#define CTORCH_AVX512 1
#else
#define CTORCH_AVX512 0
#endif
#endif

#if CTORCH_AVX512
#define CTORCH_AVX512_FEATURES "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma"
#define CTORCH_PRAGMA(words) _Pragma(#words)
#define CTORCH_AVX512_BEGIN \
  CTORCH_PRAGMA(clang attribute push(__attribute__((target(CTORCH_AVX512_FEATURES))), apply_to = function))
#define CTORCH_AVX512_END _Pragma("clang attribute pop")
#endif

namespace ctorch::kernels::cpu {

// Each enters the kernels of its file; compiled only where CTORCH_AVX512 is 1.
void add_activation(KernelTable& table);
void add_attention(KernelTable& table);
void add_linear(KernelTable& table);
void add_modulation(KernelTable& table);
void add_rotary(KernelTable& table);

/// True when `tensor` is bf16 or fp32, in plain CPU memory.
inline bool plain(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().is_cpu() && tensor.layout() == at::kStrided &&
         (tensor.scalar_type() == at::kBFloat16 || tensor.scalar_type() == at::kFloat) && !tensor.is_neg();
}

/// Calls `body` with a value of the C++ type that `type`, bf16 or fp32, stands for.
template <class Body>
void with_type(at::ScalarType type, const Body& body) {
  if (type == at::kBFloat16)
    body(c10::BFloat16{});
  else
    body(float{});
}

}  // namespace ctorch::kernels::cpu
