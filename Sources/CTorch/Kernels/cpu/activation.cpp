// The decoder's channel norm with SiLU, and GELU.
#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "avx512.h"
#include "cpu.h"
#include "parallel.h"

#if CTORCH_AVX512

namespace ctorch::kernels::cpu {

CTORCH_AVX512_BEGIN

namespace {

using avx512::each_lanes;
using avx512::Lanes;

constexpr int64_t element_grain = 16384;

/// `pixels` rows of `channels`; gamma as of `gamma_factors`.
template <class T, bool Silu>
void norm_pixels(int64_t pixels, int64_t channels, const T* x, const float* gamma, T* out) {
  const int64_t grain = std::max<int64_t>(1, element_grain / channels);
  parallel_ranges(pixels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const T* from = x + p * channels;
      T* to = out + p * channels;
      Lanes squares = _mm512_setzero_ps();
      each_lanes(channels, [&](int64_t c, auto lanes) {
        const Lanes value = avx512::load(from + c, lanes);
        squares = _mm512_fmadd_ps(value, value, squares);
      });
      const Lanes inverse = _mm512_set1_ps(1.0f / std::max(std::sqrt(_mm512_reduce_add_ps(squares)), 1e-12f));
      each_lanes(channels, [&](int64_t c, auto lanes) {
        const Lanes normal =
            _mm512_mul_ps(_mm512_mul_ps(avx512::load(from + c, lanes), inverse), _mm512_loadu_ps(gamma + c));
        avx512::store(to + c, Silu ? avx512::times_sigmoid<T>(normal, normal) : normal, lanes);
      });
    }
  });
}

template <class T>
void gelu_elements(int64_t count, T* x) {
  parallel_ranges(count / 16 + 1, element_grain / 16, [&](int64_t begin, int64_t end) {
    T* from = x + begin * 16;
    each_lanes(std::min(end * 16, count) - begin * 16, [&](int64_t i, auto lanes) {
      avx512::store(from + i, avx512::gelu_tanh<T>(avx512::load(from + i, lanes)), lanes);
    });
  });
}

}  // namespace

CTORCH_AVX512_END

namespace {

bool channels_last(const at::Tensor& x) {
  return (x.dim() == 5 && x.is_contiguous(at::MemoryFormat::ChannelsLast3d)) ||
         (x.dim() == 4 && x.is_contiguous(at::MemoryFormat::ChannelsLast));
}

bool norm_fits(const at::Tensor& x, const at::Tensor& gamma) {
  return plain(x) && plain(gamma) && channels_last(x) && x.numel() > 0 && gamma.numel() == x.size(1);
}

/// √C · gamma, padded with zeros to whole vectors.
std::vector<float> gamma_factors(const at::Tensor& gamma) {
  const int64_t channels = gamma.numel();
  const at::Tensor wide = gamma.reshape({channels}).to(at::kFloat).contiguous();
  std::vector<float> factors(channels + 16, 0.0f);
  const float* from = static_cast<const float*>(wide.const_data_ptr());
  for (int64_t c = 0; c < channels; ++c) factors[c] = from[c] * std::sqrt(static_cast<float>(channels));
  return factors;
}

template <class T>
void norm_elements(const at::Tensor& x, const float* gamma, bool silu, const at::Tensor& out) {
  const int64_t channels = x.size(1), pixels = x.numel() / channels;
  const T* from = static_cast<const T*>(x.const_data_ptr());
  T* to = static_cast<T*>(out.mutable_data_ptr());
  if (silu)
    norm_pixels<T, true>(pixels, channels, from, gamma, to);
  else
    norm_pixels<T, false>(pixels, channels, from, gamma, to);
}

/// Both channels-last without gaps.
void norm_tensor(const at::Tensor& x, const float* gamma, bool silu, const at::Tensor& out) {
  if (x.scalar_type() == at::kBFloat16)
    norm_elements<c10::BFloat16>(x, gamma, silu, out);
  else
    norm_elements<float>(x, gamma, silu, out);
}

at::Tensor rms_norm_silu_channels_last(const at::Tensor& x, const at::Tensor& gamma, bool silu) {
  at::Tensor out = at::empty_like(x);
  norm_tensor(x, gamma_factors(gamma).data(), silu, out);
  return out;
}

at::Tensor rms_norm_silu_after(
    const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& history, int64_t count) {
  const int64_t frames = x.size(2);
  const at::Tensor out = at::empty(
      {x.size(0), x.size(1), count + frames, x.size(3), x.size(4)}, x.options(), at::MemoryFormat::ChannelsLast3d);
  at::Tensor before = out.narrow(2, 0, count);
  if (history.defined())
    before.copy_(history);
  else
    before.zero_();
  const std::vector<float> factors = gamma_factors(gamma);
  for (int64_t b = 0; b < x.size(0); ++b)
    norm_tensor(x.narrow(0, b, 1), factors.data(), true, out.narrow(0, b, 1).narrow(2, count, frames));
  return out;
}

bool gelu_fits(const at::Tensor& x) { return plain(x) && x.is_non_overlapping_and_dense() && x.numel() > 0; }

void gelu_tanh_(const at::Tensor& x) {
  if (x.scalar_type() == at::kBFloat16)
    gelu_elements(x.numel(), static_cast<c10::BFloat16*>(x.mutable_data_ptr()));
  else
    gelu_elements(x.numel(), static_cast<float*>(x.mutable_data_ptr()));
}

}  // namespace

void add_activation(KernelTable& table) {
  table.rms_norm_silu_channels_last = {
      [](const at::Tensor& x, const at::Tensor& gamma, bool) { return norm_fits(x, gamma); },
      rms_norm_silu_channels_last};
  table.rms_norm_silu_after = {
      [](const at::Tensor& x, const at::Tensor& gamma, const at::Tensor&, int64_t) {
        return x.dim() == 5 && norm_fits(x, gamma);
      },
      rms_norm_silu_after};
  table.gelu_tanh_ = {gelu_fits, gelu_tanh_};
}

}  // namespace ctorch::kernels::cpu

#endif
