import Foundation
import Testing
import Torch

@Suite struct TensorMathTests {
  static let points: [Double] = [-1.75, -0.5, 0.25, 0.5, 1.5, 3]

  /// Functions of one number beside Foundation's.
  static let functions: [(name: String, of: @Sendable (Tensor) -> Tensor, reference: @Sendable (Double) -> Double)] = [
    ("exp", { $0.exp() }, { exp($0) }),
    ("log", { $0.abs().log() }, { log(abs($0)) }),
    ("sqrt", { $0.abs().sqrt() }, { sqrt(abs($0)) }),
    ("rsqrt", { $0.abs().rsqrt() }, { 1 / sqrt(abs($0)) }),
    ("sin", { $0.sin() }, { sin($0) }),
    ("cos", { $0.cos() }, { cos($0) }),
    ("tanh", { $0.tanh() }, { tanh($0) }),
    ("silu", { $0.silu() }, { $0 / (1 + exp(-$0)) }),
    ("relu", { $0.relu() }, { max($0, 0) }),
    ("gelu", { $0.gelu() }, { 0.5 * $0 * (1 + erf($0 / sqrt(2))) }),
    (
      "gelu tanh", { $0.gelu(tanhForm: true) },
      { 0.5 * $0 * (1 + tanh(sqrt(2 / Double.pi) * ($0 + 0.044715 * $0 * $0 * $0))) }
    ),
    ("square", { $0.square() }, { $0 * $0 }),
    ("reciprocal", { $0.reciprocal() }, { 1 / $0 }),
    ("floor", { $0.floor() }, { floor($0) }),
    ("round", { $0.round() }, { $0.rounded(.toNearestOrEven) }),
    ("clamp", { $0.clamp(-0.5, 1) }, { min(max($0, -0.5), 1) }),
    ("negation", { -$0 }, { -$0 }),
    ("plus", { 2 + $0 + 1 }, { $0 + 3 }),
    ("minus", { 2 - ($0 - 1) }, { 3 - $0 }),
    ("times", { 2 * $0 * 3 }, { 6 * $0 }),
    ("over", { 2 / $0 / 4 }, { 0.5 / $0 }),
  ]

  @Test(arguments: functions.map(\.name))
  func `a function of one number is that of Foundation`(name: String) throws {
    let function = try #require(Self.functions.first { $0.name == name })
    expectValues(function.of(Tensor(Self.points)), Self.points.map(function.reference), 1e-12)
    expectValues(
      function.of(Tensor(Self.points.map(Float.init))), Self.points.map { function.reference(Double(Float($0))) }, 1e-5)
  }

  let a = Tensor([1, 2, 3, 4] as [Float], [2, 2])
  let b = Tensor([4, 2, 1, 2] as [Float], [2, 2])

  @Test func `arithmetic broadcasts`() {
    expectValues(a + Tensor([10, 20] as [Float]), [11, 22, 13, 24])
    expectValues(a - b, [-3, 0, 2, 2])
    expectValues(a * Tensor([2, 3] as [Float], [2, 1]), [2, 4, 9, 12])
    expectValues(a / b, [0.25, 1, 3, 2])
    expectValues(a.matmul(b), [6, 6, 16, 14])
  }

  @Test func `whole numbers beside integer tensors keep them integer`() {
    #expect((Tensor([1, 2]) + 1).dtype == .int64)
    #expect((Tensor([1, 2]) * 3).array(Int.self) == [3, 6])
    #expect((Tensor([1, 2]) + 0.5).dtype == .float32)
    #expect((5 - Tensor([1, 2])).array(Int.self) == [4, 3])
  }

  @Test func `comparisons and logic give booleans`() {
    #expect((a .== b).dtype == .bool)
    expectValues(a .== b, [0, 1, 0, 0])
    expectValues(a .== 2, [0, 1, 0, 0])
    expectValues(a .< b, [1, 0, 0, 0])
    expectValues(a .< 2, [1, 0, 0, 0])
    expectValues(a .<= b, [1, 1, 0, 0])
    expectValues(a .<= 2, [1, 1, 0, 0])
    expectValues(a .> b, [0, 0, 1, 1])
    expectValues(a .> 2, [0, 0, 1, 1])
    expectValues(a .>= b, [0, 1, 1, 1])
    expectValues(a .>= 2, [0, 1, 1, 1])
    expectValues((a .> 1) .& (b .> 1), [0, 1, 0, 1])
    expectValues((a .> 3) .| (b .> 3), [1, 0, 0, 1])
    expectValues((a .> 1).logicalNot(), [1, 0, 0, 0])
    let odd = Tensor([1, .nan, .infinity] as [Float])
    expectValues(odd.isNaN(), [0, 1, 0])
    expectValues(odd.isFinite(), [1, 0, 0])
  }

  @Test func `masked values are replaced`() {
    expectValues(a.maskedFill(a .> 2, -1), [1, 2, -1, -1])
  }

  @Test func `reductions go over the given dimensions or all`() {
    expectValues(a.sum(), [10])
    expectValues(a.sum(0), [4, 6])
    #expect(a.sum(1, keep: true).shape == [2, 1])
    expectValues(a.mean(-1), [1.5, 3.5])
    expectValues(a.variance(unbiased: false), [1.25])
    expectValues(a.variance(1, unbiased: true), [0.5, 0.5])
    expectValues(a.max(), [4])
    expectValues(a.max(0), [3, 4])
    expectValues(b.min(1), [2, 1])
    expectValues(a.norm(), [sqrt(30)])
    expectValues(a.norm(1, 1), [3, 7])
    #expect(b.argmax(1).array(Int.self) == [0, 1])
    #expect(b.argmin(0).array(Int.self) == [1, 0])
  }

  @Test func `changes in place are those of the operations`() {
    func changed(_ change: (Tensor) -> Void) -> Tensor {
      let copy = a.clone()
      change(copy)
      return copy
    }
    expectValues(changed { $0.copy_(b) }, [4, 2, 1, 2])
    expectValues(changed { $0.add_(b, alpha: 2) }, [9, 6, 5, 8])
    expectValues(changed { $0.add_(1) }, [2, 3, 4, 5])
    expectValues(changed { $0.mul_(b) }, [4, 4, 3, 8])
    expectValues(changed { $0.mul_(2) }, [2, 4, 6, 8])
    expectValues(changed { $0.div_(b) }, [0.25, 1, 3, 2])
    expectValues(changed { $0.fill_(7) }, [7, 7, 7, 7])
  }
}
