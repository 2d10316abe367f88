import Basics
import Foundation
import Generation
import NN
import Torch

/// Frozen weights of transformers' files: each file is in memory once, however many networks are built over it.
///
/// Student, critic and teacher of LoRA training differ in small factors only. Files are told apart by what they are on disk, so that links
/// to one are one.
final class FrozenBases {
  private var known: [String: [String: Tensor]] = [:]

  /// The weights of a folder's transformer, converted, on the device.
  func weights(
    of folder: CheckpointFolder, _ make: () throws -> [(name: String, tensor: Tensor)]
  ) throws -> [String: Tensor] {
    let key = try Self.identity(of: try folder.require(.transformer))
    if let found = known[key] { return found }
    let made = Dictionary(uniqueKeysWithValues: try make().map { ($0.name, $0.tensor) })
    known[key] = made
    return made
  }

  private static func identity(of file: URL) throws -> String {
    var status = stat()
    guard stat(file.path, &status) == 0 else { throw FileError(file) }
    return "\(status.st_dev) \(status.st_ino)"
  }
}
