import Basics
package import CTorch
import Foundation
import Synchronization

/// A failure of tensor operations or devices: a sentence of ours, or what libtorch reported.
package struct TorchError: Error, CustomStringConvertible, LocalizedError, Sendable {
  /// Of libtorch: its message, first line first.
  package let description: String
  package var errorDescription: String? { sentence }
  /// Whether the words are libtorch's, which are for programmers.
  package let isOfLibrary: Bool

  /// What was being done, in words of ours; nil where nobody said.
  private let purpose: String?

  package init(_ description: String) { (self.description, isOfLibrary, purpose) = (description, false, nil) }

  /// - Parameter purpose: what was being done, for the sentence.
  package init(ofLibrary message: String, during purpose: String? = nil) {
    (description, isOfLibrary, self.purpose) = (purpose.map { "\($0): \(message)" } ?? message, true, purpose)
  }

  /// What a user is told.
  package var sentence: String {
    guard isOfLibrary else { return description }
    if description.contains("out of memory") || description.contains("can't allocate memory") {
      let bytes = description.firstMatch(of: /tried to allocate (\d{1,18}) bytes/).flatMap { Int($0.1) }
      return "There is not enough memory" + (bytes.map { " for \(byteText($0)) more" } ?? "")
        + ": smaller sizes, fewer frames in the cache policy or bf16 take less."
    }
    if description.contains("CUDA error") || description.contains("cuDNN error")
      || description.contains("CUBLAS_STATUS")
    {
      return
        "The GPU reports a fault: start again, and see what nvidia-smi says; LIVETALK_TRACE=1 shows the library's words."
    }
    if let purpose { return "\(purpose): it failed; LIVETALK_TRACE=1 shows the library's words." }
    return
      "A computation failed that should not: start again with LIVETALK_TRACE=1, which shows the library's words, and "
      + "report them."
  }
}

extension TorchError: SentenceError {}

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
private func fail() {
  let error = TorchError(ofLibrary: String(cString: ct_last_error()))
  // At once: what fails on the way to the end of the scope would hide it.
  if let word = getenv("LIVETALK_TRACE"), word.pointee != 0 {
    FileHandle.standardError.write(Data("\(error.description)\n".utf8))
  }
  fail(error)
}

private func fail(_ error: TorchError) {
  if let scope = ErrorScope.current, scope.record(error) { return }
  if let end = lastWords.withLock({ $0 }) { end(error) }
  fatalError(error.description)
}

/// Throws the failure of one C call instead of recording it; for files and devices.
package func throwing(_ status: ct_status) throws {
  if status != 0 { throw TorchError(ofLibrary: String(cString: ct_last_error())) }
}
