import Foundation

/// Why training cannot start or continue.
public struct TrainingError: Error, CustomStringConvertible, LocalizedError, Sendable {
  public let description: String
  public var errorDescription: String? { description }

  public init(_ description: String) { self.description = description }
}
