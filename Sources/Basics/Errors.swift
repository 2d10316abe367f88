package import Foundation

/// What went wrong, in one sentence for the user that says what to do.
///
/// Only what somebody catches by its type has an error type of its own.
package struct LiveTalkError: Error, Equatable, Sendable, CustomStringConvertible, LocalizedError {
  package let description: String
  package var errorDescription: String? { description }

  package init(_ description: String) { self.description = description }

  package static func unwritable(_ path: String, _ reason: String) -> LiveTalkError {
    LiveTalkError("The output \(path) cannot be written: \(reason).")
  }
}

/// A file that cannot be used, and why: the caller may know the file by another name, or say what it is for.
package struct FileError: Error, Sendable, CustomStringConvertible, LocalizedError {
  package let path: String
  package let reason: String
  package var description: String { "\(path): \(reason)." }
  package var errorDescription: String? { description }

  package init(_ url: URL, _ reason: String = systemReason()) {
    path = url.path
    self.reason = reason
  }
}

/// The system's words for an errno, without one the last call's: "No space left on device".
package func systemReason(_ code: Int32 = errno) -> String { String(cString: strerror(code)) }
