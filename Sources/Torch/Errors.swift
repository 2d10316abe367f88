package import CTorch
import Foundation
import Synchronization

/// A failure that libtorch reported: its message, first line first.
package struct TorchError: Error, CustomStringConvertible, LocalizedError, Sendable {
  package let description: String
  package var errorDescription: String? { description }

  package init(_ description: String) { self.description = description }
}

/// Where a scope keeps the first failure of its operations.
// Unchecked for what the lock guards.
final class ErrorScope: @unchecked Sendable {
  @TaskLocal static var current: ErrorScope?

  private let lock = NSLock()
  private var first: TorchError?
  private var hasEnded = false

  /// Keeps the failure if it is the first; false once the scope has ended, when nobody would learn of it.
  func record(_ error: TorchError) -> Bool {
    lock.withLock {
      if first == nil { first = error }
      return !hasEnded
    }
  }

  func end() throws {
    let error = lock.withLock {
      hasEnded = true
      return first
    }
    if let error { throw error }
  }
}

/// Runs `body` and throws the first failure of the tensor operations in it.
///
/// Tensor operations do not throw. Outside such a scope a failed one ends the process with libtorch's message. Inside, the
/// first failure is recorded, the rest of the scope runs on empty tensors, and the failure is thrown when the scope ends, so
/// that for instance an exhausted GPU costs a server one session. A task that was started in the scope and outlives it is
/// outside.
package func withTorchErrors<Result>(_ body: () throws -> Result) throws -> Result {
  let scope = ErrorScope()
  let result = Swift.Result { try ErrorScope.$current.withValue(scope) { try body() } }
  try scope.end()
  return try result.get()
}

/// Handles what must hold of a tensor like a failed operation: after one, tensors are empty, which must not end the process.
package func require(_ holds: Bool, _ message: @autoclosure () -> String) {
  if !holds { fail(TorchError(message())) }
}

/// Sets what ends the process when an operation fails outside of every scope: a program's own last words instead of a trap.
package func onTorchFailure(_ end: @escaping @Sendable (TorchError) -> Never) { lastWords.withLock { $0 = end } }

private let lastWords = Mutex<(@Sendable (TorchError) -> Never)?>(nil)

/// Handles the status of one C call: nothing, a recorded failure, or the end of the process.
@inline(__always)
func check(_ status: ct_status) {
  if status != 0 { fail() }
}

@inline(never)
private func fail() { fail(TorchError(String(cString: ct_last_error()))) }

private func fail(_ error: TorchError) {
  if let scope = ErrorScope.current, scope.record(error) { return }
  if let end = lastWords.withLock({ $0 }) { end(error) }
  fatalError(error.description)
}

/// Throws the failure of one C call instead of recording it; for files and devices.
package func throwing(_ status: ct_status) throws {
  if status != 0 { throw TorchError(String(cString: ct_last_error())) }
}
