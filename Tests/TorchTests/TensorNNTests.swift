import Basics
import Foundation
import Testing
import Torch

@Suite struct TensorNNTests {
  @Test func `a linear layer is the product with the transposed weight`() {
    let x = Tensor([1, 2] as [Float], [1, 2])
    expectValues(x.linear(Tensor([1, 0, 3, 1] as [Float], [2, 2]), Tensor([10, 20] as [Float])), [11, 25])
    expectValues(x.linear(Tensor([1, 0, 3, 1] as [Float], [2, 2])), [1, 5])
  }

  @Test func `convolutions of ones count the inputs under the kernel`() {
    let line = Tensor.ones([1, 2, 4])
    expectValues(line.conv1d(.ones([1, 2, 3]), nil, padding: 1), [4, 6, 6, 4])
    expectValues(line.conv1d(.ones([2, 1, 3]), .full([2], 1), stride: 2, groups: 2), [4, 4])
    let square = Tensor.ones([1, 1, 2, 2])
    expectValues(square.conv2d(.ones([1, 1, 3, 3]), nil, padding: [1, 1]), [4, 4, 4, 4])
    let cube = Tensor.ones([1, 1, 3, 2, 2])
    expectValues(
      cube.conv3d(.ones([1, 1, 2, 1, 1]), Tensor([0.5] as [Float]), stride: [1, 2, 2]), [2.5, 2.5])
    // A causal 3-D convolution by hand: the sum over shifted products.
    let (x, weight) = (random(1, 2, 4, 3, 3), random(3, 2, 2, 1, 1, seed: 2))
    let shifted = (0..<2).map { x.narrow(2, $0, 3).transpose(1, 4).linear(weight.select(2, $0).flatten(1)) }
    #expect(x.conv3d(weight, nil).maxAbsDifference((shifted[0] + shifted[1]).transpose(1, 4)) < 1e-5)
  }

  @Test func `norms have mean 0 and variance 1`() {
    let x = random(4, 8, dtype: .float64) * 3 + 2
    let normal = x.layerNorm(eps: 0)
    #expect(normal.mean(-1).abs().max().item < 1e-12)
    #expect((normal.variance(-1, unbiased: false) - 1).abs().max().item < 1e-12)
    let (weight, bias) = (random(8, seed: 2, dtype: .float64), random(8, seed: 3, dtype: .float64))
    #expect(x.layerNorm(weight, bias, eps: 0).maxAbsDifference(normal * weight + bias) < 1e-12)
    let grouped = x.reshape(1, 4, 8).groupNorm(2, nil, nil, eps: 0).reshape(2, 16)
    #expect(grouped.mean(-1).abs().max().item < 1e-12)
    let v = random(3, 4, seed: 5)
    let scaled = Tensor.weightNorm(v: v, g: .full([3, 1], 2), dim: 0)
    expectValues(scaled.norm(2, 1), [2, 2, 2], 1e-5)
  }

  @Test func `embedding rows, softmax and cross entropy are as defined`() {
    let table = Tensor([0, 1, 2, 3] as [Float], [2, 2])
    expectValues(table.embedding(Tensor([1, 0, 1])), [2, 3, 0, 1, 2, 3])
    let logits = Tensor([0, log(3)] as [Double], [1, 2])
    expectValues(logits.softmax(-1), [0.25, 0.75], 1e-12)
    expectValues(logits.crossEntropy(Tensor([1])), [-log(0.75)], 1e-12)
    let rows = Tensor([0, log(3), 5, 5] as [Double], [2, 2])
    expectValues(rows.crossEntropy(Tensor([1, -100])), [-log(0.75)], 1e-12)
    expectValues(
      logits.crossEntropy(Tensor([1]), labelSmoothing: 0.5), [-0.75 * log(0.75) - 0.25 * log(0.25)], 1e-12)
  }

  @Test func `attention is the softmax of scaled products, under either kind of mask`() {
    let (q, k, v) = (
      random(1, 2, 3, 4, dtype: .float64), random(1, 2, 5, 4, seed: 2, dtype: .float64),
      random(1, 2, 5, 4, seed: 3, dtype: .float64)
    )
    let scores = q.matmul(k.transpose(-1, -2)) * 0.7
    let plain = Tensor.scaledDotProductAttention(q, k, v, scale: 0.7)
    #expect(plain.maxAbsDifference(scores.softmax(-1).matmul(v)) < 1e-12)
    let allowed = Tensor([1, 1, 0, 1, 0] as [Int], [1, 5]).to(.bool).expand(3, 5)
    let masked = Tensor.scaledDotProductAttention(q, k, v, mask: allowed, scale: 0.7)
    let hidden = scores.maskedFill(allowed.logicalNot(), -.infinity)
    #expect(masked.maxAbsDifference(hidden.softmax(-1).matmul(v)) < 1e-12)
    let added = Tensor.zeros([3, 5], .float64).maskedFill(allowed.logicalNot(), -.infinity)
    #expect(masked.maxAbsDifference(.scaledDotProductAttention(q, k, v, mask: added, scale: 0.7)) < 1e-12)
    let fused = Tensor.attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), scale: 0.7)
    #expect(fused.transpose(1, 2).maxAbsDifference(plain) < 1e-12)
  }

  @Test func `interpolation keeps ends, copies neighbours, and averages where it shrinks`() {
    let line = Tensor([0, 3] as [Float], [1, 1, 2])
    expectValues(line.interpolateLinear(4, alignCorners: true), [0, 1, 2, 3])
    let square = Tensor([1, 2, 3, 4] as [Float], [1, 1, 2, 2])
    expectValues(square.interpolateNearest(2, 4), [1, 1, 2, 2, 3, 3, 4, 4])
    expectValues(square.interpolateBilinear(1, 1, antialias: true), [2.5])
    let stripes = Tensor([0, 1, 0, 1, 0, 1, 0, 1] as [Float], [1, 1, 1, 8])
    #expect((stripes.interpolateBilinear(1, 2, antialias: true) - 0.5).abs().max().item < 0.1)
  }

  @Test func `dropout zeroes about its share and scales the rest`() {
    let dropped = Tensor.ones([10_000]).dropout(0.25)
    let kept = (dropped .> 0).to(.float32)
    #expect(abs(kept.mean().item - 0.75) < 0.03)
    #expect((dropped - kept * (1 / 0.75)).abs().max().item < 1e-6)
  }
}
