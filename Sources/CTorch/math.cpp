// Element-wise operations, reductions and in-place arithmetic.
#include "shim.h"

using namespace ct;

#define UNARY(name) \
  ct_status ct_##name(ct_tensor a, ct_tensor *out) { return make(out, [&] { return at::name(ref(a)); }); }
CT_UNARY(UNARY)

#define BINARY(name) \
  ct_status ct_##name(ct_tensor a, ct_tensor b, ct_tensor *out) { return make(out, [&] { return at::name(ref(a), ref(b)); }); } \
  ct_status ct_##name##_number(ct_tensor a, double b, ct_tensor *out) { return make(out, [&] { return at::name(ref(a), number(ref(a), b)); }); }

// A whole number stays whole beside integer tensors, so it does not promote them to floating point.
static at::Scalar number(const at::Tensor &a, double b) {
  const bool whole = at::isIntegralType(a.scalar_type(), true) && b == static_cast<double>(static_cast<int64_t>(b));
  return whole ? at::Scalar(static_cast<int64_t>(b)) : at::Scalar(b);
}
CT_BINARY(BINARY)

#define PAIR(name) \
  ct_status ct_##name(ct_tensor a, ct_tensor b, ct_tensor *out) { return make(out, [&] { return at::name(ref(a), ref(b)); }); }
PAIR(logical_and) PAIR(logical_or) PAIR(matmul)

ct_status ct_gelu(ct_tensor a, bool tanh_form, ct_tensor *out) {
  return make(out, [&] { return at::gelu(ref(a), tanh_form ? "tanh" : "none"); });
}
ct_status ct_clamp(ct_tensor a, double low, double high, ct_tensor *out) {
  return make(out, [&] { return at::clamp(ref(a), at::Scalar(low), at::Scalar(high)); });
}
ct_status ct_number_sub(double a, ct_tensor b, ct_tensor *out) {
  return make(out, [&] { return at::rsub(ref(b), number(ref(b), a)); });
}
ct_status ct_number_div(double a, ct_tensor b, ct_tensor *out) {
  return make(out, [&] { return at::reciprocal(ref(b)).mul(a); });
}
ct_status ct_masked_fill(ct_tensor a, ct_tensor mask, double value, ct_tensor *out) {
  return make(out, [&] { return at::masked_fill(ref(a), ref(mask), value); });
}

// MARK: In place

ct_status ct_copy_(ct_tensor a, ct_tensor source, bool waits) {
  return checked([&] { mut(a).copy_(ref(source), /*non_blocking=*/!waits); });
}
ct_status ct_add_(ct_tensor a, ct_tensor b, double alpha) {
  return checked([&] { mut(a).add_(ref(b), number(ref(a), alpha)); });
}
ct_status ct_mul_(ct_tensor a, ct_tensor b) {
  return checked([&] { mut(a).mul_(ref(b)); });
}
ct_status ct_div_(ct_tensor a, ct_tensor b) {
  return checked([&] { mut(a).div_(ref(b)); });
}
ct_status ct_add_number_(ct_tensor a, double b) {
  return checked([&] { mut(a).add_(number(ref(a), b)); });
}
ct_status ct_mul_number_(ct_tensor a, double b) {
  return checked([&] { mut(a).mul_(number(ref(a), b)); });
}
ct_status ct_fill_(ct_tensor a, double value) {
  return checked([&] { mut(a).fill_(value); });
}
ct_status ct_normal_(ct_tensor a, double mean, double deviation, ct_generator g) {
  return checked([&] { mut(a).normal_(mean, deviation, generator(g)); });
}
ct_status ct_uniform_(ct_tensor a, double low, double high, ct_generator g) {
  return checked([&] { mut(a).uniform_(low, high, generator(g)); });
}

// MARK: Reductions

/// The given dimensions, or all of them where none is given.
static std::vector<int64_t> axes(const at::Tensor &a, const intptr_t *dims, int32_t count) {
  if (count > 0) return ints(dims, count);
  std::vector<int64_t> all(a.dim());
  for (size_t i = 0; i < all.size(); i++) all[i] = static_cast<int64_t>(i);
  return all;
}

ct_status ct_sum(ct_tensor a, const intptr_t *dims, int32_t count, bool keep, ct_tensor *out) {
  return make(out, [&] { return at::sum(ref(a), axes(ref(a), dims, count), keep); });
}
ct_status ct_mean(ct_tensor a, const intptr_t *dims, int32_t count, bool keep, ct_tensor *out) {
  return make(out, [&] { return at::mean(ref(a), axes(ref(a), dims, count), keep); });
}
ct_status ct_variance(ct_tensor a, const intptr_t *dims, int32_t count, bool unbiased, bool keep, ct_tensor *out) {
  return make(out, [&] { return at::var(ref(a), axes(ref(a), dims, count), unbiased, keep); });
}
ct_status ct_amax(ct_tensor a, const intptr_t *dims, int32_t count, bool keep, ct_tensor *out) {
  return make(out, [&] { return at::amax(ref(a), axes(ref(a), dims, count), keep); });
}
ct_status ct_amin(ct_tensor a, const intptr_t *dims, int32_t count, bool keep, ct_tensor *out) {
  return make(out, [&] { return at::amin(ref(a), axes(ref(a), dims, count), keep); });
}
ct_status ct_argmax(ct_tensor a, intptr_t dim, bool keep, ct_tensor *out) {
  return make(out, [&] { return at::argmax(ref(a), dim, keep); });
}
ct_status ct_argmin(ct_tensor a, intptr_t dim, bool keep, ct_tensor *out) {
  return make(out, [&] { return at::argmin(ref(a), dim, keep); });
}
ct_status ct_norm(ct_tensor a, double p, const intptr_t *dims, int32_t count, bool keep, ct_tensor *out) {
  return make(out, [&] { return at::norm(ref(a), p, axes(ref(a), dims, count), keep); });
}
ct_status ct_all_equal(ct_tensor a, ct_tensor b, bool *out) {
  return checked([&] { *out = at::equal(ref(a), ref(b)); });
}
