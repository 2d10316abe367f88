import Foundation
import Generation

/// How far a run is, for people: "step 120 of 4000, loss 0.0312, 3.42 steps a second, 18:55 left". The command prints it.
package struct TrainingProgress: Sendable {
  private let totalSteps: Int
  /// The last steps with the seconds at which they were done, oldest first; the first is where the run began or was resumed.
  private var marks: [(step: Int, time: Double)]
  private var loss: Double?

  /// How many of the last steps the speed is that of.
  private static let window = 50

  /// - Parameters:
  ///   - step: how many steps are done already.
  ///   - time: now, in seconds on any clock that does not jump.
  package init(totalSteps: Int, done step: Int = 0, time: Double) {
    self.totalSteps = totalSteps
    marks = [(step, time)]
  }

  /// A step is done.
  ///
  /// - Parameter step: how many are done now.
  package mutating func update(step: Int, loss: Double?, time: Double) {
    if let loss { self.loss = loss }
    marks.append((step, time))
    if marks.count > Self.window + 1 { marks.removeFirst() }
  }

  /// Steps a second, of late; nil before the first step.
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
