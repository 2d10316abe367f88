import Basics
import ComputeCommands
import Foundation
import Generation

/// Progress of work whose share is known: a line that changes on a terminal, a plain line every ten seconds in a log.
final class StepReport {
  private let started = Date()
  private let line = StatusLine()

  init(_ title: String) { Terminal.error(title) }

  func show(_ share: Double, _ text: String) {
    line.show(atMostEvery: 0.2) {
      let time = Date().timeIntervalSince(started)
      let left = share > 0 ? ", \(timeText(time / share - time)) left" : ""
      return String(format: "%3.0f%%, ", share * 100) + text + left
    }
  }

  /// Clears the line that changes.
  func end() { line.end(clearing: true) }
}
