#include "parallel.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>

#include <algorithm>
#include <atomic>

namespace ctorch::kernels::cpu {

namespace {

/// Calls `body(part)` for 0 ..< parts, spread over libtorch's threads: an element-wise loop over `parts` bytes with a
/// grain of one, whose body finds its number in the address of its byte.
void each_part(int64_t parts, c10::function_ref<void(int64_t)> body) {
  at::Tensor bytes = at::empty({parts}, at::TensorOptions().dtype(at::kByte).device(at::kCPU));
  char* base = static_cast<char*>(bytes.data_ptr());
  at::TensorIterator iterator = at::TensorIterator::borrowing_nullary_op(bytes);
  iterator.for_each(
      [&](char** data, const int64_t* strides, int64_t size) {
        for (int64_t i = 0; i < size; ++i) body(data[0] + i * strides[0] - base);
      },
      1);
}

int64_t threads_for(int64_t parts) {
  if (at::in_parallel_region()) return 1;
  return std::clamp<int64_t>(parts, 1, at::get_num_threads());
}

}  // namespace

void parallel_ranges(int64_t count, int64_t grain, c10::function_ref<void(int64_t, int64_t)> body) {
  if (count <= 0) return;
  const int64_t parts = threads_for(count / std::max<int64_t>(grain, 1));
  if (parts == 1) return body(0, count);
  each_part(parts, [&](int64_t part) { body(count * part / parts, count * (part + 1) / parts); });
}

void parallel_tasks(int64_t count, c10::function_ref<void(c10::function_ref<int64_t()>)> body) {
  if (count <= 0) return;
  std::atomic<int64_t> taken{0};
  auto next = [&]() -> int64_t {
    const int64_t task = taken.fetch_add(1, std::memory_order_relaxed);
    return task < count ? task : -1;
  };
  const int64_t parts = threads_for(count);
  if (parts == 1) return body(next);
  each_part(parts, [&](int64_t) { body(next); });
}

}  // namespace ctorch::kernels::cpu
