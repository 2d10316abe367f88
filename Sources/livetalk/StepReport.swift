import ComputeCommands
import Foundation
import Generation

/// Progress of work whose share is known: a line that changes on a terminal, a plain line every ten seconds in a log.
final class StepReport {
  private let title: String
  private let started = Date()
  private var lastLine: Date
  private let isTerminal = Terminal.errorIsTerminal

  init(_ title: String) {
    self.title = title
    lastLine = started
    Terminal.error(title)
  }

  func show(_ share: Double, _ text: String) {
    let now = Date()
    guard now.timeIntervalSince(lastLine) >= (isTerminal ? 0.2 : 10) else { return }
    lastLine = now
    let time = now.timeIntervalSince(started)
    let left = share > 0 ? ", \(timeText(time / share - time)) left" : ""
    let line = String(format: "%3.0f%%, ", share * 100) + text + left
    if isTerminal { Terminal.write(Terminal.clearLine + line) } else { Terminal.error(line) }
  }

  /// Clears the line that changes.
  func end() {
    if isTerminal { Terminal.write(Terminal.clearLine) }
  }
}
