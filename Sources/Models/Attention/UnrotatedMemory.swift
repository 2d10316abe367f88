package import Torch

/// A memory whose keys are kept without their rotation and rotated when they are read, so that a frame's time position may change:
/// sinks that move with the newest block (Rolling RoPE of Live Avatar, arXiv 2512.04677).
///
/// Frames are kept and replaced as in `RingMemory`, whose result it has where sinks stay in place.
package final class UnrotatedMemory: AttentionMemory {
  package let shape: MemoryShape
  package let windowFrames: Int
  package let sinkFrames: Int
  /// How many positions the first sink lies before the end of the newest block, once that is further; nil where sinks stay.
  package var sinkDistance: Int? { didSet { factors = nil } }
  package private(set) var endFrame = 0

  private var keys: [Tensor]  // per layer [B, rows, H, D], oldest first, before rotation
  private var values: [Tensor]
  private var frames: [Int] = []
  private var positions = TimePositions()
  private var rotary: Rotary?
  /// The rotary factors of all frames, `[rows, D/2, 2]`: the same for every layer of a pass, and from pass to pass of a block.
  private var factors: Tensor?

  /// - Precondition: the window holds the sinks and at least one frame more.
  package init(_ shape: MemoryShape, windowFrames: Int, sinkFrames: Int = 0, sinkDistance: Int? = nil) {
    precondition(sinkFrames >= 0 && windowFrames > sinkFrames, "the window must be larger than its sinks")
    self.shape = shape
    self.windowFrames = windowFrames
    self.sinkFrames = sinkFrames
    self.sinkDistance = sinkDistance
    (keys, values) = (shape.rows(frames: windowFrames), shape.rows(frames: windowFrames))
  }

  package func begin(_ block: Range<Int>, rotary: Rotary) -> Tensor {
    check(block, windowFrames: windowFrames, sinkFrames: sinkFrames)
    self.rotary = rotary
    let new = block.filter { !frames.contains($0) }
    let excess = frames.count + new.count - windowFrames
    if excess > 0 {
      // The oldest frames behind the sinks leave; what stays moves up.
      let (head, tail) = (sinkFrames * shape.tokensPerFrame, (sinkFrames + excess) * shape.tokensPerFrame)
      let count = frames.count * shape.tokensPerFrame - tail
      for rows in keys + values { rows.narrow(1, head, count).copy_(rows.narrow(1, tail, count).clone()) }
      frames.removeSubrange(sinkFrames..<sinkFrames + excess)
    }
    frames += new
    if block.upperBound > endFrame || excess > 0 { factors = nil }
    endFrame = block.upperBound
    return positions.factors(block, rotary)
  }

  package func exchange(
    _ newKeys: ProjectedKeys, _ newValues: Tensor, of block: Range<Int>, layer: Int, isRecomputed: Bool
  ) -> (keys: Tensor, values: Tensor) {
    require(!gradientsEnabled, "Gradients do not cross kept keys and values.")
    let first = ((frames.firstIndex(of: block.lowerBound)) ?? 0) * shape.tokensPerFrame
    let count = block.count * shape.tokensPerFrame
    keys[layer].narrow(1, first, count).copy_(newKeys.unrotated())
    values[layer].narrow(1, first, count).copy_(newValues)
    return (rotated(layer), used(values[layer]))
  }

  package func ordered(layer: Int) -> (keys: Tensor, values: Tensor) {
    (rotated(layer).flatten(2), used(values[layer]).flatten(2))
  }

  private func used(_ rows: Tensor) -> Tensor { rows.narrow(1, 0, frames.count * shape.tokensPerFrame) }

  /// The keys of a layer at the positions that their frames have now.
  private func rotated(_ layer: Int) -> Tensor {
    guard let rotary, !frames.isEmpty else { return used(keys[layer]) }
    let factors = factors ?? Tensor.cat(frames.map { rotary.factors(start: position(of: $0), frames: 1) }, 0)
    self.factors = factors
    let keys = used(keys[layer]).clone()
    keys.rotate_(factors)
    return keys
  }

  private func position(of frame: Int) -> Int {
    guard let sinkDistance, frame < sinkFrames else { return frame }
    return frame + max(0, endFrame - sinkDistance)
  }
}
