import Basics
package import Distributed
package import Torch

/// Frozen weights of layers that are alike, of which each rank keeps a part: those of a layer are gathered when it is computed (ZeRO stage 3,
/// Rajbhandari et al. 2020; FSDP of PyTorch).
///
/// The weights of one layer at a time are whole, in a buffer that all layers share. So a pass with gradients must compute a layer again when it
/// goes back (activation checkpointing), and gather it for that. All ranks compute the same layers in the same order.
// Unchecked for `current`: on a GPU layers are computed again on another thread, while the first one waits.
package final class ShardedLayers: @unchecked Sendable {
  private let group: ProcessGroup
  private let buffer: Tensor  // [ranks · share]
  private let shards: [Tensor]  // [share] for each layer
  private var current: Int?

  /// Takes over the layers' tensors, which see the buffer from now on: whoever holds them computes with gathered weights.
  ///
  /// - Parameter layers: the tensors of each layer, in the same order, with the same values on every rank.
  /// - Throws: `LiveTalkError` for layers that are not alike, `TorchError` for exhausted memory.
  package init(_ layers: [[Tensor]], group: ProcessGroup) throws {
    guard let first = layers.first, let example = first.first,
      layers.allSatisfy({ $0.map(\.shape) == first.map(\.shape) && $0.allSatisfy { $0.dtype == example.dtype } })
    else { throw LiveTalkError("Only layers of one shape and type share a buffer that their weights are gathered in.") }
    self.group = group
    let share = Self.share(of: first.map(\.count).reduce(0, +), ranks: group.size)
    let offsets = first.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.count) }
    (buffer, shards) = try withTorchErrors {
      withGradients(false) {
        let buffer = Tensor.zeros([share * group.size], example.dtype, device: example.device)
        func view(_ index: Int) -> Tensor {
          buffer.narrow(0, offsets[index], first[index].count).reshape(first[index].shape)
        }
        let shards = layers.map { layer in
          for (index, tensor) in layer.enumerated() { view(index).copy_(tensor) }
          return buffer.narrow(0, group.rank * share, share).clone()
        }
        for layer in layers {
          for (index, tensor) in layer.enumerated() { tensor.share(view(index)) }
        }
        return (buffer, shards)
      }
    }
  }

  private static func share(of count: Int, ranks: Int) -> Int { (count + ranks - 1) / ranks }

  /// Values that a rank keeps of layers of `count` values each, the buffer included.
  package static func valuesKept(layers: Int, of count: Int, ranks: Int) -> Int {
    share(of: count, ranks: ranks) * (ranks + layers)
  }

  /// Bytes that this rank keeps, the buffer included.
  package var byteCount: Int { (buffer.count + shards.map(\.count).reduce(0, +)) * buffer.dtype.size }

  /// Makes a layer's weights whole: a collective call. They are until another layer's are.
  package func gather(_ layer: Int) {
    guard layer != current else { return }
    withGradients(false) {
      let share = shards[layer].count
      buffer.narrow(0, group.rank * share, share).copy_(shards[layer])
      do { try group.allGather(buffer) } catch { require(false, "\(error)") }
    }
    current = layer
  }
}
