import Basics
import Foundation
import Synchronization

extension ClipFolder {
  /// How far the making of clips is.
  package struct Progress: Sendable {
    /// Clips to make in this run, and those made.
    package var clips = 0
    package var made = 0
    /// Pictures made in this run.
    package var frames = 0
    /// Seconds that all threads together spent drawing.
    package var drawing = 0.0
    /// Seconds since the beginning.
    package var seconds = 0.0
  }

  private struct Work {
    var next = 0
    var progress = Progress()
    /// Lines of clips that wait for the clips before them.
    var waiting: [Int: String] = [:]
    var listed = 0
    var failure: (any Error)?
  }

  /// Makes what is missing of the first `count` clips, on several threads; what is whole already stays.
  ///
  /// - Parameter report: called on this thread, a few times a second and once at the end.
  /// - Throws: the first error of a clip; the clips made by then stay. `CancellationError` after `stop`.
  package func fill(
    _ count: Int, threads: Int = ProcessInfo.processInfo.activeProcessorCount, report: (Progress) -> Void = { _ in }
  ) throws -> Progress {
    let todo = try missing(of: count)
    let start = ContinuousClock.now
    let shared = Shared(clips: todo.count)
    let group = DispatchGroup()
    for _ in 0..<min(max(threads, 1), todo.count) {
      group.enter()
      let thread = Thread {
        self.makeClips(todo, shared)
        group.leave()
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    func progress() -> Progress {
      var progress = shared.work.withLock { $0.progress }
      progress.seconds = (ContinuousClock.now - start) / .seconds(1)
      return progress
    }
    while group.wait(timeout: .now() + 0.1) == .timedOut { report(progress()) }
    if let failure = shared.work.withLock({ $0.failure }) {
      removePartialFiles()
      throw failure
    }
    report(progress())
    try writeMetadata()
    return progress()
  }

  /// Asks `fill` to end; waits until its threads have put away what they had begun, at most so long, and removes the rest.
  package func stop(within seconds: Double = 1.5) {
    stopping.store(true, ordering: .releasing)
    let end = ContinuousClock.now + .seconds(seconds)
    while active.load(ordering: .acquiring) > 0, ContinuousClock.now < end { usleep(5_000) }
    removePartialFiles()
  }

  /// A mutex that threads may hold on to.
  private final class Shared: Sendable {
    let work: Mutex<Work>

    init(clips: Int) {
      var work = Work()
      work.progress.clips = clips
      self.work = Mutex(work)
    }
  }

  private func makeClips(_ todo: [Int], _ shared: Shared) {
    active.add(1, ordering: .acquiringAndReleasing)
    defer { active.subtract(1, ordering: .acquiringAndReleasing) }
    while true {
      let place = shared.work.withLock { work -> Int? in
        guard work.next < todo.count, work.failure == nil, !stopping.load(ordering: .relaxed) else { return nil }
        work.next += 1
        return work.next - 1
      }
      guard let place else {
        if stopping.load(ordering: .relaxed) {
          shared.work.withLock { if $0.failure == nil { $0.failure = CancellationError() } }
        }
        return
      }
      do {
        let (drawing, line) = try make(todo[place])
        try shared.work.withLock { work in
          work.progress.made += 1
          work.progress.frames += settings.frames
          work.progress.drawing += drawing
          work.waiting[place] = line
          while let line = work.waiting.removeValue(forKey: work.listed) {
            try list(todo[work.listed], line)
            work.listed += 1
          }
        }
      } catch {
        shared.work.withLock { if $0.failure == nil { $0.failure = error } }
        return
      }
    }
  }
}
