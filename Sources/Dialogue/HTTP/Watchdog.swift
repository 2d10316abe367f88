import Synchronization

/// Ends work that waits for too long: a deadline that the work itself moves.
final class Watchdog: Sendable {
  struct Expired: Error {}

  private let deadline = Mutex<ContinuousClock.Instant?>(nil)

  /// Waits for what `body` waits for, and no longer than so many seconds.
  func wait<Result>(_ seconds: Double, for body: () async throws -> Result) async throws -> Result {
    let end = ContinuousClock.now + .seconds(seconds)
    deadline.withLock { $0 = end }
    defer { deadline.withLock { $0 = nil } }
    do {
      return try await body()
    } catch {
      // Whatever the cancelled work makes of it.
      throw ContinuousClock.now < end ? error : Expired()
    }
  }

  /// Returns only by throwing: `Expired` behind a deadline.
  private func watch() async throws {
    while true {
      let left = deadline.withLock { $0.map { $0 - .now } ?? .milliseconds(50) }
      guard left > .zero else { throw Expired() }
      // A new deadline may be nearer than the old one.
      try await Task.sleep(for: min(left, .milliseconds(50)))
    }
  }

  /// Runs work whose waiting the watchdog limits; the work is cancelled when a wait takes too long.
  ///
  /// - Throws: `Expired`, or what the work throws.
  static func run<Result: Sendable>(
    _ work: @escaping @Sendable (Watchdog) async throws -> Result
  ) async throws -> Result {
    let watchdog = Watchdog()
    return try await withThrowingTaskGroup(of: Result?.self) { group in
      group.addTask { try await work(watchdog) }
      group.addTask {
        try await watchdog.watch()
        return nil
      }
      defer { group.cancelAll() }
      guard let result = try await group.next(), let result else { throw Expired() }
      return result
    }
  }
}
