// Zip-format .pth and .bin files: libtorch's restricted unpickler over a memory-mapped file.
#include <caffe2/serialize/inline_container.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <torch/csrc/jit/serialization/unpickler.h>
#include <unistd.h>

#include "shim.h"

namespace ct {
namespace {

/// A file mapped copy-on-write: pages are shared with the cache until somebody writes to a tensor.
struct Mapping {
  char *bytes = nullptr;
  size_t size = 0;

  explicit Mapping(const char *path) {
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    TORCH_CHECK(file >= 0, std::strerror(errno));
    struct stat info;
    const bool known = fstat(file, &info) == 0;
    size = known ? static_cast<size_t>(info.st_size) : 0;
    void *mapped = size ? mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0) : MAP_FAILED;
    const int reason = errno;
    close(file);
    TORCH_CHECK(size > 0, "the file is empty");
    TORCH_CHECK(mapped != MAP_FAILED, std::strerror(reason));
    bytes = static_cast<char *>(mapped);
  }
  ~Mapping() {
    if (bytes) munmap(bytes, size);
  }
  Mapping(const Mapping &) = delete;
};

void read_state_dict(const char *path, const std::function<void(const std::string &, const at::Tensor &)> &visit) {
  const auto mapping = std::make_shared<Mapping>(path);
  TORCH_CHECK(mapping->size > 4 && std::memcmp(mapping->bytes, "PK\x03\x04", 4) == 0,
              "not a zip archive written by torch.save since PyTorch 1.6");
  caffe2::serialize::PyTorchStreamReader zip{std::string(path)};
  const auto [pickle, pickle_size] = zip.getRecord("data.pkl");
  const char *text = static_cast<const char *>(pickle.get());
  size_t position = 0;
  // Each storage points into the mapping, which lives as long as the last of them.
  const auto record = [&](const std::string &name) -> at::DataPtr {
    const auto path_in_zip = "data/" + name;
    const size_t offset = zip.getRecordOffset(path_in_zip);
    const size_t length = zip.getRecordSize(path_in_zip);
    TORCH_CHECK(offset <= mapping->size && length <= mapping->size - offset, "storage ", name,
                " lies outside the file");
    auto *owner = new std::shared_ptr<Mapping>(mapping);
    return {mapping->bytes + offset, owner, [](void *o) { delete static_cast<std::shared_ptr<Mapping> *>(o); },
            at::kCPU};
  };
  torch::jit::Unpickler unpickler(
      [&, size = pickle_size](char *buffer, size_t wanted) -> size_t {
        const size_t taken = std::min(wanted, size - position);
        std::memcpy(buffer, text + position, taken);
        position += taken;
        return taken;
      },
      [](const c10::QualifiedName &name) -> c10::StrongTypePtr {
        TORCH_CHECK(false, "it asks for the type ", name.qualifiedName(), ", which is not plain data");
      },
      [](const c10::StrongTypePtr &, const c10::IValue &) -> c10::intrusive_ptr<c10::ivalue::Object> {
        TORCH_CHECK(false, "it asks to build an object, which is not plain data");
      },
      record, std::nullopt);
  auto value = unpickler.parse_ivalue();
  TORCH_CHECK(value.isGenericDict(), "it holds no dictionary of tensors");
  for (const auto &entry : value.toGenericDict()) {
    TORCH_CHECK(entry.key().isString(), "a key of its dictionary is not a string");
    // Files of optimisers and trainers keep numbers beside the tensors; a state dictionary is its tensors.
    if (!entry.value().isTensor()) continue;
    const auto &tensor = entry.value().toTensor();
    const auto &storage = tensor.storage();
    const auto needed = (tensor.storage_offset() + tensor.numel()) * static_cast<int64_t>(tensor.element_size());
    TORCH_CHECK(!tensor.is_contiguous() || needed <= static_cast<int64_t>(storage.nbytes()), "tensor ",
                entry.key().toStringRef(), " is larger than its storage");
    visit(entry.key().toStringRef(), tensor);
  }
}

}  // namespace
}  // namespace ct

ct_status ct_read_pickle(const char *path, void *context,
                         void (*visit)(void *context, const char *name, ct_tensor t)) {
  return ct::checked([&] {
    ct::read_state_dict(path, [&](const std::string &name, const at::Tensor &tensor) {
      at::Tensor borrowed = tensor;
      visit(context, name.c_str(), reinterpret_cast<ct_tensor>(&borrowed));
    });
  });
}
