// Threads for the kernels.
//
// at::parallel_for is a template that runs serially in a file compiled without OpenMP, and clang's OpenMP would bring a
// second thread pool beside libtorch's. These functions borrow libtorch's own threads through code compiled inside it.
#pragma once

#include <c10/util/FunctionRef.h>

#include <cstdint>

namespace ctorch::kernels::cpu {

/// Calls `body(begin, end)` on disjoint ranges that cover [0, count), at most one per thread and none (but the last)
/// shorter than `grain`. Runs on the calling thread when there is too little work or inside a parallel region.
void parallel_ranges(int64_t count, int64_t grain, c10::function_ref<void(int64_t, int64_t)> body);

/// Calls `body(next)` once per thread; `next()` hands out 0 ..< count, each number once, and then -1. For few large
/// tasks of uneven cost: a thread that is done early takes another one.
void parallel_tasks(int64_t count, c10::function_ref<void(c10::function_ref<int64_t()>)> body);

}  // namespace ctorch::kernels::cpu
