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

  /// One update in place.
  ///
  /// - Parameters:
  ///   - master: the flat values of a parameter of this shape, fp32.
  ///   - average: of its gradients; moved too.
  func step(
    _ master: Tensor, shape: [Int], gradient: Tensor, average: Tensor, rate: Double, weightDecay: Double
  ) {
    average.mul_(momentum)
    average.add_(gradient, alpha: 1 - momentum)
    // Nesterov's look ahead.
    let ahead = gradient * (1 - momentum) + average * momentum
    let rows = shape[0]
    let columns = ahead.count / rows
    let update = Muon.orthogonal(ahead.reshape(rows, columns))
    master.mul_(1 - rate * weightDecay)
    master.add_(update.flatten(), alpha: -rate * Muon.scale * Double(max(rows, columns)).squareRoot())
  }

  /// The nearest matrix whose singular values are all about 1 (0.7 to 1.2), by five steps of a quintic Newton-Schulz iteration.
  static func orthogonal(_ matrix: Tensor) -> Tensor {
    let isTall = matrix.size(0) > matrix.size(1)
    var x = isTall ? matrix.transpose(0, 1) : matrix
    x = x / (x.square().sum().sqrt() + 1e-7)
    for _ in 0..<5 {
      let product = x.matmul(x.transpose(0, 1))
      x = x * 3.4445 + (product * -4.7750 + product.matmul(product) * 2.0315).matmul(x)
    }
    return isTall ? x.transpose(0, 1) : x
  }
}
