import Basics
import Foundation
import Generation

/// A run's progress line: "step 120 of 4000, loss 0.0312, 3.42 steps a second, 18:55 left".
package struct TrainingProgress: Sendable {
  private let totalSteps: Int
  /// The times at which the last steps were done, oldest first; it begins with the run's start or resumption.
  private var marks: [(step: Int, time: Double)]
  private var loss: Double?

  /// Steps over which the speed is averaged.
  private static let window = 50

  /// - Parameters:
  ///   - step: steps already done.
  ///   - time: now, in seconds of a monotonic clock.
  package init(totalSteps: Int, done step: Int = 0, time: Double) {
    self.totalSteps = totalSteps
    marks = [(step, time)]
  }

  /// - Parameter step: steps done now.
  package mutating func update(step: Int, loss: Double?, time: Double) {
    if let loss { self.loss = loss }
    marks.append((step, time))
    if marks.count > Self.window + 1 { marks.removeFirst() }
  }

  /// Nil before the first step.
  package var stepsPerSecond: Double? {
    guard let first = marks.first, let last = marks.last, last.step > first.step, last.time > first.time else {
      return nil
    }
    return Double(last.step - first.step) / (last.time - first.time)
  }

  package var secondsLeft: Double? {
    stepsPerSecond.map { Double(max(0, totalSteps - (marks.last?.step ?? 0))) / $0 }
  }

  package var text: String {
    var parts = ["step \(marks.last?.step ?? 0) of \(totalSteps)"]
    if let loss { parts.append("loss \(String(format: "%.4g", loss))") }
    if let rate = stepsPerSecond {
      parts.append(
        rate >= 1
          ? "\(String(format: "%.3g", rate)) steps a second" : "\(String(format: "%.3g", 1 / rate)) seconds a step")
    }
    if let secondsLeft { parts.append("\(timeText(secondsLeft)) left") }
    return parts.joined(separator: ", ")
  }
}
