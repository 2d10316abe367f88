#include <cstdlib>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "kernels.h"

namespace ctorch::kernels {

bool keep_freed_memory() {
#if defined(__GLIBC__)
  // A second arena could not hold a large tensor and would map and unmap it after all, so there is to be only one.
  return mallopt(M_ARENA_MAX, 1) == 1 && mallopt(M_MMAP_MAX, 0) == 1 && mallopt(M_TRIM_THRESHOLD, -1) == 1;
#else
  return false;
#endif
}

}  // namespace ctorch::kernels
