#include "cpu.h"

namespace ctorch::kernels::cpu {

const KernelTable& table() {
  static const KernelTable table = [] {
    KernelTable table;
#if CTORCH_AVX512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bf16")) {
      add_activation(table);
      add_attention(table);
      add_linear(table);
      add_modulation(table);
      add_rotary(table);
    }
#endif
    return table;
  }();
  return table;
}

}  // namespace ctorch::kernels::cpu
