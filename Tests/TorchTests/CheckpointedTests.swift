import Testing
import Torch

@Suite struct CheckpointedTests {
  private func leaf(_ shape: Int..., seed: UInt64) -> Tensor {
    let tensor = RandomGenerator(seed: seed).normal(shape, .float64)
    tensor.requiresGrad = true
    return tensor
  }

  private func failure(_ body: () throws -> Void) -> String? {
    do {
      try withTorchErrors(body)
      return nil
    } catch { return "\(error)" }
  }

  @Test func `value and gradients are those of the body`() throws {
    let (x, weight) = (leaf(3, 4, seed: 1), leaf(4, 5, seed: 2))
    var runs: [Bool] = []
    func part(_ inputs: [Tensor]) -> Tensor {
      runs.append(gradientsEnabled)
      return inputs[0].matmul(weight).silu().square()
    }
    func loss(_ value: Tensor) -> Tensor { (value * 3).sum() }
    // The input is a leaf once, and once comes out of the graph.
    for before in [{ $0 }, { $0 * 2 + 1 }] as [(Tensor) -> Tensor] {
      runs = []
      let plain = loss(part([before(x)]))
      let expected = Tensor.gradients(of: [plain], with: [x, weight])
      runs = []
      let checkpointed = loss(Tensor.checkpointed([before(x), weight], part))
      #expect(checkpointed.item == plain.item && runs == [false])
      let found = Tensor.gradients(of: [checkpointed], with: [x, weight])
      #expect(runs == [false, true])
      for (one, other) in zip(expected, found) {
        #expect(try #require(one).maxAbsDifference(try #require(other)) < 1e-12)
      }
    }
  }

  @Test func `parts one after the other run again from the last to the first`() throws {
    let x = leaf(3, seed: 1)
    var order: [Int] = []
    var value = x
    for part in 0..<4 {
      value = Tensor.checkpointed([value]) { inputs in
        if gradientsEnabled { order.append(part) }
        return inputs[0] * Double(part + 2) + inputs[0].square()
      }
    }
    value.sum().backward()
    #expect(order == [3, 2, 1, 0])
    var plain = x.detach()
    plain.requiresGrad = true
    let start = plain
    for part in 0..<4 { plain = plain * Double(part + 2) + plain.square() }
    plain.sum().backward()
    let (one, other) = (try #require(x.grad), try #require(start.grad))
    #expect(one.maxAbsDifference(other) <= 1e-12 * other.abs().max().item)
  }

  @Test func `without gradients nothing is kept`() {
    let x = leaf(3, seed: 1)
    let value = withGradients(false) { Tensor.checkpointed([x]) { $0[0] * 2 } }
    #expect(!value.requiresGrad && value.equals(x.detach() * 2))
    // Nor where no input has one.
    let constant = Tensor.checkpointed([x.detach()]) { $0[0] * 2 }
    #expect(!constant.requiresGrad)
  }

  @Test func `what a part keeps goes with the graph`() {
    final class Held {}
    weak var held: Held?
    do {
      let x = leaf(3, seed: 1)
      var value: Tensor?
      do {
        let kept = Held()
        held = kept
        value = Tensor.checkpointed([x]) { inputs in withExtendedLifetime(kept) { inputs[0] * 2 } }
      }
      #expect(held != nil)
      value = nil
      #expect(value == nil)
    }
    #expect(held == nil)
  }

  @Test func `a failure in the first run is thrown`() {
    let x = leaf(2, 3, seed: 1)
    let text = failure {
      let value = Tensor.checkpointed([x]) { $0[0].matmul(Tensor.ones([4, 2], .float64)) }
      value.sum().backward()
    }
    #expect(text?.contains("2x3") == true, "\(text ?? "nothing")")
    #expect(failure { _ = Tensor.ones([2]).sum().item } == nil)
  }

  @Test func `a failure on the way back is thrown, and does not end the process`() {
    let x = leaf(2, 3, seed: 1)
    let text = failure {
      let value = Tensor.checkpointed([x]) { inputs in
        gradientsEnabled ? inputs[0].matmul(Tensor.ones([4, 2], .float64)) : inputs[0].matmul(.ones([3, 2], .float64))
      }
      #expect(value.shape == [2, 2])
      value.sum().backward()
    }
    #expect(text?.contains("2x3") == true, "\(text ?? "nothing")")
    #expect(failure { _ = Tensor.ones([2]).sum().item } == nil)
  }

  @Test func `a failure on the way back goes to the scope that asks for the gradient`() throws {
    let x = leaf(2, 3, seed: 1)
    let value = try withTorchErrors {
      Tensor.checkpointed([x]) { inputs in
        gradientsEnabled ? inputs[0].matmul(Tensor.ones([4, 2], .float64)) : inputs[0].sum()
      }
    }
    let text = failure { value.backward() }
    #expect(text?.contains("2x3") == true && text?.contains("computed again") == true, "\(text ?? "nothing")")
    #expect(x.grad == nil)
  }

  @Test func `going back twice needs the graph to be kept`() throws {
    let x = leaf(3, seed: 1)
    let value = Tensor.checkpointed([x]) { $0[0].square() }.sum()
    let first = try #require(Tensor.gradients(of: [value], with: [x], retainGraph: true)[0])
    let second = try #require(Tensor.gradients(of: [value], with: [x])[0])
    #expect(first.equals(second) && first.equals(x.detach() * 2))
    let text = failure { _ = Tensor.gradients(of: [value], with: [x]) }
    #expect(text?.contains("released") == true || text?.contains("second time") == true, "\(text ?? "nothing")")
  }
}
