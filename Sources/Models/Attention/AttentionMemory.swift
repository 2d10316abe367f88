import NN
package import Torch

// B batch, n frames of a block, T tokens of a frame, H heads, D head width, C = H·D.

/// The keys and values of earlier blocks, of every layer: what self-attention reads beside the block in work.
///
/// A block is a range of latent frames. A pass of the model over a block calls `begin` once and `exchange` in every layer; later
/// passes over the same block replace its keys and values.
package protocol AttentionMemory: AnyObject {
  /// The end of the newest block.
  var endFrame: Int { get }

  /// Makes room for a block that follows the newest one, or is it.
  ///
  /// - Returns: the rotary factors of its queries, `[n·T, D/2, 2]`.
  func begin(_ block: Range<Int>, rotary: Rotary) -> Tensor

  /// Takes up a layer's keys and values of a block, and returns those that its queries attend to, each `[B, rows, H, D]`.
  ///
  /// - Parameters:
  ///   - values: `[B, n·T, H, D]`.
  ///   - isRecomputed: whether activation checkpointing computes an earlier pass again: nothing is taken up then.
  func exchange(_ keys: ProjectedKeys, _ values: Tensor, of block: Range<Int>, layer: Int, isRecomputed: Bool) -> (
    keys: Tensor, values: Tensor
  )

  /// A layer's keys, as the memory keeps them, and values from the oldest token to the newest, `[B, rows, C]`; for inspection.
  func ordered(layer: Int) -> (keys: Tensor, values: Tensor)
}

extension AttentionMemory {
  /// Fails where a block neither follows the newest one nor is it, or has no room beside the sinks of a window.
  package func check(_ block: Range<Int>, windowFrames: Int, sinkFrames: Int = 0) {
    require(block.lowerBound <= endFrame && block.upperBound >= endFrame, "Blocks are written to the memory in order.")
    let room = block.lowerBound == 0 ? windowFrames : windowFrames - sinkFrames
    require(block.count <= room, "A block of \(block.count) frames does not fit into the memory beside its sinks.")
  }
}

/// A layer's keys `[B, n·T, C]` as they come from its projection: each memory normalises and rotates them as it keeps them.
package struct ProjectedKeys {
  let projected: Tensor
  let norm: RMSNorm
  let heads: Int
  /// `[n·T, D/2, 2]`.
  let factors: Tensor

  /// Normalised and rotated, `[B, n·T, H, D]`.
  package func rotated() -> Tensor {
    projected.rmsNormRope(norm.weight, factors, heads: heads, eps: norm.eps).unflatten(-1, heads, -1)
  }

  /// Normalised only, `[B, n·T, H, D]`.
  package func unrotated() -> Tensor { norm(projected).unflatten(-1, heads, -1) }

  /// Writes `count` tokens from `token` on, normalised and rotated, into `rows` `[B, count, H, D]`.
  func write(_ token: Int, _ count: Int, into rows: Tensor) {
    projected.narrow(1, token, count).rmsNormRope(
      norm.weight, factors.narrow(0, token, count), heads: heads, eps: norm.eps, into: rows.flatten(2))
  }
}

/// The sizes of a memory's rows.
package struct MemoryShape: Sendable {
  /// The device of each layer.
  package var devices: [Device]
  package var heads: Int
  package var headDim: Int
  package var tokensPerFrame: Int
  package var batch: Int
  package var dtype: DType

  package init(devices: [Device], heads: Int, headDim: Int, tokensPerFrame: Int, batch: Int = 1, dtype: DType) {
    (self.devices, self.heads, self.headDim, self.tokensPerFrame) = (devices, heads, headDim, tokensPerFrame)
    (self.batch, self.dtype) = (batch, dtype)
  }

  /// Bytes of the keys and values of so many latent frames: what admission counts with.
  package func byteCount(frames: Int) -> Int {
    2 * devices.count * batch * frames * tokensPerFrame * heads * headDim * dtype.size
  }

  /// Zeros for the keys or the values of so many latent frames, `[B, frames·T, H, D]` for each layer.
  package func rows(frames: Int) -> [Tensor] {
    devices.map { .zeros([batch, frames * tokensPerFrame, heads, headDim], dtype, device: $0) }
  }
}

/// Where latent frames stand in time for the rotary embedding.
package struct TimePositions: Sendable {
  /// Positions stay below this: a block that would pass it is placed last instead, and older frames are turned back by the same
  /// distance. Nil lets positions grow without end.
  package let limit: Int?
  /// Where LiveTalk's published table of positions ends, and generation with it; here older frames are turned back instead.
  package static let publishedLimit = 1024
  /// How far positions lie behind frame numbers.
  package private(set) var offset = 0
  private var known: (position: Int, frames: Int, factors: Tensor)?

  package init(limit: Int? = nil) { self.limit = limit }

  /// The position of a frame of the current block.
  package func position(of frame: Int) -> Int { frame - offset }

  /// Places a block; returns the distance by which older frames have to be turned back.
  mutating func place(_ block: Range<Int>) -> Int {
    guard let limit, block.upperBound - offset > limit else { return 0 }
    let distance = block.upperBound - offset - limit
    offset += distance
    return distance
  }

  /// The rotary factors of a placed block, which all passes over it share.
  package mutating func factors(_ block: Range<Int>, _ rotary: Rotary) -> Tensor {
    let position = position(of: block.lowerBound)
    if let known, known.position == position, known.frames == block.count { return known.factors }
    let factors = rotary.factors(start: position, frames: block.count)
    known = (position, block.count, factors)
    return factors
  }
}
