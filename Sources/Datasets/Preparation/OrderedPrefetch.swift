import Foundation

/// Makes values on several threads ahead of one that takes them in order.
///
/// No more than `ahead` values wait to be taken, so that memory is bounded.
// Unchecked for what the lock of the condition guards.
final class OrderedPrefetch<Value: Sendable>: @unchecked Sendable {
  private let count: Int
  private let ahead: Int
  private let make: @Sendable (Int) -> Value
  private let condition = NSCondition()
  // With the lock of the condition held:
  private var next = 0
  private var taken = 0
  private var ready: [Int: Value] = [:]
  private var isStopped = false
  private var running = 0

  /// - Parameters:
  ///   - count: how many values there are.
  ///   - threads: how many are made at a time.
  ///   - make: makes the value of a number; called on any thread.
  init(count: Int, threads: Int, make: @escaping @Sendable (Int) -> Value) {
    self.count = count
    self.make = make
    let threads = max(1, min(threads, count))
    ahead = threads
    running = threads
    for _ in 0..<threads {
      let thread = Thread { self.work() }
      // Decoders and libtorch expect a main thread's stack.
      thread.stackSize = 8 << 20
      thread.start()
    }
  }

  /// The next value in order, when it is there; nil when all were taken.
  func take() -> Value? {
    condition.lock()
    defer { condition.unlock() }
    guard taken < count else { return nil }
    while true {
      if let value = ready.removeValue(forKey: taken) {
        taken += 1
        condition.broadcast()
        return value
      }
      condition.wait()
    }
  }

  /// Makes no more values and waits for those that are being made.
  func stop() {
    condition.lock()
    isStopped = true
    condition.broadcast()
    while running > 0 { condition.wait() }
    condition.unlock()
  }

  private func work() {
    condition.lock()
    while !isStopped, next < count {
      guard next < taken + ahead else {
        condition.wait()
        continue
      }
      let number = next
      next += 1
      condition.unlock()
      let value = make(number)
      condition.lock()
      ready[number] = value
      condition.broadcast()
    }
    running -= 1
    condition.broadcast()
    condition.unlock()
  }
}
