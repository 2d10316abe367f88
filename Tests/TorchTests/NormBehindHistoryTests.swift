import Testing
import Torch

@Suite struct NormBehindHistoryTests {
  @Test(arguments: [DType.float32, .bfloat16, .float64], [3, 16, 40])
  func `A norm behind its history equals the norm, joined to the history`(_ dtype: DType, _ channels: Int) {
    let generator = RandomGenerator(seed: 3)
    func frames(_ count: Int) -> Tensor {
      generator.normal([2, channels, count, 5, 4]).to(dtype).channelsLast3D()
    }
    let (x, history) = (frames(3), frames(2))
    let gamma = generator.normal([channels, 1, 1, 1]).to(dtype)
    let wide = x.to(.float64)
    let normal = wide / wide.norm(2, 1, keep: true) * Double(channels).squareRoot() * gamma.to(.float64).unsqueeze(0)
    let tolerance = dtype == .bfloat16 ? 0.05 : 1e-5

    let behind = x.rmsNormSilu(gamma, after: history, count: 2)
    #expect(behind.dtype == dtype)
    #expect(behind.narrow(2, 0, 2).equals(history))
    #expect(behind.narrow(2, 2, 3).maxAbsDifference(normal.silu()) < tolerance)
    #expect(behind.narrow(2, 2, 3).maxAbsDifference(x.rmsNormSilu(gamma)) == 0)

    let first = x.rmsNormSilu(gamma, after: nil, count: 2)
    #expect(first.narrow(2, 0, 2).abs().max().item == 0)
    #expect(first.narrow(2, 2, 3).equals(behind.narrow(2, 2, 3)))
  }

  @Test func `Pixels of zeros stay zero`() {
    let x = Tensor.zeros([1, 16, 2, 3, 3], .bfloat16).channelsLast3D()
    let behind = x.rmsNormSilu(Tensor.ones([16, 1, 1, 1], .bfloat16), after: nil, count: 2)
    #expect(behind.equals(Tensor.zeros([1, 16, 4, 3, 3], .bfloat16)))
  }

  @Test func `Its gradient reaches the frames, the factors and the history`() {
    let generator = RandomGenerator(seed: 4)
    let leaves = [[1, 4, 2, 3, 3], [4, 1, 1, 1], [1, 4, 2, 3, 3]].map { generator.normal($0) }
    for leaf in leaves { leaf.requiresGrad = true }
    let behind = leaves[0].rmsNormSilu(leaves[1], after: leaves[2], count: 2)
    behind.square().sum().backward()
    for leaf in leaves { #expect((leaf.grad?.abs().max().item ?? 0) > 0) }
  }
}
