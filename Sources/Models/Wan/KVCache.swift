import Torch

/// The self-attention keys and values of one session, for every layer: sized once, written in place, never moved.
///
/// Rows are latent frames of T tokens. The first `sinkFrames` of the clip stay; the rest is a ring in which a new frame takes
/// the place of the oldest. Attention has no mask and keys carry their rotation, so the order of rows does not matter, and the
/// rows in use are always the first ones.
public final class KVCache {
  /// Frames that the cache holds, sinks included (`local_attn_size` of the papers' code).
  public let windowFrames: Int
  public let sinkFrames: Int
  public let tokensPerFrame: Int
  /// Attention sees only this many of the newest tokens (`max_attention_size` of the reference); nil for all.
  public let visibleTokens: Int?
  /// Time positions stay below this: a block that would pass it is placed last instead, and cached frames other than the sinks
  /// are turned back by the same distance. Nil lets positions grow without end.
  public let positionLimit: Int?
  /// Latent frames that have been written: the end of the newest block.
  public private(set) var endFrame = 0
  /// How far time positions lie behind frame numbers.
  public private(set) var positionOffset = 0

  /// Whether gradients cross into earlier blocks, as they do in the published Self-Forcing training: keys and values that a pass
  /// with gradients wrote keep their history when a later pass without gradients replaces their values.
  ///
  /// The papers cut the history; this is for comparison with what was published. It cannot be used with checkpointed layers.
  public var keepsHistory = false

  /// Whether the window holds the whole clip, so that no later block takes the place of an older one: passes with gradients then
  /// read the older rows where they are, and do not copy them.
  public var holdsWholeClip = false

  /// Keys and values that a pass with gradients wrote, by layer and first frame of the block.
  private var history: [Int: [Int: (frames: Int, keys: Tensor, values: Tensor)]] = [:]
  private var blockFactors: (position: Int, frames: Int, factors: Tensor)?

  let keys: [Tensor]  // per layer [B, W·T, H, D]
  let values: [Tensor]  // per layer [B, W·T, H, D]

  /// - Precondition: the window holds the sinks and at least one frame more.
  public init(
    configuration: WanTransformerConfiguration, windowFrames: Int, sinkFrames: Int, tokensPerFrame: Int,
    visibleTokens: Int? = nil, positionLimit: Int? = nil, batch: Int = 1, dtype: DType, device: Device
  ) {
    precondition(sinkFrames >= 0 && windowFrames > sinkFrames, "the window must be larger than its sinks")
    self.windowFrames = windowFrames
    self.sinkFrames = sinkFrames
    self.tokensPerFrame = tokensPerFrame
    self.visibleTokens = visibleTokens
    self.positionLimit = positionLimit
    let shape = [batch, windowFrames * tokensPerFrame, configuration.numHeads, configuration.headDim]
    keys = (0..<configuration.numLayers).map { _ in .zeros(shape, dtype, device: device) }
    values = (0..<configuration.numLayers).map { _ in .zeros(shape, dtype, device: device) }
  }

  /// Bytes of the cache of a session, before it is made: what admission counts with.
  public static func byteCount(
    configuration: WanTransformerConfiguration, windowFrames: Int, tokensPerFrame: Int, dtype: DType
  ) -> Int {
    2 * configuration.numLayers * windowFrames * tokensPerFrame * configuration.dim * dtype.size
  }

  /// Forgets all frames; the memory stays.
  public func reset() {
    endFrame = 0
    positionOffset = 0
    history = [:]
  }

  /// Goes back to the state in which the blocks before `frame` were the newest ones.
  ///
  /// - Precondition: nothing that has been evicted since would have to come back: the window holds all frames.
  public func rewind(to frame: Int) {
    require(frame <= endFrame && endFrame <= windowFrames, "A window that has moved on cannot go back.")
    endFrame = frame
  }

  /// Takes up noise as though so many frames had been generated. For benchmarks: the work of a pass does not depend on values.
  package func fill(frames: Int, _ generator: RandomGenerator) {
    for tensor in keys + values { tensor.normal_(generator) }
    endFrame = frames
  }

  /// Makes room for a block, once for all layers; calling it again for the same block changes nothing.
  ///
  /// - Precondition: the block follows the newest one or is it, and fits beside the sinks.
  func begin(start: Int, frames: Int, rotary: Rotary) {
    require(start <= endFrame && start + frames >= endFrame, "Blocks are written to the cache in order.")
    let room = start == 0 ? windowFrames : windowFrames - sinkFrames
    require(frames <= room, "A block of \(frames) frames does not fit into the cache beside its sinks.")
    require(
      !holdsWholeClip || start + frames <= windowFrames,
      "The clip is longer than the window that was to hold all of it.")
    if let positionLimit, start + frames - positionOffset > positionLimit {
      let distance = start + frames - positionOffset - positionLimit
      turnBack(distance, rotary)
      positionOffset += distance
    }
    endFrame = start + frames
  }

  /// The time position of a frame of the current block.
  func position(of frame: Int) -> Int { frame - positionOffset }

  /// The rotary factors of the current block, which all of its calls share.
  func factors(start: Int, frames: Int, rotary: Rotary) -> Tensor {
    let position = position(of: start)
    if let known = blockFactors, known.position == position, known.frames == frames { return known.factors }
    let factors = rotary.factors(start: position, frames: frames)
    blockFactors = (position, frames, factors)
    return factors
  }

  /// Rotates the cached keys that are not sinks to positions `distance` earlier.
  private func turnBack(_ distance: Int, _ rotary: Rotary) {
    let start = sinkFrames * tokensPerFrame
    let count = (windowFrames - sinkFrames) * tokensPerFrame
    let shift = rotary.shift(byFrames: -distance)
    let factors = shift.unsqueeze(0).expand(count, shift.size(0), 2).contiguous()
    for key in keys { key.narrow(1, start, count).rotate_(factors) }
  }

  /// Where a frame's tokens stand, in frames.
  private func slot(of frame: Int) -> Int {
    frame < sinkFrames ? frame : sinkFrames + (frame - sinkFrames) % (windowFrames - sinkFrames)
  }

  /// The block's places as runs of consecutive rows: token offset within the block, first row, number of rows.
  func runs(start: Int, frames: Int) -> [(token: Int, row: Int, count: Int)] {
    var runs: [(token: Int, row: Int, count: Int)] = []
    for index in 0..<frames {
      let row = slot(of: start + index) * tokensPerFrame
      if let last = runs.last, last.row + last.count == row {
        runs[runs.count - 1].count += tokensPerFrame
      } else {
        runs.append((index * tokensPerFrame, row, tokensPerFrame))
      }
    }
    return runs
  }

  /// The keys and values of a layer that attention sees: `[B, rows, H, D]`.
  func visible(layer: Int) -> (keys: Tensor, values: Tensor) {
    let rows = min(endFrame, windowFrames) * tokensPerFrame
    guard let visibleTokens, visibleTokens < rows else {
      return (keys[layer].narrow(1, 0, rows), values[layer].narrow(1, 0, rows))
    }
    if holdsWholeClip {
      let first = rows - visibleTokens
      return (keys[layer].narrow(1, first, visibleTokens), values[layer].narrow(1, first, visibleTokens))
    }
    let newest = Array(rowOrder().suffix(visibleTokens))
    let index = Tensor(newest, device: keys[layer].device)
    return (keys[layer].indexSelect(1, index), values[layer].indexSelect(1, index))
  }

  /// The keys and values of frames before `start`, oldest first, that the block at `start` leaves in the cache; later blocks do not
  /// change them.
  func older(layer: Int, than start: Int) -> (keys: Tensor, values: Tensor) {
    let older: (keys: Tensor, values: Tensor)
    if holdsWholeClip {
      let rows = start * tokensPerFrame
      older = (keys[layer].narrow(1, 0, rows), values[layer].narrow(1, 0, rows))
    } else {
      let index = Tensor(rowOrder(before: start), device: keys[layer].device)
      older = (keys[layer].indexSelect(1, index), values[layer].indexSelect(1, index))
    }
    guard keepsHistory, let blocks = history[layer] else { return older }
    // The values are those of the cache, the gradient goes to those of the pass that was recorded.
    var parts: [(keys: Tensor, values: Tensor)] = []
    for (first, block) in blocks.sorted(by: { $0.key < $1.key }) where first < start {
      let tokens = first * tokensPerFrame
      let before = parts.map { $0.keys.size(1) }.reduce(0, +)
      if before < tokens {
        let gap = older.keys.narrow(1, before, tokens - before) * 0
        parts.append((gap, gap))
      }
      parts.append((block.keys - block.keys.detach(), block.values - block.values.detach()))
    }
    let rest = older.keys.size(1) - parts.map { $0.keys.size(1) }.reduce(0, +)
    if rest > 0 {
      let gap = older.keys.narrow(1, 0, rest) * 0
      parts.append((gap, gap))
    }
    guard !parts.isEmpty else { return older }
    return (older.keys + Tensor.cat(parts.map(\.keys), 1), older.values + Tensor.cat(parts.map(\.values), 1))
  }

  /// Stores keys and values `[B, n·T, H, D]` of the block at `start`, cut from any graph unless history is kept.
  func write(layer: Int, start: Int, frames: Int, keys newKeys: Tensor, values newValues: Tensor) {
    if keepsHistory {
      require(endFrame <= windowFrames, "A window that moves cannot keep the history of gradients.")
      history[layer, default: [:]][start] = (frames, newKeys, newValues)
    }
    for (token, row, count) in runs(start: start, frames: frames) {
      keys[layer].narrow(1, row, count).copy_(newKeys.detach().narrow(1, token, count))
      values[layer].narrow(1, row, count).copy_(newValues.detach().narrow(1, token, count))
    }
  }

  /// The rows in use from the oldest token to the newest, of frames before `end` only if one is given.
  private func rowOrder(before end: Int = .max) -> [Int] {
    let frames =
      endFrame <= windowFrames
      ? Array(0..<endFrame)
      : Array(0..<sinkFrames) + Array((endFrame - (windowFrames - sinkFrames))..<endFrame)
    return frames.filter { $0 < end }.flatMap { frame in
      let first = slot(of: frame) * tokensPerFrame
      return first..<(first + tokensPerFrame)
    }
  }

  /// The keys and values of a layer from the oldest token to the newest, `[B, rows, H·D]`; for inspection.
  public func ordered(layer: Int) -> (keys: Tensor, values: Tensor) {
    let index = Tensor(rowOrder(), device: keys[layer].device)
    return (keys[layer].indexSelect(1, index).flatten(2), values[layer].indexSelect(1, index).flatten(2))
  }
}
