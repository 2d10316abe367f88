// Errors, devices, threads, streams, modes and memory figures.
#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <cstdlib>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "Kernels/table.h"
#include "shim.h"

namespace ct {

namespace {
thread_local std::string last_error;
}

void set_error(const char *message) noexcept {
  try {
    last_error = message;
  } catch (...) {
    last_error.clear();
  }
}

at::Device device(ct_device d) {
  switch (d.kind) {
    case CT_CPU: return at::Device(at::kCPU);
    case CT_CUDA: return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(d.index));
    case CT_MPS: return at::Device(at::kMPS, 0);
    case CT_META: return at::Device(at::kMeta);
    default: TORCH_CHECK(false, "unknown device kind ", d.kind);
  }
}

namespace {

/// A mode that is left by deleting it.
struct Guard {
  virtual ~Guard() = default;
};
template <class T>
struct GuardOf : Guard {
  T value;
  template <class... A>
  explicit GuardOf(A &&...a) : value(std::forward<A>(a)...) {}
};

ct_guard handle(Guard *guard) { return reinterpret_cast<ct_guard>(guard); }
c10::Stream &stream(ct_stream s) { return *reinterpret_cast<c10::Stream *>(s); }
ct_stream handle(c10::Stream s) { return reinterpret_cast<ct_stream>(new c10::Stream(s)); }

bool has_backend(at::DeviceType type) { return c10::impl::hasDeviceGuardImpl(type); }

}  // namespace
}  // namespace ct

using namespace ct;

const char *ct_last_error(void) { return last_error.c_str(); }
void ct_set_last_error(const char *message) { set_error(message); }
const char *ct_torch_version(void) { return TORCH_VERSION; }

ct_status ct_load_cuda(const char *library) {
  return checked([&] {
    if (has_backend(at::kCUDA)) return;
    // Its static initialisers register the CUDA kernels with the dispatcher.
    TORCH_CHECK(dlopen(library ? library : "libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL), dlerror());
  });
}

ct_status ct_device_count(int32_t kind, int32_t *count) {
  return checked([&] {
    *count = 0;
    const auto type = device({kind, 0}).type();
    if (type == at::kCPU) {
      *count = 1;
    } else if (type == at::kMPS) {
      *count = at::hasMPS() ? 1 : 0;
    } else if (has_backend(type)) {
      *count = c10::impl::VirtualGuardImpl(type).deviceCount();
    }
  });
}

ct_status ct_synchronize(ct_device d) {
  return checked([&] {
    const auto where = device(d);
    if (where.is_cpu()) return;
    c10::impl::VirtualGuardImpl(where.type()).synchronizeDevice(where.index());
  });
}

/// A device whose allocator may be asked: a GPU's counts nothing, and fails, before the first use of the GPU.
static at::Device ready(ct_device d) {
  const auto where = device(d);
  at::globalContext().lazyInitDevice(where.type());
  return where;
}

ct_status ct_device_memory(ct_device d, int64_t *allocated, int64_t *peak, int64_t *reserved) {
  return checked([&] {
    const auto where = ready(d);
    const auto stats = c10::getDeviceAllocator(where.type())->getDeviceStats(where.index());
    *allocated = stats.allocated_bytes[0].current;
    *peak = stats.allocated_bytes[0].peak;
    *reserved = stats.reserved_bytes[0].current;
  });
}

ct_status ct_reset_peak_memory(ct_device d) {
  return checked([&] {
    const auto where = ready(d);
    c10::getDeviceAllocator(where.type())->resetPeakStats(where.index());
  });
}

ct_status ct_release_cached_memory(ct_device d) {
  return checked([&] {
    const auto where = device(d);
    if (!where.is_cpu()) {
      c10::getDeviceAllocator(where.type())->emptyCache();
      return;
    }
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
  });
}

ct_status ct_set_threads(int32_t threads) {
  return checked([&] { at::set_num_threads(threads); });
}
int32_t ct_threads(void) { return at::get_num_threads(); }

bool ct_keep_freed_memory(void) {
#if defined(__GLIBC__)
  // A second arena could not hold a large tensor and would map and unmap it after all, so there is to be only one.
  return mallopt(M_ARENA_MAX, 1) == 1 && mallopt(M_MMAP_MAX, 0) == 1 && mallopt(M_TRIM_THRESHOLD, -1) == 1;
#else
  return false;
#endif
}

bool ct_fused_kernels(void) { return ctorch::kernels::fused_kernels(); }
void ct_set_fused_kernels(bool on) { ctorch::kernels::set_fused_kernels(on); }
bool ct_cpu_has_bf16(void) { return ctorch::kernels::cpu::table().attention.run != nullptr; }

void ct_set_tf32(bool allowed) {
  at::globalContext().setAllowTF32CuBLAS(allowed);
  at::globalContext().setAllowTF32CuDNN(allowed);
}

ct_status ct_grad_mode_enter(bool enabled, ct_guard *out) {
  return checked([&] { *out = handle(new GuardOf<at::AutoGradMode>(enabled)); });
}
ct_status ct_inference_mode_enter(bool enabled, ct_guard *out) {
  return checked([&] { *out = handle(new GuardOf<c10::InferenceMode>(enabled)); });
}
ct_status ct_stream_enter(ct_stream s, ct_guard *out) {
  return checked([&] { *out = handle(new GuardOf<c10::StreamGuard>(stream(s))); });
}
void ct_guard_leave(ct_guard guard) { delete reinterpret_cast<Guard *>(guard); }
bool ct_grad_enabled(void) { return at::GradMode::is_enabled(); }

ct_status ct_stream_new(ct_device d, ct_stream *out) {
  return checked([&] {
    const auto where = device(d);
    *out = handle(c10::impl::VirtualGuardImpl(where.type()).getStreamFromGlobalPool(where, true));
  });
}
ct_status ct_stream_current(ct_device d, ct_stream *out) {
  return checked([&] {
    const auto where = device(d);
    *out = handle(c10::impl::VirtualGuardImpl(where.type()).getStream(where));
  });
}
ct_status ct_stream_wait(ct_stream waiting, ct_stream awaited) {
  return checked([&] {
    c10::Event event(stream(awaited).device_type());
    event.record(stream(awaited));
    event.block(stream(waiting));
  });
}
ct_status ct_stream_synchronize(ct_stream s) {
  return checked([&] { stream(s).synchronize(); });
}
ct_status ct_record_stream(ct_tensor t, ct_stream s) {
  return checked([&] { ref(t).record_stream(stream(s)); });
}
void ct_stream_free(ct_stream s) { delete reinterpret_cast<c10::Stream *>(s); }
