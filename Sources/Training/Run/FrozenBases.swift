import Basics
package import Distributed
import Foundation
import Generation
package import NN
package import Torch

/// Frozen weights of transformers' files: each file is in memory once, however many networks are built over it, and shared out over ranks where
/// that is asked for.
///
/// Student, critic and teacher of LoRA training differ in small factors only. Files are told apart by what they are on disk, so that links
/// to one are one.
final class FrozenBases {
  struct Base {
    let weights: [String: Tensor]
    let sharded: ShardedLayers?
  }

  private let group: ProcessGroup?
  private var known: [String: Base] = [:]

  /// - Parameter group: ranks that each keep a part of the layers' weights; nil where this process keeps all.
  init(shardedOver group: ProcessGroup? = nil) { self.group = group }

  /// The weights of a folder's transformer, converted, on the device.
  func base(of folder: CheckpointFolder, _ make: () throws -> [(name: String, tensor: Tensor)]) throws -> Base {
    let key = try Self.identity(of: try folder.require(.transformer))
    if let found = known[key] { return found }
    let weights = Dictionary(uniqueKeysWithValues: try make().map { ($0.name, $0.tensor) })
    let base = Base(
      weights: weights, sharded: try group.map { try ShardedLayers(frozenLayers: weights, group: $0) })
    known[key] = base
    return base
  }

  private static func identity(of file: URL) throws -> String {
    var status = stat()
    guard stat(file.path, &status) == 0 else { throw FileError(file) }
    return "\(status.st_dev) \(status.st_ino)"
  }
}

extension ShardedLayers {
  /// Whether the weight of that key is shared out: the matrices of the layers. The rest of them is small.
  static func shards(_ name: String, _ shape: [Int]) -> Bool { shape.count == 2 && name.hasPrefix("blocks.") }

  /// Shares out the layers of a transformer's weights.
  package convenience init(frozenLayers weights: [String: Tensor], group: ProcessGroup) throws {
    var layers: [Int: [Tensor]] = [:]
    for (name, tensor) in weights.sorted(by: { $0.key < $1.key }) where Self.shards(name, tensor.shape) {
      guard let layer = Int(name.split(separator: ".")[1]) else { continue }
      layers[layer, default: []].append(tensor)
    }
    try self.init(layers.sorted { $0.key < $1.key }.map(\.value), group: group)
  }
}
