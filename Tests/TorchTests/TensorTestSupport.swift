import Testing
import Torch

/// Standard normal values that depend on the seed alone.
func random(_ shape: Int..., seed: UInt64 = 1, dtype: DType = .float32) -> Tensor {
  RandomGenerator(seed: seed).normal(shape, .float64).to(dtype)
}

/// Expects every element to lie within `tolerance` of the given values.
func expectValues(
  _ tensor: Tensor, _ values: [Double], _ tolerance: Double = 1e-6, sourceLocation: SourceLocation = #_sourceLocation
) {
  let actual = tensor.array(Double.self)
  #expect(actual.count == values.count, sourceLocation: sourceLocation)
  for (one, other) in zip(actual, values) {
    #expect(abs(one - other) <= tolerance, "\(actual) is not \(values)", sourceLocation: sourceLocation)
  }
}

/// Compares gradients with central differences along random directions, in fp64.
///
/// The loss is a fixed random weighting of the function's output.
func expectGradients(
  of inputs: [Tensor], tolerance: Double = 1e-6, sourceLocation: SourceLocation = #_sourceLocation,
  _ function: ([Tensor]) -> Tensor
) {
  let weights = random(1, seed: 99, dtype: .float64)
  func loss(_ inputs: [Tensor]) -> Tensor {
    let output = function(inputs)
    let weighting = RandomGenerator(seed: 100).normal(output.shape, .float64)
    return (output * (weighting + weights)).sum()
  }
  let leaves = inputs.map { input in
    let leaf = input.detach().clone()
    leaf.requiresGrad = true
    return leaf
  }
  let gradients = Tensor.gradients(of: [loss(leaves)], with: leaves)
  for (index, gradient) in gradients.enumerated() {
    guard let gradient else {
      Issue.record("input \(index) has no gradient", sourceLocation: sourceLocation)
      continue
    }
    #expect(gradient.shape == inputs[index].shape, sourceLocation: sourceLocation)
    for seed in 0..<3 {
      let direction = RandomGenerator(seed: UInt64(200 + 10 * index + seed)).normal(inputs[index].shape, .float64)
      let step = 1e-6
      let ends = withGradients(false) {
        [step, -step].map { step in
          var moved = inputs
          moved[index] = inputs[index] + direction * step
          return loss(moved).item
        }
      }
      let numeric = (ends[0] - ends[1]) / (2 * step)
      let analytic = (gradient * direction).sum().item
      #expect(
        abs(numeric - analytic) <= tolerance * max(1, abs(numeric)),
        "input \(index), direction \(seed): \(analytic), by differences \(numeric)", sourceLocation: sourceLocation)
    }
  }
}
