import Foundation

/// Why a connection cannot be made or changed, in one sentence.
package struct WebRTCError: Error, Equatable, Sendable, CustomStringConvertible, LocalizedError {
  /// What is to blame; as HTTP it is the status.
  package enum Reason: Int, Sendable {
    /// What was sent is not SDP, or breaks its rules.
    case malformed = 400
    /// It is well formed and asks for what there is not: a codec, a direction, a restart of ICE.
    case unsupported = 422
    /// GStreamer failed.
    case failed = 500
    /// GStreamer or one of its parts is not installed.
    case unavailable = 503
  }

  package let reason: Reason
  package let description: String

  package var errorDescription: String? { description }

  init(_ reason: Reason, _ description: String) { (self.reason, self.description) = (reason, description) }
}
