// The life of a tensor: made, described, moved, read, freed; random generators.
#include <ATen/CPUGeneratorImpl.h>
#include <sstream>

#include "shim.h"

namespace ct {

namespace {
// In the order of the dtype codes.
constexpr at::ScalarType types[] = {
    at::kFloat, at::kHalf, at::kBFloat16, at::kDouble, at::kLong, at::kInt, at::kShort, at::kChar, at::kByte,
    at::kBool, at::kFloat8_e4m3fn, at::kFloat8_e5m2, at::kComplexFloat};
}  // namespace

at::ScalarType scalar_type(int32_t dtype) {
  TORCH_CHECK(dtype >= 0 && dtype < static_cast<int32_t>(std::size(types)), "unknown dtype code ", dtype);
  return types[dtype];
}

int32_t dtype_code(at::ScalarType type) {
  for (size_t i = 0; i < std::size(types); i++) {
    if (types[i] == type) return static_cast<int32_t>(i);
  }
  return -1;
}

namespace {
at::TensorOptions options(int32_t dtype, ct_device d) {
  return at::TensorOptions().dtype(scalar_type(dtype)).device(device(d));
}
}  // namespace

}  // namespace ct

using namespace ct;

void ct_tensor_free(ct_tensor t) { delete reinterpret_cast<at::Tensor *>(t); }
int32_t ct_rank(ct_tensor t) { return static_cast<int32_t>(ref(t).dim()); }
ct_status ct_size(ct_tensor t, intptr_t dim, intptr_t *out) {
  return checked([&] { *out = ref(t).size(dim); });
}
ct_status ct_stride(ct_tensor t, intptr_t dim, intptr_t *out) {
  return checked([&] { *out = ref(t).stride(dim); });
}
void ct_sizes(ct_tensor t, intptr_t *out) {
  for (const auto size : ref(t).sizes()) *out++ = size;
}
intptr_t ct_count(ct_tensor t) { return ref(t).numel(); }
int32_t ct_dtype(ct_tensor t) { return dtype_code(ref(t).scalar_type()); }
ct_device ct_tensor_device(ct_tensor t) {
  const auto where = ref(t).device();
  const auto index = std::max<int32_t>(where.index(), 0);
  return {where.is_cuda() ? CT_CUDA : where.is_mps() ? CT_MPS : where.is_meta() ? CT_META : CT_CPU, index};
}
bool ct_is_contiguous(ct_tensor t) { return ref(t).is_contiguous(); }
bool ct_shares_storage(ct_tensor a, ct_tensor b) { return ref(a).is_alias_of(ref(b)); }

ct_status ct_from_data(const void *data, int32_t dtype, const intptr_t *sizes, int32_t rank, ct_tensor *out) {
  return make(out, [&] {
    auto t = at::empty(ints(sizes, rank), at::TensorOptions().dtype(scalar_type(dtype)));
    if (t.numel() > 0) std::memcpy(t.data_ptr(), data, t.nbytes());
    return t;
  });
}

ct_status ct_from_memory(void *data, int32_t dtype, const intptr_t *sizes, int32_t rank, void *context,
                         void (*release)(void *), ct_tensor *out) {
  return make(out, [&] {
    return at::from_blob(data, ints(sizes, rank), [context, release](void *) { release(context); },
                         at::TensorOptions().dtype(scalar_type(dtype)));
  });
}

ct_status ct_to_host(ct_tensor t, void *data, size_t bytes) {
  return checked([&] {
    const auto host = ref(t).detach().to(at::kCPU).contiguous();
    TORCH_CHECK(host.nbytes() == bytes, "host buffer of ", bytes, " bytes for a tensor of ", host.nbytes());
    if (bytes > 0) std::memcpy(data, host.data_ptr(), bytes);
  });
}

ct_status ct_data(ct_tensor t, const void **out) {
  return checked([&] {
    TORCH_CHECK(ref(t).is_cpu() && ref(t).is_contiguous(), "only a contiguous tensor on the CPU has its bytes in one place");
    *out = ref(t).const_data_ptr();
  });
}

ct_status ct_item(ct_tensor t, double *out) {
  return checked([&] { *out = ref(t).item().toDouble(); });
}
ct_status ct_item_int(ct_tensor t, int64_t *out) {
  return checked([&] { *out = ref(t).item().toLong(); });
}

ct_status ct_describe(ct_tensor t, char *buffer, size_t capacity) {
  return checked([&] {
    std::ostringstream text;
    text << ref(t);
    std::strncpy(buffer, text.str().c_str(), capacity - 1);
    buffer[capacity - 1] = 0;
  });
}

ct_status ct_empty(const intptr_t *sizes, int32_t rank, int32_t dtype, ct_device d, ct_tensor *out) {
  return make(out, [&] { return at::empty(ints(sizes, rank), options(dtype, d)); });
}
ct_status ct_full(const intptr_t *sizes, int32_t rank, double value, int32_t dtype, ct_device d, ct_tensor *out) {
  return make(out, [&] { return at::full(ints(sizes, rank), value, options(dtype, d)); });
}
ct_status ct_arange(double start, double end, double step, int32_t dtype, ct_device d, ct_tensor *out) {
  return make(out, [&] { return at::arange(start, end, step, options(dtype, d)); });
}
ct_status ct_linspace(double start, double end, int64_t steps, int32_t dtype, ct_device d, ct_tensor *out) {
  return make(out, [&] { return at::linspace(start, end, steps, options(dtype, d)); });
}

ct_status ct_generator_new(ct_device d, uint64_t seed, ct_generator *out) {
  return checked([&] {
    const auto where = device(d);
    auto g = where.is_cpu() ? at::make_generator<at::CPUGeneratorImpl>()
                            : at::globalContext().defaultGenerator(where).clone();
    g.set_current_seed(seed);
    *out = reinterpret_cast<ct_generator>(new at::Generator(std::move(g)));
  });
}
ct_status ct_generator_state(ct_generator g, ct_tensor *out) {
  return make(out, [&] { return generator(g).get_state(); });
}
ct_status ct_generator_set_state(ct_generator g, ct_tensor state) {
  return checked([&] { generator(g).set_state(ref(state)); });
}
void ct_generator_free(ct_generator g) { delete reinterpret_cast<at::Generator *>(g); }

ct_status ct_randn(const intptr_t *sizes, int32_t rank, ct_generator g, int32_t dtype, ct_device d, ct_tensor *out) {
  return make(out, [&] { return at::randn(ints(sizes, rank), generator(g), options(dtype, d)); });
}
ct_status ct_rand(const intptr_t *sizes, int32_t rank, ct_generator g, int32_t dtype, ct_device d, ct_tensor *out) {
  return make(out, [&] { return at::rand(ints(sizes, rank), generator(g), options(dtype, d)); });
}
ct_status ct_randint(int64_t low, int64_t high, const intptr_t *sizes, int32_t rank, ct_generator g, ct_device d,
                     ct_tensor *out) {
  return make(out, [&] { return at::randint(low, high, ints(sizes, rank), generator(g), options(CT_INT64, d)); });
}
ct_status ct_randperm(int64_t n, ct_generator g, ct_device d, ct_tensor *out) {
  return make(out, [&] { return at::randperm(n, generator(g), options(CT_INT64, d)); });
}

ct_status ct_to(ct_tensor t, int32_t dtype, ct_device d, bool copy, ct_tensor *out) {
  return make(out, [&] { return ref(t).to(device(d), scalar_type(dtype), /*non_blocking=*/false, copy); });
}
ct_status ct_contiguous(ct_tensor t, ct_tensor *out) {
  return make(out, [&] { return ref(t).contiguous(); });
}
ct_status ct_channels_last_3d(ct_tensor t, ct_tensor *out) {
  return make(out, [&] { return ref(t).contiguous(at::MemoryFormat::ChannelsLast3d); });
}
ct_status ct_pin_memory(ct_tensor t, ct_tensor *out) {
  return make(out, [&] { return ref(t).pin_memory(); });
}
ct_status ct_clone(ct_tensor t, ct_tensor *out) {
  return make(out, [&] { return ref(t).clone(); });
}
ct_status ct_alias(ct_tensor t, ct_tensor *out) {
  return make(out, [&] { return ref(t); });
}
ct_status ct_detach(ct_tensor t, ct_tensor *out) {
  return make(out, [&] { return ref(t).detach(); });
}
