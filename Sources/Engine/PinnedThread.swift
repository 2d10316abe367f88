import Foundation
import Synchronization

/// One thread that runs the jobs of actors, one after the other, in the order in which they come.
///
/// What libtorch keeps per thread (the recording of gradients, the current CUDA stream, its pool of threads) is then the same for
/// every job of an actor that has this as its executor. It lives as long as the process: a server has one for each device.
final class PinnedThread: SerialExecutor, @unchecked Sendable {
  private let condition = NSCondition()
  // Under `condition`.
  private var jobs: [UnownedJob] = []
  private let name: String
  private let identity = Mutex<UInt>(0)

  init(name: String) {
    self.name = name
    let thread = Thread { [self] in run() }
    thread.name = name
    // Deep graphs of operations run on it.
    thread.stackSize = 8 << 20
    thread.start()
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    condition.lock()
    jobs.append(job)
    condition.signal()
    condition.unlock()
  }

  func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

  func checkIsolated() {
    precondition(isCurrent, "This must run on the thread \(name).")
  }

  /// Whether the caller is on this thread.
  var isCurrent: Bool { identity.withLock { $0 == UInt(bitPattern: ObjectIdentifier(Thread.current)) } }

  private func run() {
    identity.withLock { $0 = UInt(bitPattern: ObjectIdentifier(Thread.current)) }
    while true {
      condition.lock()
      while jobs.isEmpty { condition.wait() }
      let job = jobs.removeFirst()
      condition.unlock()
      job.runSynchronously(on: asUnownedSerialExecutor())
    }
  }
}
