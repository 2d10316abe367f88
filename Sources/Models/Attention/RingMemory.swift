package import Torch

/// The memory that serves: sized once, written in place, never moved.
///
/// Rows are latent frames of T tokens. The first `sinkFrames` of the clip stay (attention sinks); the rest is a ring in which a
/// new frame takes the place of the oldest. Attention has no mask and keys carry their rotation, so the order of rows does not
/// matter, and the rows in use are always the first ones. Gradients do not cross it: training has a memory of its own.
package final class RingMemory: AttentionMemory {
  package let shape: MemoryShape
  /// Frames that the memory holds, sinks included (`local_attn_size` of the papers' code).
  package let windowFrames: Int
  package let sinkFrames: Int
  /// Attention sees only this many of the newest tokens (`max_attention_size` of the reference); nil for all.
  package let visibleTokens: Int?
  /// Whether no frame may ever take the place of another.
  package let holdsWholeClip: Bool
  package private(set) var positions: TimePositions
  package private(set) var endFrame = 0

  let keys: [Tensor]  // per layer [B, W·T, H, D]
  let values: [Tensor]  // per layer [B, W·T, H, D]

  /// - Precondition: the window holds the sinks and at least one frame more.
  package init(
    _ shape: MemoryShape, windowFrames: Int, sinkFrames: Int = 0, visibleTokens: Int? = nil,
    holdsWholeClip: Bool = false, positionLimit: Int? = nil
  ) {
    precondition(sinkFrames >= 0 && windowFrames > sinkFrames, "the window must be larger than its sinks")
    self.shape = shape
    self.windowFrames = windowFrames
    self.sinkFrames = sinkFrames
    self.visibleTokens = visibleTokens
    self.holdsWholeClip = holdsWholeClip
    positions = TimePositions(limit: positionLimit)
    (keys, values) = (shape.rows(frames: windowFrames), shape.rows(frames: windowFrames))
  }

  /// Forgets all frames; the memory stays.
  package func reset() {
    endFrame = 0
    positions = TimePositions(limit: positions.limit)
  }

  /// Takes up noise as though so many frames had been generated. For benchmarks: the work of a pass does not depend on values.
  package func fill(frames: Int, _ generator: RandomGenerator) {
    for tensor in keys + values { tensor.copy_(generator.normal(tensor.shape, tensor.dtype)) }
    endFrame = frames
  }

  /// - Precondition: the block fits beside the sinks.
  package func begin(_ block: Range<Int>, rotary: Rotary) -> Tensor {
    check(block, windowFrames: windowFrames, sinkFrames: sinkFrames)
    require(
      !holdsWholeClip || block.upperBound <= windowFrames,
      "The clip is longer than the window that was to hold all of it.")
    let distance = positions.place(block)
    if distance > 0 { turnBack(distance, rotary) }
    endFrame = block.upperBound
    return positions.factors(block, rotary)
  }

  package func exchange(
    _ newKeys: ProjectedKeys, _ newValues: Tensor, of block: Range<Int>, layer: Int, isRecomputed: Bool
  ) -> (keys: Tensor, values: Tensor) {
    require(!gradientsEnabled, "Gradients do not cross a ring of keys and values.")
    for (token, row, count) in runs(of: block) {
      newKeys.write(token, count, into: keys[layer].narrow(1, row, count))
      values[layer].narrow(1, row, count).copy_(newValues.narrow(1, token, count))
    }
    return visible(layer: layer)
  }

  package func ordered(layer: Int) -> (keys: Tensor, values: Tensor) {
    let index = Tensor(rowOrder, device: shape.devices[layer])
    return (keys[layer].indexSelect(1, index).flatten(2), values[layer].indexSelect(1, index).flatten(2))
  }

  /// Rotates the keys that are not sinks to positions `distance` earlier.
  private func turnBack(_ distance: Int, _ rotary: Rotary) {
    let start = sinkFrames * shape.tokensPerFrame
    let count = (windowFrames - sinkFrames) * shape.tokensPerFrame
    let shift = rotary.shift(byFrames: -distance)
    let factors = shift.unsqueeze(0).expand(count, shift.size(0), 2).contiguous()
    for key in keys { key.narrow(1, start, count).rotate_(factors.to(key.device)) }
  }

  /// Where a frame's tokens stand, in frames.
  private func slot(of frame: Int) -> Int {
    frame < sinkFrames ? frame : sinkFrames + (frame - sinkFrames) % (windowFrames - sinkFrames)
  }

  /// The block's places as runs of consecutive rows: token offset within the block, first row, number of rows.
  private func runs(of block: Range<Int>) -> [(token: Int, row: Int, count: Int)] {
    var runs: [(token: Int, row: Int, count: Int)] = []
    for (index, frame) in block.enumerated() {
      let row = slot(of: frame) * shape.tokensPerFrame
      if let last = runs.last, last.row + last.count == row {
        runs[runs.count - 1].count += shape.tokensPerFrame
      } else {
        runs.append((index * shape.tokensPerFrame, row, shape.tokensPerFrame))
      }
    }
    return runs
  }

  /// The keys and values of a layer that attention sees: `[B, rows, H, D]`.
  private func visible(layer: Int) -> (keys: Tensor, values: Tensor) {
    let rows = min(endFrame, windowFrames) * shape.tokensPerFrame
    guard let visibleTokens, visibleTokens < rows else {
      return (keys[layer].narrow(1, 0, rows), values[layer].narrow(1, 0, rows))
    }
    let index = Tensor(Array(rowOrder.suffix(visibleTokens)), device: shape.devices[layer])
    return (keys[layer].indexSelect(1, index), values[layer].indexSelect(1, index))
  }

  /// The rows in use from the oldest token to the newest.
  private var rowOrder: [Int] {
    let frames =
      endFrame <= windowFrames
      ? Array(0..<endFrame)
      : Array(0..<sinkFrames) + Array((endFrame - (windowFrames - sinkFrames))..<endFrame)
    return frames.flatMap { frame in
      let first = slot(of: frame) * shape.tokensPerFrame
      return first..<(first + shape.tokensPerFrame)
    }
  }
}
