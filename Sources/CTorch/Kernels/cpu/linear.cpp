// Linear layers over weights packed once for the bf16 dot-product instruction.
//
// A task is a block of rows times one panel of 64 output features. The summed dimension is walked in chunks, so that a
// chunk of the panel stays in the first-level cache while all the rows of the block pass over it.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "avx512.h"
#include "cpu.h"
#include "parallel.h"
#include "product.h"

#if CTORCH_AVX512

namespace ctorch::kernels::cpu {

namespace {

constexpr int64_t most_rows = 192;    // rows of a task: a multiple of the register block's six
constexpr int64_t deepest_chunk = 160;  // pairs summed before the next chunk: 40 KB of a panel

struct Product {
  const uint32_t* x;  // [rows, pairs]
  const uint32_t* packed;
  const float* bias;  // padded to whole panels, or null
  c10::BFloat16* out;
  int64_t rows, pairs, features;
};

}  // namespace

CTORCH_AVX512_BEGIN

namespace {

using avx512::Start;

template <Start start>
void rows_by_panel(const uint32_t* x, int64_t x_row, int64_t rows, const uint32_t* panel, int64_t depth, float* sums) {
  int64_t row = 0;
  for (; row + 6 <= rows; row += 6)
    avx512::block<6, 4, start>(x + row * x_row, x_row, panel, depth, sums + row * panel_columns, panel_columns);
  for (; row + 2 <= rows; row += 2)
    avx512::block<2, 4, start>(x + row * x_row, x_row, panel, depth, sums + row * panel_columns, panel_columns);
  if (row < rows)
    avx512::block<1, 4, start>(x + row * x_row, x_row, panel, depth, sums + row * panel_columns, panel_columns);
}

template <Activation activation>
void finish(const Product& p, const float* sums, int64_t first, int64_t rows, int64_t panel) {
  const int64_t column = panel * panel_columns, columns = std::min(panel_columns, p.features - column);
  for (int64_t row = 0; row < rows; ++row)
    avx512::each_lanes(columns, [&](int64_t c, auto lanes) {
      __m512 value = _mm512_loadu_ps(sums + row * panel_columns + c);
      if (p.bias) value = _mm512_add_ps(value, _mm512_loadu_ps(p.bias + column + c));
      if constexpr (activation == Activation::gelu_tanh) value = avx512::gelu_tanh<c10::BFloat16>(value);
      avx512::store(p.out + (first + row) * p.features + column + c, value, lanes);
    });
}

template <Activation activation>
void multiply(const Product& p, int64_t block_rows) {
  const int64_t blocks = (p.rows + block_rows - 1) / block_rows;
  const int64_t panels = (p.features + panel_columns - 1) / panel_columns;
  const int64_t chunks = (p.pairs + deepest_chunk - 1) / deepest_chunk;
  const int64_t depth = (p.pairs + chunks - 1) / chunks;
  parallel_tasks(blocks * panels, [&](c10::function_ref<int64_t()> next) {
    std::vector<float> sums(block_rows * panel_columns);
    for (int64_t task = next(); task >= 0; task = next()) {
      const int64_t first = task / panels * block_rows, panel = task % panels;
      const int64_t rows = std::min(block_rows, p.rows - first);
      for (int64_t pair = 0; pair < p.pairs; pair += depth) {
        const uint32_t* x = p.x + first * p.pairs + pair;
        const uint32_t* w = p.packed + (panel * p.pairs + pair) * panel_columns;
        const int64_t count = std::min(depth, p.pairs - pair);
        if (pair == 0)
          rows_by_panel<Start::zero>(x, p.pairs, rows, w, count, sums.data());
        else
          rows_by_panel<Start::add>(x, p.pairs, rows, w, count, sums.data());
      }
      finish<activation>(p, sums.data(), first, rows, panel);
    }
  });
}

}  // namespace

CTORCH_AVX512_END

namespace {

bool linear_fits(
    const at::Tensor& x, const at::Tensor& packed, int64_t features, const at::Tensor& bias, Activation) {
  return plain(x) && plain(packed) && x.scalar_type() == at::kBFloat16 && packed.scalar_type() == at::kBFloat16 &&
         x.dim() >= 1 && x.is_contiguous() && x.numel() > 0 && packed.dim() == 4 && packed.is_contiguous() &&
         packed.size(1) * 2 == x.size(-1) && features > 0 &&
         packed.size(0) == (features + panel_columns - 1) / panel_columns && packed.size(2) == panel_columns &&
         (!bias.defined() || (plain(bias) && bias.numel() == features));
}

at::Tensor linear_packed(
    const at::Tensor& x, const at::Tensor& packed, int64_t features, const at::Tensor& bias, Activation activation) {
  std::vector<int64_t> shape(x.sizes().begin(), x.sizes().end());
  shape.back() = features;
  at::Tensor out = at::empty(shape, x.options());
  std::vector<float> wide;
  if (bias.defined()) {
    wide.resize(packed.size(0) * panel_columns);
    with_type(bias.scalar_type(), [&](auto element) {
      const at::Tensor dense = bias.contiguous();
      const auto* from = static_cast<const decltype(element)*>(dense.const_data_ptr());
      std::copy(from, from + features, wide.begin());
    });
  }
  const Product product{
      static_cast<const uint32_t*>(x.const_data_ptr()),
      static_cast<const uint32_t*>(packed.const_data_ptr()),
      wide.empty() ? nullptr : wide.data(),
      static_cast<c10::BFloat16*>(out.mutable_data_ptr()),
      x.numel() / x.size(-1),
      packed.size(1),
      features};
  // Smaller blocks of rows when there would be too few tasks to keep every thread busy to the end.
  int64_t block_rows = most_rows;
  while (block_rows > 48 && (product.rows + block_rows - 1) / block_rows * packed.size(0) < 4 * at::get_num_threads())
    block_rows /= 2;
  if (activation == Activation::gelu_tanh)
    multiply<Activation::gelu_tanh>(product, block_rows);
  else
    multiply<Activation::none>(product, block_rows);
  return out;
}

}  // namespace

void add_linear(KernelTable& table) { table.linear_packed = {linear_fits, linear_packed}; }

}  // namespace ctorch::kernels::cpu

#endif

namespace ctorch::kernels {

bool prefers_packed_linear() {
#if CTORCH_AVX512
  return fused_kernels() && !__builtin_cpu_supports("amx-bf16");
#else
  return false;
#endif
}

}  // namespace ctorch::kernels
