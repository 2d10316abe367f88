/// The exponential moving average (EMA) of the weights.
///
/// It starts as a copy of the weights at step `start` and follows each update: `ema = weight · ema + (1 − weight) · value`, in fp32.
public struct MovingAverage: Codable, Equatable, Sendable {
  /// The decay per update, below 1.
  public var weight: Double
  public var start: Int

  public init(weight: Double, start: Int = 0) {
    self.weight = weight
    self.start = start
  }
}
