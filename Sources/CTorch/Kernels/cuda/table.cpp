// No kernels yet: every operation is its composition, in libtorch's own CUDA kernels. How kernels get here is decided in
// docs/decisions/0014-cuda-kernels.md.
#include "../table.h"

namespace ctorch::kernels::cuda {

const KernelTable& table() {
  static const KernelTable table;
  return table;
}

}  // namespace ctorch::kernels::cuda
