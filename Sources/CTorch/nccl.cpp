// Process groups of GPUs. Their headers come with NCCL and CUDA, which a machine without a GPU need not have.
#include "distributed.h"
#include "shim.h"

#if defined(CT_LIBTORCH_HAS_CUDA) && __has_include(<nccl.h>) && __has_include(<cuda_runtime_api.h>)
#define CT_HAS_NCCL 1
#define USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#else
#define CT_HAS_NCCL 0
#endif

bool ct_has_nccl(void) { return CT_HAS_NCCL; }

namespace ct {

c10::intrusive_ptr<c10d::Backend> make_nccl(const c10::intrusive_ptr<c10d::Store> &store, int rank, int size,
                                            std::chrono::milliseconds timeout) {
#if CT_HAS_NCCL
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, size, std::move(options));
#else
  TORCH_CHECK(false, "this build has no NCCL: it was made without the headers of NCCL and CUDA or for a libtorch without CUDA");
#endif
}

}  // namespace ct
