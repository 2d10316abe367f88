import Foundation

/// A line that tells how far a long work is: on a terminal one that changes in place, in a log a plain one now and then.
package final class StatusLine {
  private let isQuiet: Bool
  private let isTerminal: Bool
  /// Seconds between two lines of a log.
  private let interval = 10.0
  private var last: Date

  /// - Parameter isQuiet: whether nothing is to be told at all.
  package init(isQuiet: Bool = false) {
    self.isQuiet = isQuiet
    isTerminal = Terminal.errorIsTerminal
    last = Date()
  }

  /// A line that stays.
  package func note(_ text: String) {
    if !isQuiet { Terminal.error((isTerminal ? Terminal.clearLine : "") + text) }
  }

  /// What is done now: on a terminal a line that the next one replaces.
  ///
  /// - Parameter isShort: whether a log can do without it.
  package func status(_ text: String, isShort: Bool = false) {
    guard !isQuiet else { return }
    if isTerminal { Terminal.write("\(Terminal.clearLine)\(text) …") } else if !isShort { Terminal.error(text) }
  }

  /// How far the work is. In a log it is told every ten seconds.
  ///
  /// - Parameter seconds: how long a line stays on a terminal at least.
  /// - Returns: whether it was told.
  @discardableResult
  package func show(atMostEvery seconds: Double = 0.1, _ text: () -> String) -> Bool {
    let now = Date()
    guard !isQuiet, now.timeIntervalSince(last) >= (isTerminal ? seconds : interval) else { return false }
    write(text(), now)
    return true
  }

  /// The same at once.
  package func showNow(_ text: String) {
    if !isQuiet { write(text, Date()) }
  }

  private func write(_ text: String, _ now: Date) {
    last = now
    if isTerminal { Terminal.write(Terminal.clearLine + text) } else { Terminal.error(text) }
  }

  /// Counts the time to the next line from now.
  package func restart() { last = Date() }

  /// Ends the line that changes; it stays, or is emptied.
  package func end(clearing: Bool = false) {
    if !isQuiet && isTerminal { Terminal.write(clearing ? Terminal.clearLine : "\n") }
  }

  /// Whether the line changes in place.
  package var isLive: Bool { isTerminal && !isQuiet }
}
