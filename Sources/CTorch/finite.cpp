// Whether all values of a tensor are finite numbers.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <atomic>

#include "shim.h"

using namespace ct;

// A value is infinite or no number where all bits of its exponent are set, and in float8_e4m3fn, which knows no infinity, those of the
// mantissa too: bits are compared, which needs no arithmetic of the type and one pass over the memory.
template <class Word>
static bool all_finite(const void *data, int64_t count, Word mask) {
  const auto *words = static_cast<const Word *>(data);
  std::atomic<bool> finite{true};
  at::parallel_for(0, count, 1 << 18, [&](int64_t begin, int64_t end) {
    for (int64_t start = begin; start < end && finite.load(std::memory_order_relaxed); start += 1 << 14) {
      const int64_t stop = std::min<int64_t>(end, start + (1 << 14));
      Word bad = 0;
      for (int64_t i = start; i < stop; i++) bad |= static_cast<Word>((words[i] & mask) == mask);
      if (bad) finite.store(false, std::memory_order_relaxed);
    }
  });
  return finite.load();
}

ct_status ct_all_finite(ct_tensor a, bool *out) {
  return checked([&] {
    at::NoGradGuard no_gradients;
    const auto type = ref(a).scalar_type();
    *out = true;
    if (!at::isFloatingType(type) || ref(a).numel() == 0) return;
    if (!ref(a).is_cpu()) {
      const bool is_small = ref(a).element_size() == 1;
      // The largest absolute value is infinite or NaN where any value is.
      const auto largest = at::linalg_vector_norm(is_small ? ref(a).to(at::kHalf) : ref(a), INFINITY);
      *out = at::isfinite(largest).item<bool>();
      return;
    }
    const auto values = ref(a).is_non_overlapping_and_dense() ? ref(a) : ref(a).contiguous();
    const void *data = values.const_data_ptr();
    const int64_t count = values.numel();
    switch (type) {
      case at::kFloat: *out = all_finite<uint32_t>(data, count, 0x7f800000u); break;
      case at::kHalf: *out = all_finite<uint16_t>(data, count, 0x7c00); break;
      case at::kBFloat16: *out = all_finite<uint16_t>(data, count, 0x7f80); break;
      case at::kDouble: *out = all_finite<uint64_t>(data, count, 0x7ff0000000000000u); break;
      case at::kFloat8_e4m3fn: *out = all_finite<uint8_t>(data, count, 0x7f); break;
      case at::kFloat8_e5m2: *out = all_finite<uint8_t>(data, count, 0x7c); break;
      default: *out = at::isfinite(values).all().item<bool>();
    }
  });
}
