import Foundation

/// What is wrong with a folder of shards.
public struct ShardError: Error, CustomStringConvertible, LocalizedError, Sendable {
  public let description: String
  public var errorDescription: String? { description }

  public init(_ description: String) { self.description = description }
}
