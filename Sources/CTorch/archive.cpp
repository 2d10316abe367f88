// The zip archives of torch.save, by libtorch's own reader and writer. What lies in the records is read on the Swift side.
#include <caffe2/serialize/inline_container.h>

#include "shim.h"

using namespace ct;
using caffe2::serialize::PyTorchStreamReader;
using caffe2::serialize::PyTorchStreamWriter;

namespace {
PyTorchStreamReader &reader(ct_archive a) { return *reinterpret_cast<PyTorchStreamReader *>(a); }
PyTorchStreamWriter &writer(ct_archive_writer w) { return *reinterpret_cast<PyTorchStreamWriter *>(w); }
}  // namespace

ct_status ct_archive_open(const char *path, ct_archive *out) {
  return checked([&] { *out = reinterpret_cast<ct_archive>(new PyTorchStreamReader(std::string(path))); });
}
void ct_archive_free(ct_archive a) { delete &reader(a); }

ct_status ct_archive_record(ct_archive a, const char *name, bool *found, int64_t *header, int64_t *offset, int64_t *size) {
  return checked([&] {
    *found = reader(a).hasRecord(name);
    if (!*found) return;
    *header = static_cast<int64_t>(reader(a).getRecordHeaderOffset(name));
    *offset = static_cast<int64_t>(reader(a).getRecordOffset(name));
    *size = static_cast<int64_t>(reader(a).getRecordSize(name));
  });
}

ct_status ct_archive_read(ct_archive a, const char *name, void *buffer, int64_t size) {
  return checked([&] {
    const auto [data, length] = reader(a).getRecord(name);
    TORCH_CHECK(static_cast<int64_t>(length) == size, "the record ", name, " has ", length, " bytes, not ", size);
    if (length > 0) std::memcpy(buffer, data.get(), length);
  });
}

ct_status ct_archive_writer_new(void *context, size_t (*write)(void *, const void *, size_t), ct_archive_writer *out) {
  return checked([&] {
    const auto sink = [context, write](const void *data, size_t size) { return write(context, data, size); };
    *out = reinterpret_cast<ct_archive_writer>(new PyTorchStreamWriter(sink));
  });
}

ct_status ct_archive_write(ct_archive_writer w, const char *name, const void *data, int64_t size) {
  return checked([&] { writer(w).writeRecord(name, data, static_cast<size_t>(size)); });
}

ct_status ct_archive_finish(ct_archive_writer w) {
  return checked([&] { writer(w).writeEndOfFile(); });
}

void ct_archive_writer_free(ct_archive_writer w) {
  // The destructor of an unfinished archive finishes it, and would end the process where that fails.
  try {
    if (!writer(w).finalized()) writer(w).writeEndOfFile();
  } catch (...) {
  }
  delete &writer(w);
}
