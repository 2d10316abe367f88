import Torch

/// The settings of AdamW (Loshchilov & Hutter 2019): Adam with decoupled weight decay.
package struct AdamW: Codable, Equatable, Sendable {
  /// Decay of the first moment.
  package var beta1: Double
  /// Decay of the second moment.
  package var beta2: Double
  /// Each step multiplies the weights by `1 − learningRate · weightDecay`.
  package var weightDecay: Double
  /// Added to the denominator.
  package var epsilon: Double

  /// PyTorch's defaults.
  package init(beta1: Double = 0.9, beta2: Double = 0.999, weightDecay: Double = 0.01, epsilon: Double = 1e-8) {
    self.beta1 = beta1
    self.beta2 = beta2
    self.weightDecay = weightDecay
    self.epsilon = epsilon
  }

  /// The factor that clips gradients to a global norm of `limit`, as PyTorch's `clip_grad_norm_`.
  package static func clipping(norm: Double, limit: Double) -> Double { min(1, limit / (norm + 1e-6)) }
}
