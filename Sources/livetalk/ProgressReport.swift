import ComputeCommands
import Foundation
import Generation

/// Tells how far a long work is: one line that changes on a terminal, plain lines now and then in a log.
final class ProgressReport {
  private let isQuiet: Bool
  private let isTerminal: Bool
  /// Seconds between two lines of a log.
  private let interval = 10.0
  /// When the first block began.
  private(set) var started = Date()
  private var frames = 0
  private var blocks = 0
  private var done = 0
  private var block = 0
  private var lastLine = Date.distantPast
  /// Frames that the last line told of.
  private var shown = 0

  init(isQuiet: Bool) {
    self.isQuiet = isQuiet
    isTerminal = Terminal.errorIsTerminal
  }

  /// A line that stays.
  func note(_ text: String) {
    if !isQuiet { Terminal.error((isTerminal ? Terminal.clearLine : "") + text) }
  }

  /// What is done now: on a terminal a line that the next one replaces.
  ///
  /// - Parameter isShort: whether a log can do without it.
  func status(_ text: String, isShort: Bool = false) {
    guard !isQuiet else { return }
    if isTerminal { Terminal.write("\(Terminal.clearLine)\(text) …") } else if !isShort { Terminal.error(text) }
  }

  func begin(frames: Int, blocks: Int) {
    (self.frames, self.blocks) = (frames, blocks)
    started = Date()
    note("Generating \(frames) frames in \(blocks) block\(blocks == 1 ? "" : "s")")
    lastLine = started
    if isTerminal { show() }
  }

  func frame(_ count: Int) {
    done = count
    if isTerminal { show(atMostEvery: 0.1) }
  }

  /// A block is whole.
  func block(_ count: Int) {
    block = count
    show(atMostEvery: isTerminal ? 0 : interval)
  }

  /// Ends the line that changes.
  func end() {
    guard !isQuiet else { return }
    if isTerminal || shown < done { show() }
    if isTerminal { Terminal.write("\n") }
  }

  private func show(atMostEvery seconds: Double = 0) {
    let now = Date()
    guard !isQuiet, now.timeIntervalSince(lastLine) >= seconds else { return }
    lastLine = now
    shown = done
    if isTerminal { Terminal.write(Terminal.clearLine + line(now)) } else { Terminal.error(line(now)) }
  }

  private func line(_ now: Date) -> String {
    let share = frames > 0 ? Double(done) / Double(frames) : 0
    let time = now.timeIntervalSince(started)
    let head = String(
      format: "block %d of %d, %3.0f%%", min(block + (done < frames ? 1 : 0), blocks), blocks, share * 100)
    guard done > 0, time > 0 else { return head }
    let rate = String(format: "%.3g frames a second", Double(done) / time)
    let left = share < 1 ? "\(timeText(time / share - time)) left" : "done in \(timeText(time))"
    return "\(head), \(rate), \(left)"
  }
}
