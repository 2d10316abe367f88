// LayerNorm, modulation and gated residuals of the transformer, row by row.
#include <ATen/Functions.h>

#include <cmath>
#include <type_traits>
#include <vector>

#include "avx512.h"
#include "cpu.h"
#include "parallel.h"

#if CTORCH_AVX512

namespace ctorch::kernels::cpu {

namespace {

constexpr int64_t row_grain = 16;  // rows that make a thread worth waking, at a thousand channels or so

/// x as rows of C, with the row of modulation that belongs to each.
struct Rows {
  int64_t batch, tokens, channels;

  explicit Rows(const at::Tensor& x)
      : batch(x.dim() > 2 ? x.size(0) : 1), tokens(x.numel() / (batch * x.size(-1))), channels(x.size(-1)) {}

  int64_t count() const { return batch * tokens; }
};

/// A modulation [B or 1, F, C] (or [F, C]) in memory.
template <class T>
struct Modulation {
  const T* data;
  int64_t batch, frame, tokens_per_frame, tokens;

  Modulation(const at::Tensor& t, const Rows& rows)
      : data(static_cast<const T*>(t.const_data_ptr())),
        batch(t.dim() == 3 && t.size(0) > 1 ? t.stride(0) : 0),
        frame(t.stride(-2)),
        tokens_per_frame(rows.tokens / t.size(-2)),
        tokens(rows.tokens) {}

  const T* at(int64_t row) const { return data + row / tokens * batch + row % tokens / tokens_per_frame * frame; }
};

bool readable_rows(const at::Tensor& x) {
  return plain(x) && x.dim() >= 2 && x.is_contiguous() && x.numel() > 0;
}

bool readable_modulation(const at::Tensor& m, const at::Tensor& x) {
  if (!plain(m) || (m.dim() != 2 && m.dim() != 3) || m.size(-1) != x.size(-1) || m.stride(-1) != 1) return false;
  const Rows rows(x);
  return m.size(-2) > 0 && rows.tokens % m.size(-2) == 0 &&
         (m.dim() == 2 || m.size(0) == 1 || m.size(0) == rows.batch);
}

}  // namespace

CTORCH_AVX512_BEGIN

namespace {

using avx512::each_lanes;
using avx512::first_lanes;
using avx512::Lanes;

/// Mean and 1/√(variance + eps) of `channels` floats, the mean taken off before squaring.
inline void moments(const float* row, int64_t channels, float eps, float& mean, float& inverse) {
  Lanes sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
  int64_t c = 0;
  for (; c + 64 <= channels; c += 64)
    for (int j = 0; j < 4; ++j) sum[j] = _mm512_add_ps(sum[j], _mm512_loadu_ps(row + c + 16 * j));
  for (; c < channels; c += 16)
    sum[0] = _mm512_add_ps(sum[0], _mm512_maskz_loadu_ps(first_lanes(channels - c), row + c));
  mean = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3]))) /
         static_cast<float>(channels);
  const Lanes center = _mm512_set1_ps(mean);
  for (int j = 0; j < 4; ++j) sum[j] = _mm512_setzero_ps();
  c = 0;
  for (; c + 64 <= channels; c += 64)
    for (int j = 0; j < 4; ++j) {
      const Lanes d = _mm512_sub_ps(_mm512_loadu_ps(row + c + 16 * j), center);
      sum[j] = _mm512_fmadd_ps(d, d, sum[j]);
    }
  for (; c < channels; c += 16) {
    const __mmask16 lanes = first_lanes(channels - c);
    const Lanes d = _mm512_maskz_sub_ps(lanes, _mm512_maskz_loadu_ps(lanes, row + c), center);
    sum[0] = _mm512_fmadd_ps(d, d, sum[0]);
  }
  const float squares =
      _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
  inverse = 1.0f / std::sqrt(squares / static_cast<float>(channels) + eps);
}

/// Widens a row into `to` (room for whole vectors).
template <class T>
inline void widen_row(const T* from, int64_t channels, float* to) {
  each_lanes(channels, [&](int64_t c, auto lanes) { _mm512_storeu_ps(to + c, avx512::load(from + c, lanes)); });
}

/// to = normal(row) · (1 + scale) + shift
template <class T, class M>
inline void modulate_row(
    const float* row, int64_t channels, float eps, const M* shift, const M* scale, T* to) {
  float mean, inverse;
  moments(row, channels, eps, mean, inverse);
  const Lanes center = _mm512_set1_ps(mean), factor = _mm512_set1_ps(inverse), one = _mm512_set1_ps(1.0f);
  each_lanes(channels, [&](int64_t c, auto lanes) {
    const Lanes normal = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(row + c), center), factor);
    Lanes slope = _mm512_add_ps(one, avx512::load(scale + c, lanes));
    if constexpr (!std::is_same_v<M, float>) slope = avx512::widen(avx512::narrow(slope));  // as 1 + scale is in bf16
    avx512::store(to + c, _mm512_fmadd_ps(normal, slope, avx512::load(shift + c, lanes)), lanes);
  });
}

template <class T, class M>
void norm_modulate_rows(
    const Rows& rows, const T* x, const Modulation<M>& shift, const Modulation<M>& scale, float eps, T* out) {
  parallel_ranges(rows.count(), row_grain, [&](int64_t begin, int64_t end) {
    std::vector<float> wide(rows.channels + 16);
    for (int64_t r = begin; r < end; ++r) {
      widen_row(x + r * rows.channels, rows.channels, wide.data());
      modulate_row(wide.data(), rows.channels, eps, shift.at(r), scale.at(r), out + r * rows.channels);
    }
  });
}

template <class T, class M>
void gate_rows(const Rows& rows, const T* x, const T* y, const Modulation<M>& gate, T* out) {
  parallel_ranges(rows.count(), row_grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t at = r * rows.channels;
      const M* g = gate.at(r);
      each_lanes(rows.channels, [&](int64_t c, auto lanes) {
        const Lanes sum = _mm512_fmadd_ps(
            avx512::load(y + at + c, lanes), avx512::load(g + c, lanes), avx512::load(x + at + c, lanes));
        avx512::store(out + at + c, sum, lanes);
      });
    }
  });
}

}  // namespace

CTORCH_AVX512_END

namespace {

template <class T>
const T* data(const at::Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}

template <class T>
T* mutable_data(const at::Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

bool norm_modulate_fits(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale, double) {
  return readable_rows(x) && readable_modulation(shift, x) && readable_modulation(scale, x) &&
         shift.scalar_type() == scale.scalar_type();
}

at::Tensor norm_modulate(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale, double eps) {
  at::Tensor out = at::empty_like(x);
  const Rows rows(x);
  with_type(x.scalar_type(), [&](auto element) {
    with_type(shift.scalar_type(), [&](auto factor) {
      using T = decltype(element);
      using M = Modulation<decltype(factor)>;
      norm_modulate_rows(
          rows, data<T>(x), M(shift, rows), M(scale, rows), static_cast<float>(eps), mutable_data<T>(out));
    });
  });
  return out;
}

bool gate_fits(const at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) {
  return readable_rows(x) && readable_rows(y) && y.sizes() == x.sizes() && y.scalar_type() == x.scalar_type() &&
         readable_modulation(gate, x);
}

void gate_into(const at::Tensor& x, const at::Tensor& y, const at::Tensor& gate, const at::Tensor& out) {
  const Rows rows(x);
  with_type(x.scalar_type(), [&](auto element) {
    with_type(gate.scalar_type(), [&](auto factor) {
      using T = decltype(element);
      gate_rows<T>(rows, data<T>(x), data<T>(y), Modulation<decltype(factor)>(gate, rows), mutable_data<T>(out));
    });
  });
}

at::Tensor gate_residual(const at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) {
  at::Tensor out = at::empty_like(x);
  gate_into(x, y, gate, out);
  return out;
}

void gate_residual_(const at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) { gate_into(x, y, gate, x); }

}  // namespace

void add_modulation(KernelTable& table) {
  table.norm_modulate = {norm_modulate_fits, norm_modulate};
  table.gate_residual = {gate_fits, gate_residual};
  table.gate_residual_ = {gate_fits, gate_residual_};
}

}  // namespace ctorch::kernels::cpu

#endif
