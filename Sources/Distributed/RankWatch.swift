import Foundation
import Synchronization

/// Watches over the ranks of a process group: each one gives signs of life, and a lost one ends this process.
///
/// A thread counts up this rank's number in the store and looks at those of the others; a second one sees to it that the first is
/// not stuck, for a stopped rank 0 answers nobody. Both are apart from the thread that computes, so that neither a long
/// computation counts as lost nor a collective operation that waits for a dead rank keeps the process from ending.
final class RankWatch: Sendable {
  /// The status of a process that ends because another one was lost: "try again later" of sysexits.h.
  static let exitStatus: Int32 = 75

  private static let interval = 2.0
  private static let lastInterval = 0.1
  private static let patience = 15.0
  private static let done = "done"
  private static let failed = "failed: "

  private enum Phase { case working, leaving, gone }

  private struct State {
    var phase = Phase.working
    /// What this rank says last: that it is done, or why it failed.
    var lastWord = ""
    /// Goes up with every answer of the store.
    var answers = 0
  }

  private let rank: Int
  private let size: Int
  private let store: RendezvousStore
  private let condition = NSCondition()
  private let state = Mutex(State())
  private let onLoss: @Sendable () -> Void

  /// Begins once all ranks have begun.
  ///
  /// - Parameter onLoss: what is done before a lost rank ends this process.
  init(_ launch: LaunchEnvironment, timeout: Duration, onLoss: @escaping @Sendable () -> Void) throws {
    (rank, size, self.onLoss) = (launch.rank, launch.size, onLoss)
    store = try RendezvousStore(launch, isHost: false, size: 0, timeout: timeout)
    try store.set(key(rank), "0")
    for other in 0..<size { _ = try store.get(key(other)) }
    Thread.detachNewThread { self.giveSigns() }
    Thread.detachNewThread { self.watchStore() }
  }

  private func key(_ rank: Int) -> String { "sign/\(rank)" }

  /// Ends the watch: this rank is done, or has failed for a reason that the others are told. Rank 0 stays until all are done,
  /// because it hosts the store.
  func leave(failure: String? = nil) {
    state.withLock { state in
      guard state.phase == .working else { return }
      state.phase = .leaving
      state.lastWord = failure.map { RankWatch.failed + $0 } ?? RankWatch.done
    }
    condition.lock()
    condition.broadcast()
    while state.withLock({ $0.phase != .gone }) { condition.wait() }
    condition.unlock()
  }

  /// After a failed operation: gives the watch the time that it takes to find a lost rank and end the process.
  func awaitVerdict() { Thread.sleep(forTimeInterval: RankWatch.patience + 3 * RankWatch.interval) }

  // MARK: - The first thread

  private func giveSigns() {
    var number = 0
    var heard = [String](repeating: "", count: size)
    var silence = [Double](repeating: 0, count: size)
    var lastRounds = 0
    var waited = 0.0
    do {
      while true {
        let (phase, lastWord) = state.withLock { ($0.phase, $0.lastWord) }
        number += 1
        try tell(phase == .leaving ? lastWord : "\(number)")
        if phase == .leaving, rank != 0 { return end() }
        for other in 0..<size where other != rank && !hasLeft(heard[other]) {
          let sign = try hear(other)
          silence[other] = sign == heard[other] ? silence[other] + waited : 0
          heard[other] = sign
          // Whoever leaves has a last word of its own.
          if sign.hasPrefix(RankWatch.failed), phase == .working {
            stop("Rank \(other) of \(size) failed: \(sign.dropFirst(RankWatch.failed.count))")
          }
          if silence[other] >= RankWatch.patience { lost(other) }
        }
        if phase == .leaving {
          // A reason to fail is there for as long as the others need to hear it.
          lastRounds += 1
          let failed = lastWord != RankWatch.done
          let isAlone = heard.enumerated().allSatisfy { $0.offset == rank || hasLeft($0.element) }
          if isAlone || failed && lastRounds > 2 { return end() }
        }
        waited = pause(phase == .leaving && lastWord == RankWatch.done ? RankWatch.lastInterval : RankWatch.interval)
      }
    } catch {
      // Only the host of the store can be gone: its last act, after all others are done.
      stop("Rank 0 of \(size) was lost (its connection is closed)")
    }
  }

  private func hasLeft(_ sign: String) -> Bool { sign == RankWatch.done || sign.hasPrefix(RankWatch.failed) }

  private func tell(_ sign: String) throws {
    try store.set(key(rank), sign)
    state.withLock { $0.answers += 1 }
  }

  private func hear(_ other: Int) throws -> String {
    let sign = try store.get(key(other))
    state.withLock { $0.answers += 1 }
    return sign
  }

  /// Waits so many seconds, or less when this rank leaves; returns how many of them have passed, without time in which the
  /// process was stopped.
  private func pause(_ seconds: Double) -> Double {
    let start = ContinuousClock.now
    condition.lock()
    _ = condition.wait(until: Date(timeIntervalSinceNow: seconds))
    condition.unlock()
    return min(seconds, (ContinuousClock.now - start).seconds)
  }

  private func end() {
    state.withLock { $0.phase = .gone }
    condition.lock()
    condition.broadcast()
    condition.unlock()
  }

  // MARK: - The second thread

  private func watchStore() {
    // Counted in seconds of this process and not by the clock, so that time in which it was itself stopped does not count.
    var (seen, silence) = (0, 0.0)
    while true {
      Thread.sleep(forTimeInterval: 1)
      let (phase, answers) = state.withLock { ($0.phase, $0.answers) }
      if phase == .gone { return }
      silence = answers == seen ? silence + 1 : 0
      seen = answers
      if silence >= RankWatch.patience { lost(0) }
    }
  }

  // MARK: - The end

  private func lost(_ rank: Int) -> Never {
    stop("Rank \(rank) of \(size) was lost (no sign of life for \(Int(RankWatch.patience)) s)")
  }

  /// Ends the process at once: other threads may wait in an operation that never ends, and checkpoints are whole at any time.
  private func stop(_ sentence: String) -> Never {
    onLoss()
    // A reason may be a sentence already.
    FileHandle.standardError.write(Data("Error: \(sentence)\(sentence.hasSuffix(".") ? "" : ".")\n".utf8))
    _exit(RankWatch.exitStatus)
  }
}
