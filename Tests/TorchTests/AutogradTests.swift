import Testing
import Torch

@Suite struct AutogradTests {
  private func leaf(_ values: [Double]) -> Tensor {
    let tensor = Tensor(values)
    tensor.requiresGrad = true
    return tensor
  }

  @Test func `backward adds to the gradients of the leaves`() throws {
    let x = leaf([1, 2])
    #expect(x.isLeaf && x.requiresGrad && x.grad == nil)
    (x * x).sum().backward()
    expectValues(try #require(x.grad), [2, 4])
    x.backward(gradient: Tensor([1, 1] as [Double]))
    expectValues(try #require(x.grad), [3, 5])
    x.grad = nil
    #expect(x.grad == nil)
    #expect(!(x * 2).isLeaf && (x * 2).requiresGrad && !(x * 2).detach().requiresGrad)
  }

  @Test func `an input that takes no part has no gradient`() throws {
    let (x, y) = (leaf([1, 2]), leaf([3, 4]))
    let gradients = Tensor.gradients(of: [(x * 3).sum()], with: [x, y])
    expectValues(try #require(gradients[0]), [3, 3])
    #expect(gradients[1] == nil)
    #expect(x.grad == nil)
  }

  @Test func `given output gradients weight the outputs`() throws {
    let x = leaf([1, 2])
    let gradients = Tensor.gradients(
      of: [x * x, x * 5], with: [x], outputGradients: [Tensor([1, 10] as [Double]), Tensor([0, 1] as [Double])])
    expectValues(try #require(gradients[0]), [2, 45])
  }

  @Test func `a graph is used once unless it is retained`() throws {
    let x = leaf([2])
    let y = (x * x).sum()
    y.backward(retainGraph: true)
    y.backward()
    expectValues(try #require(x.grad), [8])
    #expect(throws: TorchError.self) { try withTorchErrors { y.backward() } }
  }

  @Test func `a created graph gives second derivatives`() throws {
    let x = leaf([2, 3])
    let first = try #require(Tensor.gradients(of: [(x * x * x).sum()], with: [x], createGraph: true)[0])
    expectValues(first, [12, 27])
    expectValues(try #require(Tensor.gradients(of: [first.sum()], with: [x])[0]), [12, 18])
  }

  @Test func `a change in place of what a gradient needs is refused`() {
    let x = leaf([1, 2])
    let error = #expect(throws: TorchError.self) {
      try withTorchErrors {
        let y = x.exp()
        y.mul_(2)
        y.sum().backward()
      }
    }
    #expect(error?.description.contains("inplace") == true)
    #expect(throws: TorchError.self) { try withTorchErrors { x.add_(1) } }
  }

  @Test func `modes end with their scope, also when it throws`() {
    struct Stop: Error {}
    #expect(gradientsEnabled)
    #expect(throws: Stop.self) {
      try withGradients(false) {
        #expect(!gradientsEnabled)
        withGradients(true) { #expect(gradientsEnabled) }
        #expect(!gradientsEnabled)
        throw Stop()
      }
    }
    #expect(gradientsEnabled)
    #expect(throws: Stop.self) {
      try withInferenceMode {
        #expect(!gradientsEnabled)
        throw Stop()
      }
    }
    #expect(gradientsEnabled)
    let x = leaf([1])
    #expect(!withGradients(false) { x * 2 }.requiresGrad)
    #expect((x * 2).requiresGrad)
  }

  @Test func `a tensor of inference mode takes no part in a graph`() {
    let constant = withInferenceMode { Tensor([2] as [Double]) * 2 }
    #expect(throws: TorchError.self) {
      try withTorchErrors { (leaf([1]) * constant).sum().backward() }
    }
  }

  // MARK: Numeric differentiation

  private func r(_ shape: Int..., seed: UInt64 = 1) -> Tensor { RandomGenerator(seed: seed).normal(shape, .float64) }

  @Test func `linear layers, convolutions and norms have their derivatives`() {
    expectGradients(of: [r(3, 4), r(5, 4, seed: 2), r(5, seed: 3)]) { $0[0].linear($0[1], $0[2]) }
    expectGradients(of: [r(1, 2, 4, 3, 3), r(3, 2, 2, 3, 3, seed: 2), r(3, seed: 3)]) {
      $0[0].conv3d($0[1], $0[2], padding: [0, 1, 1])
    }
    expectGradients(of: [r(1, 2, 5, 4), r(3, 2, 3, 3, seed: 2), r(3, seed: 3)]) {
      $0[0].conv2d($0[1], $0[2], stride: [2, 2], padding: [1, 1])
    }
    expectGradients(of: [r(4, 6), r(6, seed: 2), r(6, seed: 3)]) { $0[0].layerNorm($0[1], $0[2], eps: 1e-6) }
  }

  @Test func `the fused norms have their derivatives`() {
    expectGradients(of: [r(2, 6, 5), r(2, 3, 5, seed: 2), r(2, 3, 5, seed: 3)]) {
      $0[0].normModulate(shift: $0[1], scale: $0[2], eps: 1e-6)
    }
    expectGradients(of: [r(2, 6, 5), r(5, seed: 2)]) { $0[0].rmsNorm($0[1], eps: 1e-6) }
    expectGradients(of: [r(1, 4, 2, 3, 3), r(4, seed: 2)]) { $0[0].rmsNormSilu($0[1]) }
  }

  @Test func `norm and rotation have their derivatives`() {
    let angles = random(3, 4, seed: 5)
    let factors = Tensor.stack([angles.cos(), angles.sin()], -1)  // [3, 4, 2]
    expectGradients(of: [r(2, 3, 16), r(16, seed: 2)]) { $0[0].rmsNormRope($0[1], factors, heads: 2, eps: 1e-6) }
  }

  @Test func `gates and attention have their derivatives`() {
    expectGradients(of: [r(2, 6, 5), r(2, 6, 5, seed: 2), r(2, 3, 5, seed: 3)]) {
      $0[0].gateResidual($0[1], $0[2], inPlace: false)
    }
    expectGradients(of: [r(1, 3, 2, 4), r(1, 5, 2, 4, seed: 2), r(1, 5, 2, 4, seed: 3)]) {
      Tensor.attention($0[0], $0[1], $0[2], scale: 0.5)
    }
  }

  @Test(arguments: [DType.float32, .bfloat16])
  func `the fused kernels step aside where gradients flow`(dtype: DType) {
    func weights(_ shape: Int..., seed: UInt64) -> Tensor {
      let tensor = RandomGenerator(seed: seed).normal(shape).to(dtype)
      tensor.requiresGrad = true
      return tensor
    }
    let x = weights(1, 4, 32, seed: 1)
    let (row, modulation) = (weights(32, seed: 2), weights(1, 2, 32, seed: 3))
    let heads = weights(1, 4, 2, 16, seed: 4)
    let video = weights(1, 32, 2, 2, 2, seed: 5)
    let factors = Tensor.stack([Tensor.ones([4, 8]), .zeros([4, 8])], -1)
    let outputs = [
      x.normModulate(shift: modulation, scale: modulation, eps: 1e-6), x.rmsNorm(row, eps: 1e-6),
      x.rmsNormRope(row, factors, heads: 2, eps: 1e-6), x.gateResidual(x, modulation, inPlace: false),
      Tensor.attention(heads, heads, heads, scale: 0.25), video.channelsLast3D().rmsNormSilu(row),
    ]
    for output in outputs { #expect(output.requiresGrad) }
    let loss = outputs.map { $0.to(.float32).square().sum() }.reduce(Tensor(0), +)
    for gradient in Tensor.gradients(of: [loss], with: [x, row, modulation, heads, video]) {
      #expect(gradient?.isFinite().to(.int64).min().intItem == 1)
    }
  }
}
