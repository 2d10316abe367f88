import Foundation

/// The learning rate of each step: a linear warm-up to the peak, then a decay.
public struct LearningRateSchedule: Equatable, Sendable {
  public enum Decay: String, Sendable, CaseIterable {
    case none, cosine, linear
  }

  /// The rate after the warm-up.
  public var peak: Double
  /// Steps of the warm-up; the first one has `peak / warmUpSteps`, the last one the peak.
  public var warmUpSteps: Int
  public var decay: Decay
  /// The step at which the decay has reached its floor; the warm-up counts. Without meaning for `none`.
  public var totalSteps: Int
  /// The share of the peak at which the decay ends and the rate stays.
  public var floor: Double

  public init(
    peak: Double, warmUpSteps: Int = 0, decay: Decay = .none, totalSteps: Int = 0, floor: Double = 0
  ) {
    self.peak = peak
    self.warmUpSteps = warmUpSteps
    self.decay = decay
    self.totalSteps = totalSteps
    self.floor = floor
  }

  /// The rate of the step with this number; the first one is 0.
  public func rate(at step: Int) -> Double {
    if step < warmUpSteps { return peak * Double(step + 1) / Double(warmUpSteps) }
    let length = totalSteps - warmUpSteps
    let progress = length > 0 ? min(1, Double(step - warmUpSteps) / Double(length)) : 1
    switch decay {
    case .none: return peak
    case .linear: return peak * (floor + (1 - floor) * (1 - progress))
    case .cosine: return peak * (floor + (1 - floor) * (1 + cos(.pi * progress)) / 2)
    }
  }
}
