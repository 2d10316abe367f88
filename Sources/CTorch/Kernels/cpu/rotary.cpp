// Query and key norms and rotary positions.
#include <ATen/Functions.h>

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
using avx512::first_lanes;
using avx512::Lanes;

constexpr int64_t row_grain = 16;

/// Where rows [b, l] start: strides in elements.
template <class T>
struct RowsAt {
  T* data;
  int64_t tokens, batch, row;

  T* at(int64_t i) const { return data + i / tokens * batch + i % tokens * row; }
};

/// 1/√(mean(x²) + eps); leaves the row widened in `wide` (room for whole vectors).
template <class T>
inline float inverse_rms(const T* x, int64_t channels, float eps, float* wide) {
  Lanes sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
  int64_t c = 0;
  for (; c + 64 <= channels; c += 64)
    for (int j = 0; j < 4; ++j) {
      const Lanes value = avx512::load(x + c + 16 * j);
      _mm512_storeu_ps(wide + c + 16 * j, value);
      sum[j] = _mm512_fmadd_ps(value, value, sum[j]);
    }
  for (; c < channels; c += 16) {
    const Lanes value = avx512::load(x + c, first_lanes(channels - c));
    _mm512_storeu_ps(wide + c, value);
    sum[0] = _mm512_fmadd_ps(value, value, sum[0]);
  }
  const float squares =
      _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
  return 1.0f / std::sqrt(squares / static_cast<float>(channels) + eps);
}

/// Eight pairs turned by eight (cosine, sine).
inline Lanes turn(Lanes pairs, Lanes angle) {
  const Lanes crossed = _mm512_mul_ps(_mm512_permute_ps(pairs, 0xb1), _mm512_movehdup_ps(angle));
  return _mm512_fmaddsub_ps(pairs, _mm512_moveldup_ps(angle), crossed);
}

template <class T, class W>
void rms_rows(int64_t count, int64_t channels, const T* x, const W* weight, float eps, T* out) {
  parallel_ranges(count, row_grain, [&](int64_t begin, int64_t end) {
    std::vector<float> wide(channels + 16);
    for (int64_t r = begin; r < end; ++r) {
      const Lanes factor = _mm512_set1_ps(inverse_rms(x + r * channels, channels, eps, wide.data()));
      each_lanes(channels, [&](int64_t c, auto lanes) {
        const Lanes normal = _mm512_mul_ps(_mm512_loadu_ps(wide.data() + c), factor);
        avx512::store(out + r * channels + c, _mm512_mul_ps(normal, avx512::load(weight + c, lanes)), lanes);
      });
    }
  });
}

template <class T, class W>
void rms_rope_rows(
    int64_t count, int64_t heads, int64_t width, const RowsAt<const T>& x, const W* weight, const float* cos_sin,
    float eps, const RowsAt<T>& out) {
  const int64_t channels = heads * width;
  parallel_ranges(count, row_grain, [&](int64_t begin, int64_t end) {
    std::vector<float> wide(channels + 16);
    for (int64_t r = begin; r < end; ++r) {
      const Lanes factor = _mm512_set1_ps(inverse_rms(x.at(r), channels, eps, wide.data()));
      const float* angles = cos_sin + r % x.tokens * width;
      T* to = out.at(r);
      each_lanes(width, [&](int64_t d, auto lanes) {
        const Lanes angle = avx512::load(angles + d, lanes);
        for (int64_t c = d; c < channels; c += width) {
          const Lanes normal = _mm512_mul_ps(_mm512_loadu_ps(wide.data() + c), factor);
          const Lanes value = _mm512_mul_ps(normal, avx512::load(weight + c, lanes));
          avx512::store(to + c, turn(value, angle), lanes);
        }
      });
    }
  });
}

template <class T>
void rotate_rows(int64_t count, int64_t heads, int64_t width, const RowsAt<T>& x, int64_t head_stride,
                 const float* cos_sin) {
  parallel_ranges(count, row_grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* angles = cos_sin + r % x.tokens * width;
      T* row = x.at(r);
      each_lanes(width, [&](int64_t d, auto lanes) {
        const Lanes angle = avx512::load(angles + d, lanes);
        for (int64_t h = 0; h < heads; ++h) {
          T* at = row + h * head_stride + d;
          avx512::store(at, turn(avx512::load(at, lanes), angle), lanes);
        }
      });
    }
  });
}

}  // namespace

CTORCH_AVX512_END

namespace {

bool readable_angles(const at::Tensor& cos_sin, int64_t tokens, int64_t width) {
  return plain(cos_sin) && cos_sin.scalar_type() == at::kFloat && cos_sin.is_contiguous() && width % 2 == 0 &&
         cos_sin.numel() == tokens * width;
}

bool readable_weight(const at::Tensor& weight, int64_t channels) {
  return plain(weight) && weight.numel() == channels && weight.is_contiguous();
}

template <class T>
RowsAt<T> rows_at(const at::Tensor& t) {
  return {static_cast<T*>(const_cast<void*>(t.const_data_ptr())), t.size(1), t.stride(0), t.stride(1)};
}

bool rms_norm_fits(const at::Tensor& x, const at::Tensor& weight, double) {
  return plain(x) && x.dim() >= 1 && x.is_contiguous() && x.numel() > 0 && readable_weight(weight, x.size(-1));
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  at::Tensor out = at::empty_like(x);
  const int64_t channels = x.size(-1);
  with_type(x.scalar_type(), [&](auto element) {
    with_type(weight.scalar_type(), [&](auto factor) {
      using T = decltype(element);
      rms_rows(
          x.numel() / channels, channels, static_cast<const T*>(x.const_data_ptr()),
          static_cast<const decltype(factor)*>(weight.const_data_ptr()), static_cast<float>(eps),
          static_cast<T*>(out.mutable_data_ptr()));
    });
  });
  return out;
}

bool rms_norm_rope_fits(
    const at::Tensor& x, const at::Tensor& weight, const at::Tensor& cos_sin, double, int64_t heads,
    const at::Tensor& out) {
  const auto writable = [&](const at::Tensor& t) {
    return plain(t) && t.sizes() == x.sizes() && t.scalar_type() == x.scalar_type() && t.stride(2) == 1;
  };
  return plain(x) && x.dim() == 3 && x.numel() > 0 && x.stride(2) == 1 && heads > 0 && x.size(2) % heads == 0 &&
         readable_weight(weight, x.size(2)) && readable_angles(cos_sin, x.size(1), x.size(2) / heads) &&
         (!out.defined() || writable(out));
}

at::Tensor rms_norm_rope(
    const at::Tensor& x, const at::Tensor& weight, const at::Tensor& cos_sin, double eps, int64_t heads,
    const at::Tensor& out) {
  at::Tensor to = out.defined() ? out : at::empty(x.sizes(), x.options());
  with_type(x.scalar_type(), [&](auto element) {
    with_type(weight.scalar_type(), [&](auto factor) {
      using T = decltype(element);
      rms_rope_rows(
          x.size(0) * x.size(1), heads, x.size(2) / heads, rows_at<const T>(x),
          static_cast<const decltype(factor)*>(weight.const_data_ptr()),
          static_cast<const float*>(cos_sin.const_data_ptr()), static_cast<float>(eps), rows_at<T>(to));
    });
  });
  return to;
}

bool rotation_fits(const at::Tensor& x, const at::Tensor& cos_sin) {
  return plain(x) && x.dim() == 4 && x.stride(3) == 1 && x.numel() > 0 &&
         readable_angles(cos_sin, x.size(1), x.size(3));
}

void rotate_(const at::Tensor& x, const at::Tensor& cos_sin) {
  with_type(x.scalar_type(), [&](auto element) {
    rotate_rows(
        x.size(0) * x.size(1), x.size(2), x.size(3), rows_at<decltype(element)>(x), x.stride(2),
        static_cast<const float*>(cos_sin.const_data_ptr()));
  });
}

}  // namespace

void add_rotary(KernelTable& table) {
  table.rms_norm = {rms_norm_fits, rms_norm};
  table.rms_norm_rope = {rms_norm_rope_fits, rms_norm_rope};
  table.rotate_ = {rotation_fits, rotate_};
}

}  // namespace ctorch::kernels::cpu

#endif
