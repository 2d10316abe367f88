import Foundation
package import Torch

/// When one part of a pipeline worked on one block.
package struct PipelineSpan: Sendable, Hashable {
  /// A step, or the number of steps for the decoder; `sound` for encoding a block's sound.
  package var part: Int
  package var block: Int
  /// Seconds since the clock's start.
  package var start: Double
  package var end: Double

  /// The process that worked.
  package var rank: Int
  package static let sound = -1

  package init(part: Int, block: Int, start: Double, end: Double, rank: Int) {
    (self.part, self.block, self.start, self.end, self.rank) = (part, block, start, end, rank)
  }

  package var seconds: Double { end - start }
}

/// Notes when the parts of a stage work.
///
/// It waits for the device at the end of each part, so that on a GPU what is measured overlaps less than what is not.
package final class PipelineClock {
  package private(set) var spans: [PipelineSpan] = []
  private let device: Device
  private let rank: Int
  private var zero = ContinuousClock.now
  private var (part, block, begun) = (0, 0, ContinuousClock.now)

  package init(_ device: Device, rank: Int) { (self.device, self.rank) = (device, rank) }

  /// From now on times count.
  ///
  /// - Parameter time: when they began for all processes, in seconds since 1970: processes do not leave a barrier together where there are
  ///   more of them than cores. On several machines their clocks must agree.
  package func start(at time: Double) {
    spans = []
    zero = ContinuousClock.now.advanced(by: .seconds(time - Date().timeIntervalSince1970))
  }

  /// The seconds of all parts since the last call, which are then forgotten.
  func takeSeconds() -> Double {
    defer { spans = [] }
    return spans.reduce(0) { $0 + $1.seconds }
  }

  func begin(block: Int, part: Int) {
    device.synchronize()
    (self.part, self.block, begun) = (part, block, .now)
  }

  /// Ends a part; the next one begins.
  func lap() {
    device.synchronize()
    let now = ContinuousClock.now
    spans.append(PipelineSpan(part: part, block: block, start: seconds(begun), end: seconds(now), rank: rank))
    (part, begun) = (part + 1, now)
  }

  private func seconds(_ time: ContinuousClock.Instant) -> Double { (time - zero) / .seconds(1) }
}
