#include "dispatch.h"

#include "kernels.h"

#include <atomic>

namespace ctorch::kernels {

namespace {

std::atomic<bool> enabled{true};

bool processor_has_avx512() {
#if CTORCH_AVX512
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

}  // namespace

bool vector_kernels() {
  static const bool present = processor_has_avx512();
  return present && enabled.load(std::memory_order_relaxed);
}

bool set_vector_kernels(bool on) { return enabled.exchange(on); }

}  // namespace ctorch::kernels
