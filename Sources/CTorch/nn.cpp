// Neural-network operations of ATen, and the fused ones of Kernels/.
#include "Kernels/kernels.h"
#include "shim.h"

using namespace ct;

static std::vector<int64_t> triple(const intptr_t *v) { return ints(v, 3); }
static std::vector<int64_t> pair(const intptr_t *v) { return ints(v, 2); }

ct_status ct_linear(ct_tensor x, ct_tensor weight, ct_tensor bias, ct_tensor *out) {
  return make(out, [&] { return at::linear(ref(x), ref(weight), maybe(bias)); });
}
ct_status ct_scaled_product(ct_tensor x, ct_tensor weight, ct_tensor x_factor, ct_tensor weight_factor, ct_tensor bias,
                            ct_tensor *out) {
  return make(out, [&] {
    if (ref(x).is_cpu()) {
      // As libtorch's own operation computes it without AMX; with AMX that takes a reference product of oneDNN, 200 to 1,700
      // times slower.
      at::Tensor product =
          at::matmul(ref(x).to(at::kFloat) * ref(x_factor), ref(weight).t().to(at::kFloat) * ref(weight_factor));
      if (bias) product.add_(ref(bias));
      return product.to(at::kBFloat16);
    }
    return at::_scaled_mm(ref(x), ref(weight).t(), ref(x_factor), ref(weight_factor), maybe(bias), std::nullopt,
                          at::kBFloat16, ref(x).is_cuda());
  });
}
// The product has the type of x, rounded once from the scale in fp32, as published. A scale on the CPU is a number to libtorch, which stays
// in fp32 beside bf16; one on another device is a tensor, which is rounded to bf16 first unless it has a dimension.
static at::Tensor scaled(const at::Tensor &x, const at::Tensor &scale) {
  if (x.is_cpu()) return x * scale;
  at::Tensor out = at::empty_like(x);
  return at::mul_out(out, x, scale.reshape({1}));
}
ct_status ct_quantize_float8(ct_tensor x, ct_tensor *values, ct_tensor *factor) {
  return checked([&] {
    constexpr double largest = 448;
    const at::Tensor top = at::clamp_min(ref(x).abs().max().to(at::kFloat), 1e-12);
    const at::Tensor scale = (at::reciprocal(top) * largest).clamp_max(largest);
    const at::Tensor product = scaled(ref(x), scale);
    *values = wrap(product.clamp(-largest, largest).to(at::kFloat8_e4m3fn));
    *factor = wrap(scale.reciprocal());
  });
}
ct_status ct_conv1d(ct_tensor x, ct_tensor weight, ct_tensor bias, int64_t stride, int64_t padding, int64_t groups,
                    ct_tensor *out) {
  return make(out, [&] {
    return at::conv1d(ref(x), ref(weight), maybe(bias), at::IntArrayRef{stride}, at::IntArrayRef{padding},
                      at::IntArrayRef{int64_t{1}}, groups);
  });
}
ct_status ct_conv2d(ct_tensor x, ct_tensor weight, ct_tensor bias, const intptr_t *stride, const intptr_t *padding,
                    ct_tensor *out) {
  return make(out, [&] { return at::conv2d(ref(x), ref(weight), maybe(bias), pair(stride), pair(padding)); });
}
// Of one small sample in fp32 libtorch's choice is a convolution of its own that is up to thirteen times slower than oneDNN's,
// which it takes for two (ConvParams::use_mkldnn in ATen/native/Convolution.cpp). So the upper and the lower rows become two.
static bool gains_from_halves(const at::Tensor &x, const at::Tensor &weight, const std::vector<int64_t> &stride,
                              const std::vector<int64_t> &padding) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 5 && weight.dim() == 5 && x.size(0) == 1 &&
         x.size(1) * x.size(2) * x.size(3) <= 20480 && weight.size(3) > 1 && weight.size(3) == 2 * padding[1] + 1 &&
         stride[1] == 1 && x.size(3) >= 4 && x.size(3) % 2 == 0;
}
static at::Tensor conv3d_in_halves(const at::Tensor &x, const at::Tensor &weight, const std::optional<at::Tensor> &bias,
                                   const std::vector<int64_t> &stride, const std::vector<int64_t> &padding) {
  const int64_t half = x.size(3) / 2, rows = half + 2 * padding[1];
  const auto padded = at::constant_pad_nd(x, {0, 0, padding[1], padding[1]});
  const auto halves = at::cat({padded.narrow(3, 0, rows), padded.narrow(3, half, rows)}, 0);
  const std::vector<int64_t> rest{padding[0], 0, padding[2]};
  return at::cat(at::conv3d(halves, weight, bias, stride, rest).chunk(2, 0), 3);
}

ct_status ct_conv3d(ct_tensor x, ct_tensor weight, ct_tensor bias, const intptr_t *stride, const intptr_t *padding,
                    ct_tensor *out) {
  return make(out, [&] {
    const auto strides = triple(stride), widths = triple(padding);
    return gains_from_halves(ref(x), ref(weight), strides, widths)
               ? conv3d_in_halves(ref(x), ref(weight), maybe(bias), strides, widths)
               : at::conv3d(ref(x), ref(weight), maybe(bias), strides, widths);
  });
}
ct_status ct_layer_norm(ct_tensor x, intptr_t width, ct_tensor weight, ct_tensor bias, double eps, ct_tensor *out) {
  return make(out, [&] { return at::layer_norm(ref(x), {width}, maybe(weight), maybe(bias), eps); });
}
ct_status ct_group_norm(ct_tensor x, int64_t groups, ct_tensor weight, ct_tensor bias, double eps, ct_tensor *out) {
  return make(out, [&] { return at::group_norm(ref(x), groups, maybe(weight), maybe(bias), eps); });
}
ct_status ct_embedding(ct_tensor table, ct_tensor ids, ct_tensor *out) {
  return make(out, [&] { return at::embedding(ref(table), ref(ids)); });
}
ct_status ct_softmax(ct_tensor x, intptr_t dim, ct_tensor *out) {
  return make(out, [&] { return at::softmax(ref(x), dim); });
}
ct_status ct_scaled_dot_product_attention(ct_tensor q, ct_tensor k, ct_tensor v, ct_tensor mask, double scale,
                                          ct_tensor *out) {
  return make(out, [&] {
    return at::scaled_dot_product_attention(ref(q), ref(k), ref(v), maybe(mask), 0.0, false, scale);
  });
}
ct_status ct_interpolate_linear(ct_tensor x, int64_t length, bool align_corners, ct_tensor *out) {
  return make(out, [&] { return at::upsample_linear1d(ref(x), {length}, align_corners); });
}
ct_status ct_interpolate_nearest(ct_tensor x, int64_t height, int64_t width, ct_tensor *out) {
  return make(out, [&] { return at::upsample_nearest2d(ref(x), {height, width}); });
}
ct_status ct_interpolate_bilinear(ct_tensor x, int64_t height, int64_t width, bool antialias, ct_tensor *out) {
  return make(out, [&] {
    return antialias ? at::_upsample_bilinear2d_aa(ref(x), {height, width}, false)
                     : at::upsample_bilinear2d(ref(x), {height, width}, false);
  });
}
ct_status ct_weight_norm(ct_tensor v, ct_tensor g, intptr_t dim, ct_tensor *out) {
  return make(out, [&] { return at::_weight_norm(ref(v), ref(g), dim); });
}
ct_status ct_cross_entropy(ct_tensor logits, ct_tensor target, double label_smoothing, ct_tensor *out) {
  return make(out, [&] {
    return at::cross_entropy_loss(ref(logits), ref(target), {}, at::Reduction::Mean, -100, label_smoothing);
  });
}
ct_status ct_dropout(ct_tensor x, double p, ct_tensor *out) {
  return make(out, [&] { return at::dropout(ref(x), p, true); });
}

// MARK: Fused

namespace kernels = ctorch::kernels;

ct_status ct_attention(ct_tensor q, ct_tensor k, ct_tensor v, double scale, ct_tensor *out) {
  return make(out, [&] { return kernels::attention(ref(q), ref(k), ref(v), scale); });
}
ct_status ct_attention_workspace(int64_t queries, int64_t keys, int64_t heads, int64_t width, int32_t dtype,
                                 int64_t *bytes) {
  return checked([&] { *bytes = kernels::attention_workspace(queries, keys, heads, width, scalar_type(dtype)); });
}
ct_status ct_norm_modulate(ct_tensor x, ct_tensor shift, ct_tensor scale, double eps, ct_tensor *out) {
  return make(out, [&] { return kernels::norm_modulate(ref(x), ref(shift), ref(scale), eps); });
}
ct_status ct_rms_norm(ct_tensor x, ct_tensor weight, double eps, ct_tensor *out) {
  return make(out, [&] { return kernels::rms_norm(ref(x), ref(weight), eps); });
}
ct_status ct_rms_norm_rope(ct_tensor x, ct_tensor weight, ct_tensor factors, double eps, int64_t heads,
                           ct_tensor destination, ct_tensor *out) {
  return make(out, [&] {
    return kernels::rms_norm_rope(ref(x), ref(weight), ref(factors), eps, heads,
                                  destination ? ref(destination) : at::Tensor());
  });
}
ct_status ct_rotate_(ct_tensor x, ct_tensor factors) {
  return checked([&] { kernels::rotate_(ref(x), ref(factors)); });
}
ct_status ct_gate_residual(ct_tensor x, ct_tensor y, ct_tensor gate, bool in_place, ct_tensor *out) {
  return make(out, [&] {
    if (!in_place) return kernels::gate_residual(ref(x), ref(y), ref(gate));
    kernels::gate_residual_(ref(x), ref(y), ref(gate));
    return ref(x);
  });
}
bool ct_prefers_packed_linear(void) { return kernels::prefers_packed_linear(); }
ct_status ct_pack_linear(ct_tensor weight, ct_tensor *out) {
  return make(out, [&] { return kernels::pack_linear_weight(ref(weight)); });
}
ct_status ct_linear_packed(ct_tensor x, ct_tensor packed, int64_t features, ct_tensor bias, bool gelu_tanh,
                           ct_tensor *out) {
  return make(out, [&] {
    return kernels::linear_packed(ref(x), ref(packed), features, bias ? ref(bias) : at::Tensor(),
                                  gelu_tanh ? kernels::Activation::gelu_tanh : kernels::Activation::none);
  });
}
ct_status ct_gelu_tanh_(ct_tensor x) {
  return checked([&] { kernels::gelu_tanh_(ref(x)); });
}
ct_status ct_rms_norm_silu(ct_tensor x, ct_tensor gamma, ct_tensor *out) {
  return make(out, [&] { return kernels::rms_norm_silu_channels_last(ref(x), ref(gamma)); });
}
ct_status ct_rms_norm_silu_after(ct_tensor x, ct_tensor gamma, ct_tensor history, int64_t count, ct_tensor *out) {
  return make(out, [&] {
    return kernels::rms_norm_silu_after(ref(x), ref(gamma), history ? ref(history) : at::Tensor(), count);
  });
}
