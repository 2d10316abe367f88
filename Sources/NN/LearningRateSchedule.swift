import Foundation

/// The learning rate of each step: a linear warm-up to the peak, then a decay.
package struct LearningRateSchedule: Equatable, Sendable {
  package enum Decay: String, Sendable, CaseIterable {
    case none, cosine, linear
  }

  /// The peak learning rate.
  package var peak: Double
  /// Steps of linear warm-up, from `peak / warmUpSteps` to the peak.
  package var warmUpSteps: Int
  package var decay: Decay
  /// The step at which the decay ends, warm-up included.
  package var totalSteps: Int
  /// The final learning rate as a share of the peak.
  package var floor: Double

  package init(
    peak: Double, warmUpSteps: Int = 0, decay: Decay = .none, totalSteps: Int = 0, floor: Double = 0
  ) {
    self.peak = peak
    self.warmUpSteps = warmUpSteps
    self.decay = decay
    self.totalSteps = totalSteps
    self.floor = floor
  }

  /// The learning rate of a step, counted from 0.
  package func rate(at step: Int) -> Double {
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
