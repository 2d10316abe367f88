import Testing
import Torch

/// The fused kernels beside their plain compositions. An operand that requires a gradient makes an operation take the plain way,
/// so that both ways can be had in one process without a switch.
@Suite struct FusedKernelTests {
  /// An operation on tensors of the type under test. Tables that are always fp32 are made inside.
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let operands: [[Int]]
    var layout: @Sendable (Tensor) -> Tensor = { $0 }
    let run: @Sendable ([Tensor]) -> Tensor
    var testDescription: String { "\(name) \(operands)" }
  }

  static func factors(_ tokens: Int, _ pairs: Int) -> Tensor {
    let angles = random(tokens, pairs, seed: 40) * 3
    return Tensor.stack([angles.cos(), angles.sin()], -1)
  }

  static let cases: [Case] = {
    var cases: [Case] = []
    for (batch, frames, tokens, width) in [(1, 3, 5, 32), (2, 1, 7, 33), (2, 3, 1, 100), (1, 4, 9, 1), (1, 1, 1, 1536)]
    {
      let (x, row) = ([batch, frames * tokens, width], [batch, frames, width])
      cases.append(
        Case(name: "normModulate", operands: [x, row, row]) {
          $0[0].normModulate(shift: $0[1], scale: $0[2], eps: 1e-6)
        })
      cases.append(
        Case(name: "gateResidual", operands: [x, x, row]) { $0[0].gateResidual($0[1], $0[2], inPlace: false) })
      cases.append(Case(name: "rmsNorm", operands: [x, [width]]) { $0[0].rmsNorm($0[1], eps: 1e-6) })
    }
    for (batch, tokens, heads, width) in [(1, 5, 2, 16), (2, 3, 3, 10), (1, 17, 1, 2), (2, 33, 2, 128), (1, 2, 5, 24)] {
      let (q, k) = ([batch, tokens, heads, width], [batch, tokens * 3 + 1, heads, width])
      cases.append(
        Case(name: "rmsNormRope", operands: [[batch, tokens, heads * width], [heads * width]]) {
          $0[0].rmsNormRope($0[1], factors(tokens, width / 2), heads: heads, eps: 1e-6)
        })
      cases.append(Case(name: "attention", operands: [q, k, k]) { .attention($0[0], $0[1], $0[2], scale: 0.3) })
    }
    cases.append(
      Case(name: "attention", operands: [[1, 50, 2, 48], [1, 600, 2, 48], [1, 600, 2, 48]]) {
        .attention($0[0], $0[1], $0[2], scale: 0.14)
      })
    for shape in [[1, 8, 2, 3, 3], [1, 33, 1, 2, 5], [2, 96, 3, 1, 1], [1, 1, 2, 2, 2]] {
      cases.append(
        Case(name: "rmsNormSilu", operands: [shape, [shape[1]]], layout: { $0.rank == 5 ? $0.channelsLast3D() : $0 }) {
          $0[0].rmsNormSilu($0[1])
        })
    }
    return cases
  }()

  private func operands(_ test: Case, _ dtype: DType) -> [Tensor] {
    test.operands.enumerated().map { index, shape in
      let values = RandomGenerator(seed: UInt64(60 + index)).normal(shape, .float64)
      return values.to(.bfloat16).to(dtype)  // one value in every type
    }
  }

  private func plain(_ test: Case, _ operands: [Tensor]) -> Tensor {
    let leaf = operands[0].clone()
    leaf.requiresGrad = true
    return test.run([test.layout(leaf)] + operands.dropFirst()).detach()
  }

  private func fused(_ test: Case, _ operands: [Tensor]) -> Tensor {
    withGradients(false) { test.run([test.layout(operands[0])] + operands.dropFirst()) }
  }

  @Test(arguments: cases)
  func `in fp32 a kernel is its plain composition`(test: Case) {
    let inputs = operands(test, .float32)
    let (one, other) = (fused(test, inputs), plain(test, inputs))
    #expect(one.dtype == .float32 && one.shape == other.shape)
    let scale = max(1, other.abs().max().item)
    #expect(one.maxAbsDifference(other) <= 1e-5 * scale)
  }

  @Test(arguments: cases)
  func `in bf16 a kernel is no further from the truth than twice its plain composition`(test: Case) {
    let truth = plain(test, operands(test, .float64))
    let inputs = operands(test, .bfloat16)
    let (one, other) = (fused(test, inputs), plain(test, inputs))
    #expect(one.dtype == .bfloat16 && one.shape == truth.shape)
    func errors(_ result: Tensor) -> (largest: Double, mean: Double) {
      let difference = (result.to(.float64) - truth).abs()
      return (difference.max().item, difference.mean().item)
    }
    // One rounding of the largest value is what even an exact kernel may be off.
    let rounding = truth.abs().max().item / 256
    #expect(errors(one).largest <= 2 * max(errors(other).largest, rounding / 2))
    #expect(errors(one).mean <= 2 * errors(other).mean + 1e-12)
  }

  @Test(arguments: [DType.float32, .bfloat16, .float64])
  func `norm and rotation write into a view, and a gate into its input`(dtype: DType) {
    let (x, weight) = (random(1, 4, 32, dtype: dtype), random(32, seed: 2, dtype: dtype))
    let factors = Self.factors(4, 8)
    let cache = Tensor.zeros([1, 10, 32], dtype)
    x.rmsNormRope(weight, factors, heads: 2, eps: 1e-6, into: cache.narrow(1, 3, 4))
    #expect(cache.narrow(1, 3, 4).equals(x.rmsNormRope(weight, factors, heads: 2, eps: 1e-6)))
    #expect(cache.narrow(1, 0, 3).abs().max().item == 0 && cache.narrow(1, 7, 3).abs().max().item == 0)

    let (y, gate) = (random(1, 4, 32, seed: 3, dtype: dtype), random(1, 2, 32, seed: 4, dtype: dtype))
    let expected = x.gateResidual(y, gate, inPlace: false)
    let changed = x.clone()
    let result = changed.gateResidual(y, gate, inPlace: true)
    #expect(result.sharesStorage(with: changed) && changed.equals(expected) && !x.equals(expected))
  }

  @Test(arguments: [DType.float32, .bfloat16, .float64])
  func `turning there and back gives the same, also in a view of strange strides`(dtype: DType) {
    let wide = random(2, 9, 3, 16, dtype: dtype)
    let view = wide.narrow(1, 2, 5)
    let before = view.clone()
    let factors = Self.factors(5, 8)
    let back = Tensor.stack([factors.select(-1, 0), -factors.select(-1, 1)], -1).contiguous()
    view.rotate_(factors)
    #expect(view.maxAbsDifference(before) > 0.1)
    view.rotate_(back)
    let tolerance = dtype == .bfloat16 ? 0.06 : 1e-5
    #expect(view.maxAbsDifference(before) < tolerance)
  }

  @Test func `the switch takes the plain way`() async {
    await #expect(processExitsWith: .success) {
      let x = RandomGenerator(seed: 1).normal([1, 40, 2, 64]).to(.bfloat16)
      let inUse = Torch.usesFusedKernels
      let fused = Tensor.attention(x, x, x, scale: 0.1)
      Torch.usesFusedKernels = false
      #expect(!Torch.usesFusedKernels)
      let plain = Tensor.attention(x, x, x, scale: 0.1)
      let leaf = x.clone()
      leaf.requiresGrad = true
      #expect(plain.maxAbsDifference(Tensor.attention(leaf, x, x, scale: 0.1).detach()) < 0.02)
      #expect(fused.maxAbsDifference(plain) < 0.05)
      Torch.usesFusedKernels = true
      #expect(Torch.usesFusedKernels == inUse)
    }
  }
}
