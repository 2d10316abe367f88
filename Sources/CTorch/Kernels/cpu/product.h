// The register block of the bf16 products: both operands hold two neighbours of the summed dimension in one 32-bit
// word.
#pragma once

#include "avx512.h"

#if CTORCH_AVX512

CTORCH_AVX512_BEGIN

namespace ctorch::kernels::cpu::avx512 {

/// What a block's sums start from: nothing, what is in memory, or that times one factor per row.
enum class Start { zero, add, scaled };

inline __m512bh as_pairs(__m512i words) { return reinterpret_cast<__m512bh>(words); }

/// c[Rows, Columns·16] = start + a[Rows, depth words] · b[depth words, Columns·16], summed in registers: 24 of the 32
/// with 6×4 or 8×3. b is one packed panel, contiguous; `factors` has one number per row (Start::scaled only).
template <int Rows, int Columns, Start start>
inline void block(
    const uint32_t* a, int64_t a_row, const uint32_t* b, int64_t depth, float* c, int64_t c_row,
    [[maybe_unused]] const float* factors = nullptr) {
  __m512 sum[Rows][Columns];
#pragma clang loop unroll(full)
  for (int i = 0; i < Rows; ++i)
#pragma clang loop unroll(full)
    for (int j = 0; j < Columns; ++j) {
      if constexpr (start == Start::zero)
        sum[i][j] = _mm512_setzero_ps();
      else
        sum[i][j] = _mm512_loadu_ps(c + i * c_row + j * 16);
      if constexpr (start == Start::scaled) sum[i][j] = _mm512_mul_ps(sum[i][j], _mm512_set1_ps(factors[i]));
    }
  for (int64_t p = 0; p < depth; ++p) {
    __m512i columns[Columns];
#pragma clang loop unroll(full)
    for (int j = 0; j < Columns; ++j) columns[j] = _mm512_loadu_si512(b + (p * Columns + j) * 16);
#pragma clang loop unroll(full)
    for (int i = 0; i < Rows; ++i) {
      const __m512i pair = _mm512_set1_epi32(static_cast<int>(a[i * a_row + p]));
#pragma clang loop unroll(full)
      for (int j = 0; j < Columns; ++j) sum[i][j] = _mm512_dpbf16_ps(sum[i][j], as_pairs(pair), as_pairs(columns[j]));
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < Rows; ++i)
#pragma clang loop unroll(full)
    for (int j = 0; j < Columns; ++j) _mm512_storeu_ps(c + i * c_row + j * 16, sum[i][j]);
}

/// Transposes 16 rows of 16 words.
inline void transpose(__m512i (&r)[16]) {
  __m512i t[16];
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
  }
}

}  // namespace ctorch::kernels::cpu::avx512

CTORCH_AVX512_END

#endif
