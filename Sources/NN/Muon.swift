import Torch

/// Muon (Jordan et al. 2024): the momentum of a matrix is orthogonalised before it moves the matrix, so that all of its directions
/// move alike.
///
/// Updates have the root mean square of AdamW's (0.2, Liu et al. 2025), so that learning rate and weight decay are shared with
/// the parameters that AdamW goes on moving: vectors, embeddings and output layers.
package struct Muon: Codable, Equatable, Sendable {
  /// How much of the gradients' average lasts to the next step.
  package var momentum: Double

  package init(momentum: Double = 0.95) { self.momentum = momentum }

  /// Root mean square of an update of learning rate 1.
  private static let scale = 0.2

  /// Whether it moves a parameter; convolutions count as matrices of their output channels.
  package static func moves(_ name: String, _ shape: [Int]) -> Bool {
    let rows = shape.first ?? 1
    let isMatrix = shape.count > 1 && rows > 1 && shape.dropFirst().reduce(1, *) > 1
    return isMatrix && !name.contains("embedding") && !name.hasPrefix("head.") && !name.contains(".head.")
  }

  /// A parameter: its flat values and its gradient's, fp32, and the average of its gradients, which is moved too.
  typealias Parameter = (master: Tensor, gradient: Tensor, average: Tensor)

  /// One update, in place, of parameters of one shape. Their matrices are orthogonalised together: one by one they are thousands of
  /// launches on a GPU.
  func step(_ parameters: [Parameter], shape: [Int], rate: Double, weightDecay: Double) {
    let rows = shape[0]
    let columns = shape.dropFirst().reduce(1, *)
    let ahead = parameters.map { parameter in
      parameter.average.mul_(momentum)
      parameter.average.add_(parameter.gradient, alpha: 1 - momentum)
      // Nesterov's look ahead.
      return (parameter.gradient * (1 - momentum) + parameter.average * momentum).reshape(rows, columns)
    }
    let updates = Muon.orthogonal(Tensor.stack(ahead, 0))
    for (number, parameter) in parameters.enumerated() {
      parameter.master.mul_(1 - rate * weightDecay)
      parameter.master.add_(
        updates.select(0, number).flatten(), alpha: -rate * Muon.scale * Double(max(rows, columns)).squareRoot())
    }
  }

  /// The nearest matrices whose singular values are all about 1 (0.7 to 1.2), by five steps of a quintic Newton-Schulz iteration.
  ///
  /// - Parameter matrices: `[..., rows, columns]`.
  static func orthogonal(_ matrices: Tensor) -> Tensor {
    let isTall = matrices.size(-2) > matrices.size(-1)
    var x = isTall ? matrices.transpose(-2, -1) : matrices
    x = x / (x.square().sum(-2, -1, keep: true).sqrt() + 1e-7)
    for _ in 0..<5 {
      let product = x.matmul(x.transpose(-2, -1))
      x = x * 3.4445 + (product * -4.7750 + product.matmul(product) * 2.0315).matmul(x)
    }
    return isTall ? x.transpose(-2, -1) : x
  }
}
