/// A bucket of tokens: so many at once, refilled at a rate.
struct RateLimit: Sendable {
  private let burst: Double
  private let perSecond: Double
  private var tokens: Double
  private var last: ContinuousClock.Instant

  init(burst: Double, perSecond: Double, now: ContinuousClock.Instant = .now) {
    self.burst = burst
    self.perSecond = perSecond
    tokens = burst
    last = now
  }

  /// Whether `count` tokens are there; they are taken if so.
  mutating func take(_ count: Double = 1, now: ContinuousClock.Instant = .now) -> Bool {
    tokens = min(burst, tokens + (now - last) / .seconds(1) * perSecond)
    last = now
    guard tokens >= count else { return false }
    tokens -= count
    return true
  }
}
