// What the files of the shim share: handles, and the one place where exceptions become a status.
#pragma once
#include <ATen/ATen.h>

#include "ctorch.h"

namespace ct {

void set_error(const char *message) noexcept;

inline const at::Tensor &ref(ct_tensor t) { return *reinterpret_cast<at::Tensor *>(t); }
inline at::Tensor &mut(ct_tensor t) { return *reinterpret_cast<at::Tensor *>(t); }
inline ct_tensor wrap(at::Tensor t) { return reinterpret_cast<ct_tensor>(new at::Tensor(std::move(t))); }
inline std::optional<at::Tensor> maybe(ct_tensor t) {
  return t ? std::optional<at::Tensor>(ref(t)) : std::nullopt;
}
inline std::vector<int64_t> ints(const intptr_t *values, int32_t count) {
  return std::vector<int64_t>(values, values + count);
}
inline at::Generator &generator(ct_generator g) { return *reinterpret_cast<at::Generator *>(g); }

at::ScalarType scalar_type(int32_t dtype);
int32_t dtype_code(at::ScalarType type);
at::Device device(ct_device d);

/// Runs `body` and turns whatever it throws into status 1 and a message.
template <class Body>
ct_status checked(Body &&body) noexcept {
  try {
    body();
    return 0;
  } catch (const c10::Error &error) {
    set_error(error.what_without_backtrace());
  } catch (const std::exception &error) {
    set_error(error.what());
  } catch (...) {
    set_error("unknown C++ exception");
  }
  return 1;
}

/// Runs `body`, which returns a tensor, and hands the caller a new handle to it.
template <class Body>
ct_status make(ct_tensor *out, Body &&body) noexcept {
  return checked([&] { *out = wrap(body()); });
}

}  // namespace ct
