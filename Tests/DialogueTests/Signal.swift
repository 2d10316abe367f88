import Synchronization

/// Something that happens once.
final class Signal: Sendable {
  private let happened = Mutex(false)
  func set() { happened.withLock { $0 = true } }
  var isSet: Bool { happened.withLock { $0 } }

  /// Whether it happens within so many seconds.
  func wait(_ seconds: Double) async -> Bool {
    let end = ContinuousClock.now + .seconds(seconds)
    while !isSet, ContinuousClock.now < end { try? await Task.sleep(for: .milliseconds(10)) }
    return isSet
  }
}
