/// The settings of an exponential moving average of the weights (EMA).
///
/// The average begins as a copy of the weights when the trainer's counter reaches `start`, and moves after each of their updates:
/// `average = weight · average + (1 − weight) · value`, in fp32.
public struct MovingAverage: Codable, Equatable, Sendable {
  /// How much of the average each update keeps, below 1.
  public var weight: Double
  public var start: Int

  public init(weight: Double, start: Int = 0) {
    self.weight = weight
    self.start = start
  }
}
