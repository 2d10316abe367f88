import Foundation

/// Why a synthetic clip cannot be made.
public struct SpeakerError: Error, CustomStringConvertible, LocalizedError, Sendable {
  public let description: String
  public var errorDescription: String? { description }

  public init(_ description: String) { self.description = description }
}
