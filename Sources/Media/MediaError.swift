import Foundation

/// What went wrong with a media file, in one sentence that names the file and the reason.
package struct MediaError: Error, Equatable, Sendable, CustomStringConvertible, LocalizedError {
  package let description: String

  package var errorDescription: String? { description }

  init(_ description: String) { self.description = description }

  /// - Parameter kind: what the file was taken for: "picture", "sound", "video".
  static func unreadable(_ kind: String, _ path: String, _ reason: String) -> MediaError {
    MediaError("The \(kind) \(path) cannot be read: \(reason).")
  }

  static func unwritable(_ path: String, _ reason: String) -> MediaError {
    MediaError("The output \(path) cannot be written: \(reason).")
  }
}

/// The system's words for an errno: "No space left on device".
func systemReason(_ code: Int32) -> String { String(cString: strerror(code)) }
