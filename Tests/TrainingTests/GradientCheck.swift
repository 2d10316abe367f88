import NN
import Testing
import Torch

/// Compares the gradient of a loss with central differences, along a random direction of each parameter, in fp64.
///
/// - Parameter loss: a scalar that depends on the parameters and on nothing random.
func expectGradients(
  of parameters: [(name: String, tensor: Tensor)], tolerance: Double = 1e-6, step: Double = 1e-6,
  sourceLocation: SourceLocation = #_sourceLocation, _ loss: () -> Tensor
) {
  for (_, tensor) in parameters { tensor.requiresGrad = true }
  let gradients = Tensor.gradients(of: [loss()], with: parameters.map(\.tensor))
  for (index, ((name, tensor), gradient)) in zip(parameters, gradients).enumerated() {
    guard let gradient else {
      Issue.record("\(name) has no gradient", sourceLocation: sourceLocation)
      continue
    }
    let direction = RandomGenerator(seed: UInt64(300 + index)).normal(tensor.shape, .float64)
    let numeric = withGradients(false) {
      tensor.add_(direction, alpha: step)
      let above = loss().item
      tensor.add_(direction, alpha: -2 * step)
      let below = loss().item
      tensor.add_(direction, alpha: step)
      return (above - below) / (2 * step)
    }
    let analytic = (gradient * direction).sum().item
    #expect(
      abs(numeric - analytic) <= tolerance * max(1, abs(numeric)), "\(name): \(analytic), by differences \(numeric)",
      sourceLocation: sourceLocation)
  }
}

/// Adam with its usual constants, by hand.
struct HandAdam {
  let parameters: [Tensor]
  let rate: Double
  private var averages: [(first: Tensor, second: Tensor)]
  private var step = 0

  init(_ parameters: [Tensor], rate: Double) {
    self.parameters = parameters
    self.rate = rate
    averages = parameters.map { (Tensor.zeros($0.shape, $0.dtype), Tensor.zeros($0.shape, $0.dtype)) }
    for parameter in parameters { parameter.requiresGrad = true }
  }

  /// Moves the parameters against the gradient of a loss.
  mutating func descend(_ loss: Tensor) {
    step += 1
    let gradients = Tensor.gradients(of: [loss], with: parameters)
    withGradients(false) {
      for (index, gradient) in gradients.enumerated() {
        guard let gradient else { continue }
        averages[index].first.add_(gradient - averages[index].first, alpha: 0.1)
        averages[index].second.add_(gradient.square() - averages[index].second, alpha: 0.001)
        let mean = averages[index].first / (1 - pow(0.9, step))
        let deviation = (averages[index].second / (1 - pow(0.999, step))).sqrt() + 1e-8
        parameters[index].add_(mean / deviation, alpha: -rate)
      }
    }
  }

  private func pow(_ base: Double, _ exponent: Int) -> Double { (0..<exponent).reduce(1) { value, _ in value * base } }
}
