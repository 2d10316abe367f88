/// Gives frames at a fixed rate from frames with times: each moment gets the frame whose time is nearest, the earlier one where
/// two are as near. A slower rate thus skips frames and a faster one repeats them, and no frame is ever off by more than half
/// of a source frame.
struct NearestFrames<Frame> {
  private let rate: Double
  private var last: (frame: Frame, time: Double)?
  /// Frames given so far.
  private(set) var count = 0

  init(framesPerSecond rate: Double) { self.rate = rate }

  private var moment: Double { Double(count) / rate }

  /// Takes the next frame; times are in seconds from the first frame, and rise.
  mutating func push(_ frame: Frame, at time: Double, give: (Frame, Double) throws -> Void) rethrows {
    if let last {
      let middle = (last.time + time) / 2
      while moment <= middle + 1e-9 {
        try give(last.frame, moment)
        count += 1
      }
    }
    last = (frame, time)
  }

  /// Ends it: the last frame is shown until `seconds`.
  mutating func finish(at seconds: Double, give: (Frame, Double) throws -> Void) rethrows {
    // A thousandth of a frame is a rounding of the container's clock.
    while let last, moment < seconds - 1e-3 / rate {
      try give(last.frame, moment)
      count += 1
    }
  }
}
