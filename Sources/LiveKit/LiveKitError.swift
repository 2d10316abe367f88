import Foundation

/// Why a room cannot be joined, or was left, in one sentence.
package struct LiveKitError: Error, Hashable, Sendable, CustomStringConvertible, LocalizedError {
  package enum Reason: Sendable {
    /// The address is none of a LiveKit server.
    case badAddress
    /// The server does not take the token, or what it allows is not enough.
    case refused
    /// The server cannot be reached, or does not speak as one of LiveKit does.
    case unreachable
    /// The room was left: by the server's will, or because a connection broke.
    case ended
  }

  package let reason: Reason
  package let description: String

  package var errorDescription: String? { description }

  init(_ reason: Reason, _ description: String) { (self.reason, self.description) = (reason, description) }
}
