import Testing
import Torch

@Suite struct CheckpointedGradientTests {
  @Test func `a leaf that is given twice has its whole gradient once`() {
    let x = Tensor([Float(1), 2, 3])
    x.requiresGrad = true
    let y = Tensor.checkpointed([x, x]) { $0[0] * $0[1] }
    y.sum().backward()
    #expect(x.grad?.array(Float.self) == [2, 4, 6])
  }

  @Test func `a result that is given twice has the gradient of both places`() {
    let x = Tensor([Float(1), 2, 3])
    x.requiresGrad = true
    let middle = x * 2
    Tensor.checkpointed([middle, middle]) { $0[0] * $0[1] }.sum().backward()
    #expect(x.grad?.array(Float.self) == [8, 16, 24])
  }

  @Test func `a second derivative is refused, not wrong`() {
    let x = Tensor([Float(1), 2, 3])
    x.requiresGrad = true
    let error = #expect(throws: TorchError.self) {
      try withTorchErrors {
        let y = Tensor.checkpointed([x]) { $0[0].square() * $0[0] }
        _ = Tensor.gradients(of: [y.sum()], with: [x], createGraph: true)
      }
    }
    #expect(error?.description.contains("has no second derivative") == true)
  }

  @Test func `what fails when it is computed again is an error, and nothing crashes`() {
    let x = Tensor([Float(1), 2, 3])
    x.requiresGrad = true
    var runs = 0
    let error = #expect(throws: TorchError.self) {
      try withTorchErrors {
        let y = Tensor.checkpointed([x]) {
          runs += 1
          return runs == 1 ? $0[0] * 2 : $0[0].reshape(2, 2)
        }
        y.sum().backward()
      }
    }
    #expect(error != nil)
    #expect(runs == 2)
    #expect(x.grad == nil)
  }

  @Test func `a graph that is kept can be gone through twice`() {
    let x = Tensor([Float(1), 2, 3])
    x.requiresGrad = true
    let y = Tensor.checkpointed([x]) { $0[0].square() }.sum()
    y.backward(retainGraph: true)
    y.backward()
    #expect(x.grad?.array(Float.self) == [4, 8, 12])
  }
}
