/// The time of a session, in seconds from any start.
package protocol SessionClock: Sendable {
  var now: Double { get }
  /// - Throws: `CancellationError`.
  func sleep(until time: Double) async throws
}

/// The time that passes, whatever is done to the computer's calendar.
package struct SystemClock: SessionClock {
  private let start = ContinuousClock.now

  package init() {}

  package var now: Double { (ContinuousClock.now - start) / .seconds(1) }

  package func sleep(until time: Double) async throws {
    try await Task.sleep(until: start + .seconds(time), tolerance: .milliseconds(2), clock: .continuous)
  }
}
