import Testing

@testable import Dialogue

extension NetworkTests {
  @Suite struct WatchdogTests {
    @Test func `waits that are short enough are not limited in their sum`() async throws {
      let count = try await Watchdog.run { watchdog in
        for _ in 0..<4 {
          try await watchdog.wait(2) { try await Task.sleep(for: .milliseconds(600)) }
        }
        return 4
      }
      #expect(count == 4)
    }

    @Test func `a wait that is too long ends the work`() async {
      let cancelled = Signal()
      let start = ContinuousClock.now
      await #expect(throws: Watchdog.Expired.self) {
        try await Watchdog.run { watchdog in
          try await watchdog.wait(60) {}
          do {
            try await watchdog.wait(0.2) { try await Task.sleep(for: .seconds(30)) }
          } catch {
            cancelled.set()
            throw error
          }
        }
      }
      #expect(cancelled.isSet && ContinuousClock.now - start < .seconds(25))
    }

    @Test func `who is cancelled stops waiting`() async throws {
      let task = Task {
        try await Watchdog.run { watchdog in try await watchdog.wait(60) { try await Task.sleep(for: .seconds(30)) } }
      }
      try await Task.sleep(for: .milliseconds(50))
      task.cancel()
      await #expect(throws: CancellationError.self) { try await task.value }
    }
  }
}
