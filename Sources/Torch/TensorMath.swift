import CTorch

// Element-wise arithmetic, comparisons, reductions and products.

extension Tensor {
  package func exp() -> Tensor { Tensor { ct_exp(c, $0) } }
  package func log() -> Tensor { Tensor { ct_log(c, $0) } }
  package func sqrt() -> Tensor { Tensor { ct_sqrt(c, $0) } }
  package func rsqrt() -> Tensor { Tensor { ct_rsqrt(c, $0) } }
  package func abs() -> Tensor { Tensor { ct_abs(c, $0) } }
  package func sin() -> Tensor { Tensor { ct_sin(c, $0) } }
  package func cos() -> Tensor { Tensor { ct_cos(c, $0) } }
  package func tanh() -> Tensor { Tensor { ct_tanh(c, $0) } }
  package func silu() -> Tensor { Tensor { ct_silu(c, $0) } }
  package func relu() -> Tensor { Tensor { ct_relu(c, $0) } }
  /// GELU, exact or in its tanh form.
  package func gelu(tanhForm: Bool = false) -> Tensor { Tensor { ct_gelu(c, tanhForm, $0) } }
  package func square() -> Tensor { Tensor { ct_square(c, $0) } }
  package func reciprocal() -> Tensor { Tensor { ct_reciprocal(c, $0) } }
  package func floor() -> Tensor { Tensor { ct_floor(c, $0) } }
  /// To the nearest whole number, halves to the even one.
  package func round() -> Tensor { Tensor { ct_round(c, $0) } }
  package func isNaN() -> Tensor { Tensor { ct_isnan(c, $0) } }
  /// Whether every element is a finite number: one pass over the memory, which does not wait for more than its answer.
  package var isAllFinite: Bool {
    var result = true
    check(ct_all_finite(c, &result))
    return result
  }
  package func isFinite() -> Tensor { Tensor { ct_isfinite(c, $0) } }
  package func logicalNot() -> Tensor { Tensor { ct_logical_not(c, $0) } }
  package func clamp(_ low: Double, _ high: Double) -> Tensor { Tensor { ct_clamp(c, low, high, $0) } }

  package static prefix func - (a: Tensor) -> Tensor { Tensor { ct_neg(a.c, $0) } }

  package static func + (a: Tensor, b: Tensor) -> Tensor { Tensor { ct_add(a.c, b.c, $0) } }
  package static func - (a: Tensor, b: Tensor) -> Tensor { Tensor { ct_sub(a.c, b.c, $0) } }
  package static func * (a: Tensor, b: Tensor) -> Tensor { Tensor { ct_mul(a.c, b.c, $0) } }
  package static func / (a: Tensor, b: Tensor) -> Tensor { Tensor { ct_div(a.c, b.c, $0) } }
  package static func + (a: Tensor, b: Double) -> Tensor { Tensor { ct_add_number(a.c, b, $0) } }
  package static func - (a: Tensor, b: Double) -> Tensor { Tensor { ct_sub_number(a.c, b, $0) } }
  package static func * (a: Tensor, b: Double) -> Tensor { Tensor { ct_mul_number(a.c, b, $0) } }
  package static func / (a: Tensor, b: Double) -> Tensor { Tensor { ct_div_number(a.c, b, $0) } }
  package static func + (a: Double, b: Tensor) -> Tensor { b + a }
  package static func - (a: Double, b: Tensor) -> Tensor { Tensor { ct_number_sub(a, b.c, $0) } }
  package static func * (a: Double, b: Tensor) -> Tensor { b * a }
  package static func / (a: Double, b: Tensor) -> Tensor { Tensor { ct_number_div(a, b.c, $0) } }

  /// Boolean tensors, element by element.
  package static func .== (a: Tensor, b: Tensor) -> Tensor { Tensor { ct_eq(a.c, b.c, $0) } }
  package static func .== (a: Tensor, b: Double) -> Tensor { Tensor { ct_eq_number(a.c, b, $0) } }
  package static func .< (a: Tensor, b: Tensor) -> Tensor { Tensor { ct_lt(a.c, b.c, $0) } }
  package static func .< (a: Tensor, b: Double) -> Tensor { Tensor { ct_lt_number(a.c, b, $0) } }
  package static func .<= (a: Tensor, b: Tensor) -> Tensor { Tensor { ct_le(a.c, b.c, $0) } }
  package static func .<= (a: Tensor, b: Double) -> Tensor { Tensor { ct_le_number(a.c, b, $0) } }
  package static func .> (a: Tensor, b: Tensor) -> Tensor { Tensor { ct_gt(a.c, b.c, $0) } }
  package static func .> (a: Tensor, b: Double) -> Tensor { Tensor { ct_gt_number(a.c, b, $0) } }
  package static func .>= (a: Tensor, b: Tensor) -> Tensor { Tensor { ct_ge(a.c, b.c, $0) } }
  package static func .>= (a: Tensor, b: Double) -> Tensor { Tensor { ct_ge_number(a.c, b, $0) } }
  package static func .& (a: Tensor, b: Tensor) -> Tensor { Tensor { ct_logical_and(a.c, b.c, $0) } }
  package static func .| (a: Tensor, b: Tensor) -> Tensor { Tensor { ct_logical_or(a.c, b.c, $0) } }

  package func maskedFill(_ mask: Tensor, _ value: Double) -> Tensor { Tensor { ct_masked_fill(c, mask.c, value, $0) } }
  package func matmul(_ other: Tensor) -> Tensor { Tensor { ct_matmul(c, other.c, $0) } }

  // MARK: Reductions; no dimensions means all of them

  package func sum(_ dims: Int..., keep: Bool = false) -> Tensor {
    Tensor { ct_sum(c, dims, Int32(dims.count), keep, $0) }
  }
  package func mean(_ dims: Int..., keep: Bool = false) -> Tensor {
    Tensor { ct_mean(c, dims, Int32(dims.count), keep, $0) }
  }
  package func variance(_ dims: Int..., unbiased: Bool, keep: Bool = false) -> Tensor {
    Tensor { ct_variance(c, dims, Int32(dims.count), unbiased, keep, $0) }
  }
  package func max(_ dims: Int..., keep: Bool = false) -> Tensor {
    Tensor { ct_amax(c, dims, Int32(dims.count), keep, $0) }
  }
  package func min(_ dims: Int..., keep: Bool = false) -> Tensor {
    Tensor { ct_amin(c, dims, Int32(dims.count), keep, $0) }
  }
  package func norm(_ p: Double = 2, _ dims: Int..., keep: Bool = false) -> Tensor {
    Tensor { ct_norm(c, p, dims, Int32(dims.count), keep, $0) }
  }
  package func argmax(_ dim: Int, keep: Bool = false) -> Tensor { Tensor { ct_argmax(c, dim, keep, $0) } }
  package func argmin(_ dim: Int, keep: Bool = false) -> Tensor { Tensor { ct_argmin(c, dim, keep, $0) } }
}

infix operator .& : LogicalConjunctionPrecedence
infix operator .| : LogicalDisjunctionPrecedence

// MARK: - In place

/// These change the storage that all views of the tensor share. Autograd refuses a change of what a gradient still needs.
extension Tensor {
  package func copy_(_ source: Tensor, waits: Bool = true) { check(ct_copy_(c, source.c, waits)) }
  package func add_(_ other: Tensor, alpha: Double = 1) { check(ct_add_(c, other.c, alpha)) }
  package func add_(_ value: Double) { check(ct_add_number_(c, value)) }
  package func mul_(_ other: Tensor) { check(ct_mul_(c, other.c)) }
  package func mul_(_ value: Double) { check(ct_mul_number_(c, value)) }
  package func div_(_ other: Tensor) { check(ct_div_(c, other.c)) }
  package func fill_(_ value: Double) { check(ct_fill_(c, value)) }
}
