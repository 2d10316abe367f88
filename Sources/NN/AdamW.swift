import Torch

/// The settings of AdamW (Loshchilov & Hutter 2019): Adam with weight decay that does not pass through the moments.
public struct AdamW: Codable, Equatable, Sendable {
  /// How much of the mean gradient is kept from step to step; 0 uses the newest alone.
  public var beta1: Double
  /// How much of the mean square is kept.
  public var beta2: Double
  /// Each step takes `rate · weightDecay` of every value away.
  public var weightDecay: Double
  /// Added to the root of the mean square.
  public var epsilon: Double

  /// PyTorch's defaults.
  public init(beta1: Double = 0.9, beta2: Double = 0.999, weightDecay: Double = 0.01, epsilon: Double = 1e-8) {
    self.beta1 = beta1
    self.beta2 = beta2
    self.weightDecay = weightDecay
    self.epsilon = epsilon
  }

  /// What the gradients are multiplied with so that their norm is at most `limit`; as `clip_grad_norm_` of PyTorch.
  public static func clipping(norm: Double, limit: Double) -> Double { min(1, limit / (norm + 1e-6)) }
}
