import Session
import Synchronization

/// How much sound a closure has given, all of one rate.
final class SoundLength: Sendable {
  private let total = Mutex((samples: 0, rate: 1))

  func add(_ sound: PCM) { total.withLock { $0 = ($0.samples + sound.samples.count, sound.rate) } }

  var seconds: Double { total.withLock { Double($0.samples) / Double($0.rate) } }
}
