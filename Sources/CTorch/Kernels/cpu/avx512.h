// Sixteen floats at a time: what the AVX-512 kernels share. Include inside no namespace; every function here is
// compiled for AVX-512, so call it only from kernels that table() enters.
#pragma once

#include "cpu.h"

#if CTORCH_AVX512

#include <c10/util/BFloat16.h>
#include <immintrin.h>

#include <cstdint>
#include <type_traits>

CTORCH_AVX512_BEGIN

namespace ctorch::kernels::cpu::avx512 {

using Lanes = __m512;

/// The first `count` lanes (all of them from 16 on).
inline __mmask16 first_lanes(int64_t count) {
  return count >= 16 ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1u << count) - 1);
}

/// All sixteen. A type of its own, because processors are slow at masked stores of halves even under a full mask.
struct AllLanes {};

inline Lanes load(const float* from) { return _mm512_loadu_ps(from); }
inline Lanes load(const float* from, __mmask16 lanes) { return _mm512_maskz_loadu_ps(lanes, from); }

inline Lanes widen(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline Lanes load(const c10::BFloat16* from) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline Lanes load(const c10::BFloat16* from, __mmask16 lanes) { return widen(_mm256_maskz_loadu_epi16(lanes, from)); }

/// Sixteen bf16 numbers, rounded to nearest even.
inline __m256i narrow(Lanes value) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)); }

inline void store(float* to, Lanes value) { _mm512_storeu_ps(to, value); }
inline void store(float* to, Lanes value, __mmask16 lanes) { _mm512_mask_storeu_ps(to, lanes, value); }
inline void store(c10::BFloat16* to, Lanes value) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), narrow(value));
}
inline void store(c10::BFloat16* to, Lanes value, __mmask16 lanes) {
  _mm256_mask_storeu_epi16(to, lanes, narrow(value));
}

template <class T>
inline Lanes load(const T* from, AllLanes) {
  return load(from);
}
template <class T>
inline void store(T* to, Lanes value, AllLanes) {
  store(to, value);
}

/// Calls `body(first element, its lanes)` for every sixteen of `count` elements and for the rest.
template <class Body>
inline __attribute__((always_inline)) void each_lanes(int64_t count, const Body& body) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) body(i, AllLanes{});
  if (i < count) body(i, first_lanes(count - i));
}

/// 2^x with a relative error of at most 2.6e-6, for numbers that will be rounded to bf16.
inline Lanes exp2_coarse(Lanes x) {
  const Lanes r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF);  // x - floor(x)
  Lanes p = _mm512_set1_ps(0.0135341676f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.0520114612f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.241442757f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.693003835f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.00000259f));
  return _mm512_scalef_ps(p, x);
}

/// 2^x to fp32 accuracy (a few units in the last place): the series of 2^r on [-1/2, 1/2].
inline Lanes exp2_fine(Lanes x) {
  const Lanes n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT);
  const Lanes r = _mm512_sub_ps(x, n);
  Lanes p = _mm512_set1_ps(1.52527338e-5f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.54035304e-4f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.33335581e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.61812911e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.55041087e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.40226507e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.93147181e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

/// x / (1 + e^-y), as exact as T, the type it will be stored in, can show. The power is capped where the quotient is
/// nothing beside any number of interest, to keep infinities and denormal numbers (slow) out of the Newton step.
template <class T>
inline Lanes times_sigmoid(Lanes x, Lanes y) {
  const Lanes power = _mm512_min_ps(_mm512_mul_ps(y, _mm512_set1_ps(-1.44269504f)), _mm512_set1_ps(100.0f));
  const Lanes one = _mm512_set1_ps(1.0f);
  const Lanes sum = _mm512_add_ps(one, std::is_same_v<T, float> ? exp2_fine(power) : exp2_coarse(power));
  const Lanes guess = _mm512_rcp14_ps(sum);
  return _mm512_mul_ps(x, _mm512_fmadd_ps(_mm512_fnmadd_ps(sum, guess, one), guess, guess));
}

/// tanh's form of GELU is x · sigmoid(2 √(2/π) (x + 0.044715 x³)).
template <class T>
inline Lanes gelu_tanh(Lanes x) {
  const Lanes slope = _mm512_fmadd_ps(
      _mm512_mul_ps(x, x), _mm512_set1_ps(1.59576912f * 0.044715f), _mm512_set1_ps(1.59576912f));
  return times_sigmoid<T>(x, _mm512_mul_ps(x, slope));
}

}  // namespace ctorch::kernels::cpu::avx512

CTORCH_AVX512_END

#endif
