import Basics
import ComputeCommands
import Foundation
import Generation

/// Tells how far a generation is: one line that changes on a terminal, plain lines now and then in a log.
final class ProgressReport {
  private let line: StatusLine
  /// When the first block began.
  private(set) var started = Date()
  private var frames = 0
  private var blocks = 0
  private var done = 0
  private var block = 0
  /// Frames that the last line told of.
  private var shown = 0

  init(isQuiet: Bool) { line = StatusLine(isQuiet: isQuiet) }

  /// A line that stays.
  func note(_ text: String) { line.note(text) }

  /// What is done now: on a terminal a line that the next one replaces.
  ///
  /// - Parameter isShort: whether a log can do without it.
  func status(_ text: String, isShort: Bool = false) { line.status(text, isShort: isShort) }

  func begin(frames: Int, blocks: Int) {
    (self.frames, self.blocks) = (frames, blocks)
    started = Date()
    note("Generating \(frames) frames in \(blocks) block\(blocks == 1 ? "" : "s")")
    line.restart()
    if line.isLive { line.showNow(text) }
  }

  func frame(_ count: Int) {
    done = count
    if line.isLive { show(atMostEvery: 0.1) }
  }

  /// A block is whole.
  func block(_ count: Int) {
    block = count
    show(atMostEvery: 0)
  }

  /// Ends the line that changes.
  func end() {
    if line.isLive || shown < done { line.showNow(text) }
    line.end()
  }

  private func show(atMostEvery seconds: Double) {
    if line.show(atMostEvery: seconds, { text }) { shown = done }
  }

  private var text: String {
    let time = Date().timeIntervalSince(started)
    let share = frames > 0 ? Double(done) / Double(frames) : 0
    let head = String(
      format: "block %d of %d, %3.0f%%", min(block + (done < frames ? 1 : 0), blocks), blocks, share * 100)
    guard done > 0, time > 0 else { return head }
    let rate = String(format: "%.3g frames a second", Double(done) / time)
    let left = share < 1 ? "\(timeText(time / share - time)) left" : "done in \(timeText(time))"
    return "\(head), \(rate), \(left)"
  }
}
