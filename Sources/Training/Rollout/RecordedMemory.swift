package import Models
package import Torch

/// The KV cache of training rollouts: it holds the whole clip and can be rewound to an earlier block.
///
/// In a pass with gradients the block's own keys and values are part of the graph. Those of older blocks are constants, unless
/// gradients are to flow into the passes that wrote them.
package final class RecordedMemory: AttentionMemory {
  package let frames: Int
  package private(set) var endFrame = 0

  private let shape: MemoryShape
  /// The sliding window of attention in latent frames; nil for all.
  private let visibleFrames: Int?
  /// Whether what a recorded pass wrote keeps its graph when a later pass overwrites its values.
  private let crossesBlocks: Bool
  private let keys: [Tensor]  // per layer [B, F·T, H, D]
  private let values: [Tensor]
  /// What recorded passes wrote, by layer and first frame of the block.
  private var history: [Int: [Int: (keys: Tensor, values: Tensor)]] = [:]
  private var positions = TimePositions()

  /// - Parameters:
  ///   - frames: of the clip.
  ///   - gradient: how it flows from a block into earlier ones. With activation checkpointing it must be `.cut`.
  package init(
    _ shape: MemoryShape, frames: Int, visibleFrames: Int? = nil, gradient: HistoryGradient = .cut
  ) {
    (self.shape, self.frames, self.visibleFrames) = (shape, frames, visibleFrames)
    crossesBlocks = gradient != .cut
    (keys, values) = (shape.rows(frames: frames), shape.rows(frames: frames))
  }

  package func begin(_ block: Range<Int>, rotary: Rotary) -> Tensor {
    check(block, windowFrames: frames)
    require(block.upperBound <= frames, "The clip is longer than the memory that was to hold all of it.")
    endFrame = block.upperBound
    return positions.factors(block, rotary)
  }

  /// Rewinds to the state after the blocks before `frame`.
  package func rewind(to frame: Int) {
    require(frame <= endFrame, "The memory has not come to frame \(frame).")
    endFrame = frame
  }

  /// Empties the memory for the next clip.
  func reset() { (endFrame, history) = (0, [:]) }

  package func exchange(
    _ newKeys: ProjectedKeys, _ newValues: Tensor, of block: Range<Int>, layer: Int, isRecomputed: Bool
  ) -> (keys: Tensor, values: Tensor) {
    let keys = newKeys.rotated()
    if !isRecomputed { write(keys, newValues, of: block, layer) }
    let older = older(layer, than: block.lowerBound)
    guard older.keys.size(1) > 0 else { return (newest(keys), newest(newValues)) }
    return (newest(Tensor.cat([older.keys, keys], 1)), newest(Tensor.cat([older.values, newValues], 1)))
  }

  package func ordered(layer: Int) -> (keys: Tensor, values: Tensor) {
    let rows = endFrame * shape.tokensPerFrame
    return (keys[layer].narrow(1, 0, rows).flatten(2), values[layer].narrow(1, 0, rows).flatten(2))
  }

  /// The rows inside the sliding window.
  private func newest(_ rows: Tensor) -> Tensor {
    let visible = min(visibleFrames ?? frames, frames) * shape.tokensPerFrame
    return visible < rows.size(1) ? rows.narrow(1, rows.size(1) - visible, visible) : rows
  }

  private func write(_ newKeys: Tensor, _ newValues: Tensor, of block: Range<Int>, _ layer: Int) {
    if crossesBlocks, gradientsEnabled { history[layer, default: [:]][block.lowerBound] = (newKeys, newValues) }
    let (first, count) = (block.lowerBound * shape.tokensPerFrame, block.count * shape.tokensPerFrame)
    keys[layer].narrow(1, first, count).copy_(newKeys.detach())
    values[layer].narrow(1, first, count).copy_(newValues.detach())
  }

  /// The keys and values of frames before `start`: the values of the newest pass over each block and, where gradients cross blocks,
  /// the graph of the recorded one.
  private func older(_ layer: Int, than start: Int) -> (keys: Tensor, values: Tensor) {
    let rows = start * shape.tokensPerFrame
    let older = (keys: keys[layer].narrow(1, 0, rows), values: values[layer].narrow(1, 0, rows))
    guard crossesBlocks, gradientsEnabled else { return older }
    let recorded = (history[layer] ?? [:]).filter { $0.key < start }.sorted { $0.key < $1.key }
    guard !recorded.isEmpty else { return older }
    func joined(_ older: Tensor, _ part: ((keys: Tensor, values: Tensor)) -> Tensor) -> Tensor {
      var (parts, end) = ([Tensor](), 0)
      for (first, block) in recorded {
        let tokens = first * shape.tokensPerFrame
        if end < tokens { parts.append(older.narrow(1, end, tokens - end) * 0) }
        let new = part(block)
        parts.append(new - new.detach())
        end = tokens + new.size(1)
      }
      if end < rows { parts.append(older.narrow(1, end, rows - end) * 0) }
      return older + Tensor.cat(parts, 1)
    }
    return (joined(older.keys) { $0.keys }, joined(older.values) { $0.values })
  }
}
