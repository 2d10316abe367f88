import Foundation

/// Why a dataset folder, or a clip of it, cannot be used.
public struct DatasetError: Error, CustomStringConvertible, LocalizedError, Sendable {
  public let description: String
  public var errorDescription: String? { description }

  public init(_ description: String) { self.description = description }
}
