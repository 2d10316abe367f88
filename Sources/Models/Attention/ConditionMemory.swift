import NN
package import Torch

// B batch, M tokens of a condition, H heads, D head width, C = H·D.

/// The keys and values of tokens that every block of a video sees beside the blocks before it, such as those of a picture.
///
/// One pass over the tokens, which see each other only, fills it layer by layer. Keys are kept without their rotation and rotated when
/// they are read, so that the tokens' time positions may change while a video goes on (Rolling RoPE of Live Avatar, arXiv 2512.04677).
/// It does not change afterwards: all steps of a rollout share it.
package final class ConditionMemory: AttentionMemory {
  /// It holds no block.
  package let endFrame = 0
  private var layers: [(keys: Tensor, values: Tensor)] = []  // [B, M, H, D]

  package init() {}

  /// - Returns: the rotary factors of the block's frames; those of a condition are its model's.
  package func begin(_ block: Range<Int>, rotary: Rotary) -> Tensor {
    rotary.factors(start: block.lowerBound, frames: block.count)
  }

  package func exchange(
    _ keys: ProjectedKeys, _ values: Tensor, of block: Range<Int>, layer: Int, isRecomputed: Bool
  ) -> (keys: Tensor, values: Tensor) {
    require(!gradientsEnabled, "Gradients do not cross kept keys and values.")
    require(layer == layers.count, "A condition is written once, layer by layer.")
    if !gradientsEnabled, layer == layers.count { layers.append((keys.unrotated(), values.contiguous())) }
    return (keys.rotated(), values)
  }

  /// A layer's keys without rotation, and values.
  package func ordered(layer: Int) -> (keys: Tensor, values: Tensor) {
    (layers[layer].keys.flatten(2), layers[layer].values.flatten(2))
  }

  /// A layer's keys, rotated by `factors` `[M, D/2, 2]`, and values, each `[B, M, H, D]`.
  func rotated(_ layer: Int, _ factors: Tensor) -> (keys: Tensor, values: Tensor) {
    let keys = layers[layer].keys.clone()
    keys.rotate_(factors)
    return (keys, layers[layer].values)
  }
}

/// A memory of earlier blocks with a condition beside it, as one pass sees them.
final class MemoryBesideCondition: AttentionMemory {
  private let memory: any AttentionMemory
  private let condition: ConditionMemory
  private var factors: Tensor  // [M, D/2, 2]

  /// - Parameter factors: the rotary factors that the condition's tokens have in this pass, `[M, D/2, 2]`.
  init(_ memory: any AttentionMemory, _ condition: ConditionMemory, factors: Tensor) {
    (self.memory, self.condition, self.factors) = (memory, condition, factors)
  }

  var endFrame: Int { memory.endFrame }

  func begin(_ block: Range<Int>, rotary: Rotary) -> Tensor { memory.begin(block, rotary: rotary) }

  func exchange(
    _ keys: ProjectedKeys, _ values: Tensor, of block: Range<Int>, layer: Int, isRecomputed: Bool
  ) -> (keys: Tensor, values: Tensor) {
    let blocks = memory.exchange(keys, values, of: block, layer: layer, isRecomputed: isRecomputed)
    // A pass goes on from one device to the next.
    factors = factors.to(values.device)
    let beside = condition.rotated(layer, factors)
    return (Tensor.cat([blocks.keys, beside.keys], 1), Tensor.cat([blocks.values, beside.values], 1))
  }

  func ordered(layer: Int) -> (keys: Tensor, values: Tensor) { memory.ordered(layer: layer) }
}
