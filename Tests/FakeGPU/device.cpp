// A GPU that is not there, for machines without one: tensors of the device `cuda` in host memory, computed by the kernels of the CPU.
// It refuses what a GPU refuses: operations on tensors of different devices, and random numbers of another device's generator.
//
// A program that is started with this library in LD_PRELOAD has the device; FAKE_GPUS says how many of them (1). Only for a libtorch
// without CUDA.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <map>
#include <set>

namespace {

c10::DeviceIndex count() {
  static const char *text = std::getenv("FAKE_GPUS");
  return text ? std::atoi(text) : 1;
}
thread_local c10::DeviceIndex current = 0;
thread_local std::map<c10::DeviceIndex, c10::StreamId> streams;

// MARK: Memory

struct Memory final : c10::DeviceAllocator {
  struct Block {
    void *data;
    int64_t size;
  };
  static inline std::atomic<int64_t> in_use{0}, peak{0};
  static void release(void *context) {
    auto *block = static_cast<Block *>(context);
    in_use -= block->size;
    std::free(block->data);
    delete block;
  }
  c10::DataPtr allocate(size_t size) override {
    void *data = size ? std::aligned_alloc(64, (size + 63) / 64 * 64) : nullptr;
    const auto now = in_use += size;
    peak = std::max<int64_t>(peak, now);
    return {data, new Block{data, int64_t(size)}, release, c10::Device(at::kCUDA, current)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void *to, const void *from, size_t size) const override { default_copy_data(to, from, size); }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr &, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override {
    c10::CachingDeviceAllocator::DeviceStats stats;
    stats.allocated_bytes[0].current = stats.reserved_bytes[0].current = in_use;
    stats.allocated_bytes[0].peak = peak;
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override { peak = in_use.load(); }
};
Memory memory;

// MARK: Devices, streams, random numbers

struct Guard final : c10::impl::DeviceGuardImplInterface {
  at::DeviceType type() const override { return at::kCUDA; }
  at::Device exchangeDevice(at::Device device) const override {
    return {at::kCUDA, std::exchange(current, device.index() < 0 ? current : device.index())};
  }
  at::Device getDevice() const override { return {at::kCUDA, current}; }
  void setDevice(at::Device device) const override { exchangeDevice(device); }
  void uncheckedSetDevice(at::Device device) const noexcept override { exchangeDevice(device); }
  c10::Stream getStream(at::Device device) const override {
    return c10::Stream(c10::Stream::UNSAFE, device, streams[device.index()]);
  }
  c10::Stream getDefaultStream(at::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream getStreamFromGlobalPool(at::Device device, bool) const override {
    static std::atomic<c10::StreamId> next{1};
    return c10::Stream(c10::Stream::UNSAFE, device, next++);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    return c10::Stream(c10::Stream::UNSAFE, stream.device(), std::exchange(streams[stream.device_index()], stream.id()));
  }
  c10::DeviceIndex deviceCount() const noexcept override { return count(); }
  void record(void **, const c10::Stream &, c10::DeviceIndex, c10::EventFlag) const override {}
  void block(void *, const c10::Stream &) const override {}
  bool queryEvent(void *) const override { return true; }
  bool queryStream(const c10::Stream &) const override { return true; }
  void synchronizeStream(const c10::Stream &) const override {}
  void synchronizeEvent(void *) const override {}
  void synchronizeDevice(c10::DeviceIndex) const override {}
};

struct FakeGenerator final : c10::GeneratorImpl {
  at::Generator host = at::make_generator<at::CPUGeneratorImpl>();
  explicit FakeGenerator(c10::DeviceIndex index)
      : GeneratorImpl({at::kCUDA, index}, c10::DispatchKeySet(c10::DispatchKey::CUDA)) {}
  void set_current_seed(uint64_t seed) override { host.set_current_seed(seed); }
  void set_offset(uint64_t) override {}
  uint64_t get_offset() const override { return 0; }
  uint64_t current_seed() const override { return host.current_seed(); }
  uint64_t seed() override { return host.seed(); }
  void set_state(const c10::TensorImpl &state) override { host.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override { return host.unsafeGetGeneratorImpl()->get_state(); }
  FakeGenerator *clone_impl() const override {
    auto *copy = new FakeGenerator(device_.index());
    copy->host = host.clone();
    return copy;
  }
};

}  // namespace

namespace at {
struct FakeHooks final : CUDAHooksInterface {
  explicit FakeHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return count(); }
  int getNumGPUs() const override { return count(); }
  DeviceIndex current_device() const override { return current; }
  DeviceIndex getCurrentDevice() const override { return current; }
  const Generator &getDefaultGenerator(DeviceIndex) const override {
    static const Generator generator = make_generator<FakeGenerator>(0);
    return generator;
  }
  Generator getNewGenerator(DeviceIndex index) const override { return make_generator<FakeGenerator>(std::max<int>(index, 0)); }
  Allocator *getPinnedMemoryAllocator() const override { return c10::GetAllocator(at::kCPU); }
};
C10_REGISTER_TYPED_CLASS(CUDAHooksRegistry, "CUDAHooks", FakeHooks)
}  // namespace at

namespace {

// MARK: Operations

/// The same memory as a tensor of the CPU.
at::Tensor on_host(const at::Tensor &t) {
  if (!t.defined() || !t.is_cuda()) return t;
  return at::from_blob(t.data_ptr(), t.sizes(), t.strides(), [t](void *) {}, t.options().device(at::kCPU));
}

/// The memory of a result as a tensor of the device.
at::Tensor on_device(const at::Tensor &t, c10::Device device) {
  if (!t.defined()) return t;
  const auto &from = t.storage();
  c10::Storage storage(
      c10::Storage::use_byte_size_t(), from.nbytes(),
      c10::DataPtr(from.mutable_data(), new c10::Storage(from), [](void *s) { delete static_cast<c10::Storage *>(s); }, device),
      &memory, false);
  auto result = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CUDA), t.dtype());
  result.unsafeGetTensorImpl()->set_sizes_and_strides(t.sizes(), t.strides(), t.storage_offset());
  return result;
}

/// Operations that take a number on the CPU, a tensor without dimensions, as any other number.
const std::set<std::string> with_numbers = {
    "add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "eq", "ne", "lt", "le", "gt", "ge", "where", "pow", "maximum",
    "minimum", "logical_and", "logical_or", "masked_fill", "masked_fill_", "fill_", "index_put_", "_index_put_impl_", "rsub"};
/// Operations that read tensors of the CPU.
const std::set<std::string> with_host = {"copy_", "index", "index_put_", "_index_put_impl_"};

/// A value with each tensor in it replaced.
template <class Change>
c10::IValue mapped(const c10::IValue &value, Change change) {
  if (value.isTensor()) return change(value.toTensor());
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const auto &t : value.toTensorVector()) list.push_back(change(t));
    return list;
  }
  if (value.isList() && value.toList().elementType()->isSubtypeOf(*c10::OptionalType::ofTensor())) {
    c10::List<std::optional<at::Tensor>> list;
    for (const auto &t : value.toListRef())
      list.push_back(t.isTensor() ? std::optional(change(t.toTensor())) : std::nullopt);
    return list;
  }
  return value;
}

/// Any operation, by the CPU's kernel on the same memory.
void compute(const c10::OperatorHandle &op, torch::jit::Stack *stack) {
  const auto &schema = op.schema();
  const auto name = schema.name().substr(schema.name().find("::") + 2);
  const auto arguments = torch::jit::pop(*stack, schema.arguments().size());
  const auto is_written = [](const c10::Argument &a) { return a.alias_info() && a.alias_info()->isWrite(); };

  c10::Device device(at::kCUDA, current);
  for (const auto &argument : arguments) {
    if (argument.isDevice() && argument.toDevice().has_index()) device = argument.toDevice();
    mapped(argument, [&](const at::Tensor &t) {
      if (t.defined() && t.is_cuda()) device = t.device();
      return t;
    });
  }

  torch::jit::Stack host;
  std::vector<std::pair<at::Tensor, at::Tensor>> resized;
  for (size_t i = 0; i < arguments.size(); i++) {
    const bool written = is_written(schema.arguments()[i]);
    if (arguments[i].isDevice()) {
      host.emplace_back(c10::Device(at::kCPU));
    } else if (arguments[i].isGenerator()) {
      const auto generator = arguments[i].toGenerator();
      TORCH_CHECK(generator.device() == device, op.operator_name(), " on ", device, " with a generator of ", generator.device());
      host.emplace_back(static_cast<FakeGenerator *>(generator.unsafeGetGeneratorImpl())->host);
    } else {
      host.push_back(mapped(arguments[i], [&](const at::Tensor &t) {
        const bool is_number = t.defined() && t.is_cpu() && t.dim() == 0 && !written && with_numbers.count(name);
        TORCH_CHECK(!t.defined() || t.device() == device || is_number || with_host.count(name), op.operator_name(), " on ", device,
                    " with a tensor on ", t.device(), " of shape ", t.sizes());
        if (!written || !t.is_cuda() || t.numel() > 0) return on_host(t);
        // A place for a result of any size.
        resized.emplace_back(t, at::empty({0}, t.options().device(at::kCPU)));
        return resized.back().second;
      }));
    }
  }
  const auto given = host;
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &host);
  for (const auto &[t, value] : resized) {
    t.resize_(value.sizes());
    on_host(t).copy_(value);
  }

  for (size_t i = 0; i < host.size(); i++) {
    const auto &result = schema.returns()[i];
    if (is_written(result)) {
      for (size_t k = 0; k < arguments.size(); k++) {
        const auto *alias = schema.arguments()[k].alias_info();
        if (alias && *alias == *result.alias_info()) stack->push_back(arguments[k]);
      }
    } else {
      stack->push_back(mapped(host[i], [&](const at::Tensor &t) {
        for (const auto &argument : given)
          TORCH_CHECK(!t.defined() || !argument.isTensor() || !argument.toTensor().defined() || !t.is_alias_of(argument.toTensor()),
                      op.operator_name(), " makes a view, which this device has to do itself");
        return on_device(t, device);
      }));
    }
  }
}

at::Tensor empty(at::IntArrayRef sizes, std::optional<at::ScalarType> type, std::optional<at::Layout>,
                 std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  const c10::DeviceGuard guard(device.value_or(c10::Device(at::kCUDA, current)));
  return at::detail::empty_generic(sizes, &memory, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                   type.value_or(at::kFloat), format);
}
at::Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides, std::optional<at::ScalarType> type,
                         std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  const c10::DeviceGuard guard(device.value_or(c10::Device(at::kCUDA, current)));
  return at::detail::empty_strided_generic(sizes, strides, &memory, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                           type.value_or(at::kFloat));
}
const at::Tensor &resize_(const at::Tensor &t, at::IntArrayRef sizes, std::optional<at::MemoryFormat>) {
  auto *impl = t.unsafeGetTensorImpl();
  impl->set_sizes_contiguous(sizes);
  const size_t bytes = impl->numel() * impl->itemsize();
  if (bytes > t.storage().nbytes()) {
    auto storage = t.storage();
    storage.set_data_ptr_noswap(memory.allocate(bytes));
    storage.set_nbytes(bytes);
  }
  return t;
}
at::Tensor attention(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const std::optional<at::Tensor> &mask,
                     double dropout, bool causal, std::optional<double> scale, bool grouped) {
  std::optional<at::Tensor> added = mask;
  if (mask && mask->scalar_type() == at::kBool)
    added = at::zeros(mask->sizes(), q.options()).masked_fill_(mask->logical_not(), -INFINITY);
  return std::get<0>(at::_scaled_dot_product_attention_math(q, k, v, added, dropout, causal, {}, scale, grouped));
}

/// As the GPU's kernel asks for its operands; with AMX the CPU's own takes a reference product of oneDNN.
at::Tensor scaled_product(const at::Tensor &a, const at::Tensor &b, const at::Tensor &a_scale, const at::Tensor &b_scale,
                          const std::optional<at::Tensor> &bias, const std::optional<at::Tensor> &, std::optional<at::ScalarType> type,
                          bool) {
  TORCH_CHECK(a.stride(1) == 1 && b.stride(0) == 1 && a.size(1) % 16 == 0 && b.size(0) % 16 == 0 && b.size(1) % 16 == 0,
              "_scaled_mm of ", a.sizes(), a.strides(), " and ", b.sizes(), b.strides());
  TORCH_CHECK(a.is_cuda() && b.is_cuda() && a_scale.is_cuda() && b_scale.is_cuda() && (!bias || bias->is_cuda()), "_scaled_mm");
  TORCH_CHECK(a_scale.scalar_type() == at::kFloat && b_scale.scalar_type() == at::kFloat && a_scale.numel() == 1, "_scaled_mm scales");
  auto product = at::matmul(a.to(at::kFloat) * a_scale, b.to(at::kFloat) * b_scale);
  return (bias ? product + *bias : product).to(type.value_or(at::kBFloat16));
}

C10_REGISTER_GUARD_IMPL(CUDA, Guard)
[[maybe_unused]] const bool registered = (c10::SetAllocator(at::kCUDA, &memory), true);

TORCH_LIBRARY_IMPL(_, CUDA, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&compute>()); }
TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("resize_", resize_);
  m.impl("as_strided", at::native::as_strided_tensorimpl);
  m.impl("view", at::native::view);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("record_stream", [](at::Tensor &, at::Stream) {});
  m.impl("scaled_dot_product_attention", attention);
  m.impl("_scaled_mm", scaled_product);
  // These have kernels of their own for all devices, which ask for cuDNN or for CUDA's memory.
  for (const auto *name : {"copy_", "convolution", "convolution_backward"})
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&compute>());
}
TORCH_LIBRARY_IMPL(aten, AutogradCUDA, m) { m.impl("scaled_dot_product_attention", attention); }

}  // namespace
