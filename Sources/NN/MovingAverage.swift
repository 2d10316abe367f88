/// The exponential moving average (EMA) of the weights.
///
/// It starts as a copy of the weights at step `start` and follows each update: `ema = weight · ema + (1 − weight) · value`, in fp32.
package struct MovingAverage: Codable, Equatable, Sendable {
  /// The decay per update, below 1.
  package var weight: Double
  package var start: Int

  package init(weight: Double, start: Int = 0) {
    self.weight = weight
    self.start = start
  }
}
