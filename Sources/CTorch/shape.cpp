// Views, permutations, joins and padding.
#include "shim.h"

using namespace ct;

ct_status ct_reshape(ct_tensor a, const intptr_t *sizes, int32_t rank, ct_tensor *out) {
  return make(out, [&] { return ref(a).reshape(ints(sizes, rank)); });
}
ct_status ct_permute(ct_tensor a, const intptr_t *dims, int32_t rank, ct_tensor *out) {
  return make(out, [&] { return ref(a).permute(ints(dims, rank)); });
}
ct_status ct_transpose(ct_tensor a, intptr_t d0, intptr_t d1, ct_tensor *out) {
  return make(out, [&] { return ref(a).transpose(d0, d1); });
}
ct_status ct_as_strided(ct_tensor a, const intptr_t *sizes, const intptr_t *strides, int32_t rank, ct_tensor *out) {
  return make(out, [&] { return ref(a).as_strided(ints(sizes, rank), ints(strides, rank)); });
}
ct_status ct_expand(ct_tensor a, const intptr_t *sizes, int32_t rank, ct_tensor *out) {
  return make(out, [&] { return ref(a).expand(ints(sizes, rank)); });
}
ct_status ct_unsqueeze(ct_tensor a, intptr_t dim, ct_tensor *out) {
  return make(out, [&] { return ref(a).unsqueeze(dim); });
}
ct_status ct_squeeze(ct_tensor a, intptr_t dim, ct_tensor *out) {
  return make(out, [&] { return ref(a).squeeze(dim); });
}
ct_status ct_flatten(ct_tensor a, intptr_t start, intptr_t end, ct_tensor *out) {
  return make(out, [&] { return ref(a).flatten(start, end); });
}
ct_status ct_unflatten(ct_tensor a, intptr_t dim, const intptr_t *sizes, int32_t rank, ct_tensor *out) {
  return make(out, [&] { return ref(a).unflatten(dim, ints(sizes, rank)); });
}
ct_status ct_narrow(ct_tensor a, intptr_t dim, intptr_t start, intptr_t length, ct_tensor *out) {
  return make(out, [&] { return ref(a).narrow(dim, start, length); });
}
ct_status ct_slice(ct_tensor a, intptr_t dim, intptr_t start, intptr_t end, intptr_t step, ct_tensor *out) {
  return make(out, [&] { return ref(a).slice(dim, start, end, step); });
}
ct_status ct_select(ct_tensor a, intptr_t dim, intptr_t index, ct_tensor *out) {
  return make(out, [&] { return ref(a).select(dim, index); });
}
ct_status ct_index_select(ct_tensor a, intptr_t dim, ct_tensor index, ct_tensor *out) {
  return make(out, [&] { return ref(a).index_select(dim, ref(index)); });
}
ct_status ct_gather(ct_tensor a, intptr_t dim, ct_tensor index, ct_tensor *out) {
  return make(out, [&] { return ref(a).gather(dim, ref(index)); });
}

static std::vector<at::Tensor> tensors(const ct_tensor *list, int32_t count) {
  std::vector<at::Tensor> result;
  result.reserve(count);
  for (int32_t i = 0; i < count; i++) result.push_back(ref(list[i]));
  return result;
}

ct_status ct_cat(const ct_tensor *list, int32_t count, intptr_t dim, ct_tensor *out) {
  return make(out, [&] { return at::cat(tensors(list, count), dim); });
}
ct_status ct_stack(const ct_tensor *list, int32_t count, intptr_t dim, ct_tensor *out) {
  return make(out, [&] { return at::stack(tensors(list, count), dim); });
}
ct_status ct_pad(ct_tensor a, const intptr_t *widths, int32_t count, double value, ct_tensor *out) {
  return make(out, [&] { return at::constant_pad_nd(ref(a), ints(widths, count), value); });
}
ct_status ct_pad_replicate(ct_tensor a, const intptr_t *widths, int32_t count, ct_tensor *out) {
  return make(out, [&] { return at::pad(ref(a), ints(widths, count), "replicate"); });
}
ct_status ct_flip(ct_tensor a, const intptr_t *dims, int32_t count, ct_tensor *out) {
  return make(out, [&] { return ref(a).flip(ints(dims, count)); });
}
ct_status ct_roll(ct_tensor a, intptr_t shift, intptr_t dim, ct_tensor *out) {
  return make(out, [&] { return ref(a).roll(shift, dim); });
}
