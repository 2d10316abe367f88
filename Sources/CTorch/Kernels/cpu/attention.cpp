// Flash attention for bf16 on AVX-512 BF16.
//
// Keys and values are packed once per head into the layout of the dot-product instruction (two bf16 neighbours of the
// summed dimension side by side, then 64 or so columns), in tiles of 256 keys. Then every tile of queries walks over
// the key tiles: scores by one register-blocked product, an online softmax in fp32, weights rounded to bf16, and the
// output by the same product. A query tile's scratch and a key tile stay in the second-level cache.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>

#include "avx512.h"
#include "cpu.h"
#include "parallel.h"
#include "product.h"

#if CTORCH_AVX512

namespace ctorch::kernels::cpu {

namespace {

constexpr int64_t key_tile = 256;           // keys packed and visited together
constexpr int64_t query_tile = 48;          // a multiple of every block height below
constexpr int64_t score_columns = 64;       // columns of a packed panel of keys
constexpr int64_t packed_bytes = 64 << 20;  // heads are taken in groups whose packed keys and values fit here

/// One operand in memory: [B, L, H, D] with D contiguous, strides counted in elements.
struct View {
  const c10::BFloat16* data;
  int64_t batch, row, head;

  explicit View(const at::Tensor& t)
      : data(static_cast<const c10::BFloat16*>(t.const_data_ptr())),
        batch(t.stride(0)),
        row(t.stride(1)),
        head(t.stride(2)) {}

  const c10::BFloat16* at(int64_t b, int64_t l, int64_t h) const { return data + b * batch + l * row + h * head; }
};

/// The sizes of one call.
struct Shape {
  int64_t batch, queries, keys, heads, width;
  int64_t value_columns;  // columns of a packed panel of values: divides width
  float scale;            // includes log2(e): weights are powers of two

  int64_t key_tiles() const { return (keys + key_tile - 1) / key_tile; }
  int64_t query_tiles() const { return (queries + query_tile - 1) / query_tile; }
  /// Pairs (32-bit words) of a packed key tile; a value tile has as many.
  int64_t tile_words() const { return key_tile * width / 2; }
  int64_t head_words() const { return key_tiles() * tile_words() * 2; }
  int64_t all_heads() const { return batch * heads; }
  /// How many heads are packed together.
  int64_t group() const {
    return std::clamp<int64_t>(packed_bytes / (head_words() * static_cast<int64_t>(sizeof(uint32_t))), 1, all_heads());
  }
};

/// Scratch of one thread for one query tile.
struct alignas(64) Scratch {
  std::array<uint32_t, query_tile * 64> q;                          // [rows, D/2]
  std::array<float, query_tile * key_tile> scores;                  // [rows, keys]
  std::array<uint32_t, query_tile * key_tile / 2> weights;          // [rows, keys/2]
  std::array<float, query_tile * 128> out;                          // [rows, D]
  std::array<float, query_tile> highest, total, shrink;
};

}  // namespace

CTORCH_AVX512_BEGIN

namespace {

using avx512::first_lanes;
using avx512::Start;

/// `block` over all rows (rounded up to whole blocks) and panels.
template <int Rows, int Columns, Start start>
void product(
    const uint32_t* a, int64_t a_row, const uint32_t* b, int64_t depth, int64_t b_panel, float* c, int64_t c_row,
    int64_t rows, int64_t panels, const float* shrink) {
  for (int64_t panel = 0; panel < panels; ++panel)
    for (int64_t row = 0; row < rows; row += Rows)
      avx512::block<Rows, Columns, start>(
          a + row * a_row, a_row, b + panel * b_panel, depth, c + row * c_row + panel * Columns * 16, c_row,
          shrink + row);
}

/// Packs `count` keys: panels of 64 keys, each [D/2, 64] pairs of neighbouring channels; missing keys are zero.
void pack_keys(const View& k, int64_t b, int64_t first, int64_t h, int64_t count, int64_t width, uint32_t* to) {
  const int64_t pairs = width / 2;
  for (int64_t panel = 0; panel * score_columns < count; ++panel)
    for (int64_t group = 0; group < score_columns; group += 16)
      for (int64_t p = 0; p < pairs; p += 16) {
        const __mmask16 lanes = first_lanes(pairs - p);
        __m512i rows[16];
#pragma clang loop unroll(full)
        for (int64_t i = 0; i < 16; ++i) {
          const int64_t key = panel * score_columns + group + i;
          rows[i] = key < count ? _mm512_maskz_loadu_epi32(lanes, k.at(b, first + key, h) + 2 * p)
                                : _mm512_setzero_si512();
        }
        avx512::transpose(rows);
#pragma clang loop unroll(full)
        for (int64_t i = 0; i < 16; ++i)
          if (p + i < pairs) _mm512_storeu_si512(to + (panel * pairs + p + i) * score_columns + group, rows[i]);
      }
}

/// Packs `count` values: panels of `columns` channels, each [keys/2, columns] pairs of neighbouring keys; missing keys
/// up to a whole number of score panels are zero.
void pack_values(
    const View& v, int64_t b, int64_t first, int64_t h, int64_t count, int64_t width, int64_t columns, uint32_t* to) {
  const int64_t pairs = (count + score_columns - 1) / score_columns * score_columns / 2;
  for (int64_t p = 0; p < pairs; ++p)
    for (int64_t d = 0; d < width; d += 16) {
      const __m256i none = _mm256_setzero_si256();
      const auto channels = [&](int64_t key) {
        return key < count ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(v.at(b, first + key, h) + d)) : none;
      };
      const __m256i even = channels(2 * p), odd = channels(2 * p + 1);
      const __m512i words =
          _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
      _mm512_storeu_si512(to + (d / columns * (key_tile / 2) + p) * columns + d % columns, words);
    }
}

/// One step of the online softmax over `keys` new scores of each row: weights 2^(scale·score − highest), the running
/// maximum and sum, and by how much what was summed before has to shrink.
void soften(Scratch& s, int64_t rows, int64_t keys, float scale) {
  const __m512 factor = _mm512_set1_ps(scale);
  const int64_t padded = (keys + score_columns - 1) / score_columns * score_columns;
  for (int64_t row = 0; row < rows; ++row) {
    float* scores = s.scores.data() + row * key_tile;
    for (int64_t i = keys; i < padded; ++i) scores[i] = -std::numeric_limits<float>::infinity();
    __m512 high[4];
    for (int j = 0; j < 4; ++j) high[j] = _mm512_loadu_ps(scores + 16 * j);
    for (int64_t i = 64; i < padded; i += 64)
      for (int j = 0; j < 4; ++j) high[j] = _mm512_max_ps(high[j], _mm512_loadu_ps(scores + i + 16 * j));
    const float tile_high =
        scale * _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(high[0], high[1]), _mm512_max_ps(high[2], high[3])));
    const float before = s.highest[row];
    const float now = std::max(before, tile_high);
    const __m512 top = _mm512_set1_ps(now);
    uint32_t* weights = s.weights.data() + row * (key_tile / 2);
    __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int64_t i = 0; i < padded; i += 32) {
      const __m512 low = avx512::exp2_coarse(_mm512_fmsub_ps(_mm512_loadu_ps(scores + i), factor, top));
      const __m512 next = avx512::exp2_coarse(_mm512_fmsub_ps(_mm512_loadu_ps(scores + i + 16), factor, top));
      sum[0] = _mm512_add_ps(sum[0], low);
      sum[1] = _mm512_add_ps(sum[1], next);
      _mm512_storeu_si512(weights + i / 2, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(next, low)));
    }
    const float shrink = now == before ? 1.0f : std::exp2(before - now);
    s.shrink[row] = shrink;
    s.highest[row] = now;
    s.total[row] = s.total[row] * shrink + _mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1]));
  }
}

template <Start start>
void weighted_values(Scratch& s, const uint32_t* values, const Shape& shape, int64_t rows, int64_t padded) {
  const int64_t panels = shape.width / shape.value_columns;
  const int64_t panel = key_tile / 2 * shape.value_columns;
  const auto run = [&](auto kernel) {
    kernel(
        s.weights.data(), key_tile / 2, values, padded / 2, panel, s.out.data(), shape.width, rows, panels,
        s.shrink.data());
  };
  switch (shape.value_columns) {
    case 64: return run(product<6, 4, start>);
    case 48: return run(product<8, 3, start>);
    case 32: return run(product<12, 2, start>);
    default: return run(product<12, 1, start>);
  }
}

/// One query tile of one head against all its keys.
void attend(
    Scratch& s, const Shape& shape, const View& q, const uint32_t* packed, c10::BFloat16* out, int64_t b, int64_t h,
    int64_t first) {
  const int64_t rows = std::min(query_tile, shape.queries - first);
  const int64_t pairs = shape.width / 2;
  std::memset(s.q.data(), 0, sizeof(s.q));
  for (int64_t row = 0; row < rows; ++row)
    std::memcpy(s.q.data() + row * pairs, q.at(b, first + row, h), shape.width * sizeof(c10::BFloat16));
  s.highest.fill(-std::numeric_limits<float>::infinity());
  s.total.fill(0);
  s.shrink.fill(1);
  for (int64_t tile = 0; tile < shape.key_tiles(); ++tile) {
    const int64_t keys = std::min(key_tile, shape.keys - tile * key_tile);
    const int64_t panels = (keys + score_columns - 1) / score_columns;
    const uint32_t* k = packed + tile * 2 * shape.tile_words();
    const uint32_t* v = k + shape.tile_words();
    product<6, 4, Start::zero>(
        s.q.data(), pairs, k, pairs, pairs * score_columns, s.scores.data(), key_tile, rows, panels, s.shrink.data());
    soften(s, rows, keys, shape.scale);
    if (tile == 0)
      weighted_values<Start::zero>(s, v, shape, rows, panels * score_columns);
    else
      weighted_values<Start::scaled>(s, v, shape, rows, panels * score_columns);
  }
  for (int64_t row = 0; row < rows; ++row) {
    const __m512 factor = _mm512_set1_ps(1.0f / s.total[row]);
    c10::BFloat16* to = out + ((b * shape.queries + first + row) * shape.heads + h) * shape.width;
    for (int64_t d = 0; d < shape.width; d += 16)
      avx512::store(to + d, _mm512_mul_ps(_mm512_loadu_ps(s.out.data() + row * shape.width + d), factor));
  }
}

at::Tensor attention_avx512(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Shape& shape) {
  at::Tensor out = at::empty({shape.batch, shape.queries, shape.heads, shape.width}, q.options());
  const View queries(q), keys(k), values(v);
  auto* to = static_cast<c10::BFloat16*>(out.mutable_data_ptr());
  const int64_t all_heads = shape.all_heads(), group = shape.group();
  at::Tensor memory = at::empty({group * shape.head_words()}, q.options().dtype(at::kInt));
  auto* packed = static_cast<uint32_t*>(memory.mutable_data_ptr());

  for (int64_t head = 0; head < all_heads; head += group) {
    const int64_t heads = std::min(group, all_heads - head);
    const int64_t tiles = shape.key_tiles();
    parallel_ranges(heads * tiles, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = (head + i / tiles) / shape.heads, h = (head + i / tiles) % shape.heads;
        const int64_t first = i % tiles * key_tile, count = std::min(key_tile, shape.keys - first);
        uint32_t* tile = packed + i * 2 * shape.tile_words();
        pack_keys(keys, b, first, h, count, shape.width, tile);
        pack_values(values, b, first, h, count, shape.width, shape.value_columns, tile + shape.tile_words());
      }
    });
    parallel_tasks(heads * shape.query_tiles(), [&](c10::function_ref<int64_t()> next) {
      auto scratch = std::make_unique<Scratch>();
      scratch->weights.fill(0);
      for (int64_t task = next(); task >= 0; task = next()) {
        const int64_t local = task / shape.query_tiles();
        attend(
            *scratch, shape, queries, packed + local * shape.head_words(), to, (head + local) / shape.heads,
            (head + local) % shape.heads, task % shape.query_tiles() * query_tile);
      }
    });
  }
  return out;
}

}  // namespace

CTORCH_AVX512_END

namespace {

bool readable(const at::Tensor& t) {
  return t.dim() == 4 && plain(t) && t.scalar_type() == at::kBFloat16 && t.stride(3) == 1 && t.numel() > 0;
}

/// Whether heads of this width can be computed.
bool fits_width(int64_t width) { return width > 0 && width % 16 == 0 && width <= 128; }

bool attention_fits(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  const auto fits = [&](const at::Tensor& t) {
    return readable(t) && t.size(0) == q.size(0) && t.size(2) == q.size(2) && t.size(3) == q.size(3);
  };
  return readable(q) && fits(k) && fits(v) && k.size(1) == v.size(1) && fits_width(q.size(3)) && scale > 0;
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  const int64_t width = q.size(3);
  const int64_t columns = width % 64 == 0 ? 64 : width % 48 == 0 ? 48 : width % 32 == 0 ? 32 : 16;
  const Shape shape{q.size(0), q.size(1), k.size(1), q.size(2), width, columns, static_cast<float>(scale * M_LOG2E)};
  return attention_avx512(q, k, v, shape);
}

int64_t workspace(int64_t queries, int64_t keys, int64_t heads, int64_t width, at::ScalarType type) {
  if (type != at::kBFloat16 || !fits_width(width)) return 0;
  const Shape shape{1, queries, keys, heads, width, 16, 1};
  const auto scratch = at::get_num_threads() * static_cast<int64_t>(sizeof(Scratch));
  return shape.group() * shape.head_words() * static_cast<int64_t>(sizeof(uint32_t)) + scratch;
}

}  // namespace

void add_attention(KernelTable& table) {
  table.attention = {attention_fits, attention};
  table.attention_workspace = workspace;
}

}  // namespace ctorch::kernels::cpu

#endif
