import Basics
import Foundation
package import Torch

/// Why a run was stopped, as a small report: the step, what was seen, and the values before it.
package struct GuardFailure: SentenceError, LocalizedError, Sendable {
  package let step: Int
  /// "the loss is nan", "9 of 12 frames are black (…)".
  package let findings: [String]
  /// The values of the last steps before, oldest first.
  package let before: [String]

  package var errorDescription: String? { description }
  package var description: String {
    let history = before.isEmpty ? "" : "\nBefore that:" + before.map { "\n  \($0)" }.joined()
    return "Training stopped at step \(step): \(findings.joined(separator: "; ")).\(history)"
  }
}

/// Stops a run on NaN, infinity or a broken sample video, with a report of the last few steps.
package struct NaNGuard: Sendable {
  private var history: [(step: Int, values: [(name: String, value: Double)])] = []
  private let remembered: Int

  package init(remembering count: Int = 5) { remembered = count }

  /// Checks a step's metrics, such as loss and gradient norm.
  ///
  /// - Throws: `GuardFailure` where one is NaN or infinite.
  package mutating func check(step: Int, _ values: [(name: String, value: Double)]) throws {
    let wrong = values.filter { !$0.value.isFinite }
    guard wrong.isEmpty else {
      throw GuardFailure(step: step, findings: wrong.map { "the \($0.name) is \($0.value)" }, before: lastValues)
    }
    history.append((step, values))
    if history.count > remembered { history.removeFirst() }
  }

  /// Checks a sample video.
  ///
  /// - Throws: `GuardFailure` with what `videoFaults` finds.
  package func check(step: Int, video: Tensor, _ settings: VideoGuardSettings = VideoGuardSettings()) throws {
    let faults = videoFaults(video, settings)
    if !faults.isEmpty { throw GuardFailure(step: step, findings: faults, before: lastValues) }
  }

  private var lastValues: [String] {
    history.map { step, values in
      "step \(step): " + values.map { "\($0.name) \(String(format: "%.5g", $0.value))" }.joined(separator: ", ")
    }
  }
}

/// When a sample video counts as broken. Pixels are in [-1, 1].
package struct VideoGuardSettings: CheckedSettings {
  /// A frame is black whose mean is below this…
  package var blackMean = -0.9
  /// …and whose standard deviation is below this.
  package var blackDeviation = 0.05
  /// A frame is of one flat colour where no channel's standard deviation reaches this.
  package var flatDeviation = 0.02
  /// Share of frames, black or flat, from which on the video fails.
  package var share = 0.25
  /// Mean change of a pixel from frame to frame from which on a video can flicker; 2 is from black to white.
  package var flickerChange = 0.1
  /// It flickers where two frames apart it changes by less than this share of that: every other frame looks the same.
  package var flickerReturn = 0.5
  /// Or where three changes or more are this many times the median one.
  package var flickerJump = 6.0

  package init() {}

  package func check(_ check: inout ConfigurationCheck) {
    check.inside(-1...1, "blackMean", blackMean)
    check.notNegative("blackDeviation", blackDeviation)
    check.notNegative("flatDeviation", flatDeviation)
    check.inside(0...1, "share", share)
    check.notNegative("flickerChange", flickerChange)
    check.inside(0...1, "flickerReturn", flickerReturn)
    check.positive("flickerJump", flickerJump)
  }
}

/// Why a video `[3, T, H, W]` in [-1, 1] is broken: not finite, black, flat or flickering. Empty for a good one.
package func videoFaults(_ video: Tensor, _ settings: VideoGuardSettings = VideoGuardSettings()) -> [String] {
  guard video.rank == 4, video.count > 0 else { return ["the video is \(video.shape) and holds no frames"] }
  let video = video.detach().to(.cpu, .float32)
  let broken = video.count - video.isFinite().to(.int64).sum().intItem
  guard broken == 0 else { return ["\(broken) of \(video.count) values of the video are not finite"] }
  return stillFaults(video, settings) + flickerFaults(video, settings)
}

/// Frames that are black or of one colour.
private func stillFaults(_ video: Tensor, _ settings: VideoGuardSettings) -> [String] {
  let frames = video.size(1)
  let means = video.mean(0, 2, 3).array(Double.self)
  let deviations = video.variance(2, 3, unbiased: false).sqrt().max(0).array(Double.self)  // of the liveliest channel
  let isBlack = zip(means, deviations).map { $0 < settings.blackMean && $1 < settings.blackDeviation }
  let isFlat = zip(isBlack, deviations).map { !$0 && $1 < settings.flatDeviation }
  func fault(_ which: [Bool], _ what: String) -> String? {
    let count = which.count { $0 }
    guard count > 0, Double(count) >= settings.share * Double(frames) else { return nil }
    let mean = zip(which, means).filter(\.0).map(\.1).reduce(0, +) / Double(count)
    let deviation = zip(which, deviations).filter(\.0).map(\.1).reduce(0, +) / Double(count)
    return "\(count) of \(frames) frames are \(what) (mean \(figure(mean)), deviation \(figure(deviation)))"
  }
  return [fault(isBlack, "black"), fault(isFlat, "of one flat colour")].compactMap { $0 }
}

/// A picture that comes and goes with every other frame, or jumps again and again.
private func flickerFaults(_ video: Tensor, _ settings: VideoGuardSettings) -> [String] {
  let frames = video.size(1)
  guard frames >= 4 else { return [] }
  func change(over distance: Int) -> [Double] {
    let count = frames - distance
    return (video.narrow(1, distance, count) - video.narrow(1, 0, count)).abs().mean(0, 2, 3).array(Double.self)
  }
  let (near, far) = (change(over: 1), change(over: 2))
  let (meanNear, meanFar) = (near.reduce(0, +) / Double(near.count), far.reduce(0, +) / Double(far.count))
  if meanNear >= settings.flickerChange && meanFar < settings.flickerReturn * meanNear {
    return [
      "the video flickers (a frame differs by \(figure(meanNear)) from the next and \(figure(meanFar)) from the one after)"
    ]
  }
  let median = near.sorted()[near.count / 2]
  let jumps = near.filter { $0 >= settings.flickerChange && $0 > settings.flickerJump * median }
  // One or two can be cuts.
  guard jumps.count >= 3 else { return [] }
  let largest = jumps.max() ?? 0
  return [
    "the video jumps \(jumps.count) times in \(frames) frames (by \(figure(largest)), where \(figure(median)) is usual)"
  ]
}

private func figure(_ value: Double) -> String { String(format: "%.3g", value) }
