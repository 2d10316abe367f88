import NN
package import Torch

// B batch, F latent frames of a clip, n of a block, T tokens of a frame, L = F·T, M tokens of sink and motion, C width.

/// Whole clips in one pass: what training takes.
extension WanS2VTransformer {
  /// The predicted flow of a whole clip `[B, C, F, H, W]`.
  ///
  /// The tokens of sink and motion are part of the sequence, at timestep 0. Without a mask every token sees every token, as in
  /// Wan2.2-S2V, which is no block's own: its sound is read as one. With a mask a block sees itself, the blocks before it, and the sink and
  /// the motion, which see only themselves: the result is that of the rollout block by block over its memory.
  /// - Parameters:
  ///   - reference: the sink frame, then the latent frames before the clip, `[B, C, 1 + m, H, W]`.
  ///   - timesteps: `[B, F]`, or `[B, 1]` where all frames share one.
  ///   - features: rows of sound, `[B, 4F, audioInputDim]`.
  ///   - step: which of the distances of `sinkDistance` the blocks have.
  package func callAsFunction(
    clip latents: Tensor, reference: Tensor, timesteps: Tensor, text: TextContext, features: Tensor,
    mask: BlockMask? = nil, step: Int = 0
  ) -> Tensor {
    let (batch, frames, grid) = (latents.size(0), latents.size(2), trunk.grid(of: latents))
    let (tokensPerFrame, rotary) = (grid[0] * grid[1], rotary(for: latents))
    let clipTokens = frames * tokensPerFrame
    let blocks = mask.map { frames / $0.framesPerBlock } ?? 1
    require(mask == nil || blocks * (mask?.framesPerBlock ?? 1) == frames, "A clip is a whole number of blocks.")
    let condition = tokens(ofReference: reference)
    let noisy = trunk.patchEmbedding(latents) + poseEmbedding.bias + kinds.weight.select(0, 0)
    let timestep = timestepContext(timesteps, frames: frames, tokensPerFrame, conditionTokens: condition.size(1))
    let factors = Tensor.cat([rotary.factors(start: 0, frames: frames), conditionFactors(rotary)], 0)
    var context = SelfAttentionContext(factors: factors)
    if let mask {
      let sinks = SinkPositions(
        blocks: blocks, clipTokens: clipTokens, tokensPerFrame: tokensPerFrame, rotary: rotary
      ) { max(Self.sinkPosition, $0 * mask.framesPerBlock + sinkDistance(block: $0, step: step)) }
      context.memory = sinks
      context.mask = sinks.mask(
        mask.mask(frames: frames, tokensPerFrame: tokensPerFrame, device: latents.device),
        conditionTokens: condition.size(1))
    }
    let audio = read(audioFeatures: features.unflatten(1, blocks, -1).flatten(0, 1)).joined(batch: batch)
    var x = Tensor.cat([noisy, condition], 1)
    for index in trunk.layers.indices {
      x = trunk.layer(
        index, x, timestep: timestep, text: text, context: &context, checkpoints: checkpointsLayers, tap: nil)
      guard let number = config.audioLayers.firstIndex(of: index) else { continue }
      let clip = x.narrow(1, 0, clipTokens).contiguous()
      x = Tensor.cat([clip + heard(clip, number, audio), x.narrow(1, clipTokens, condition.size(1))], 1)
    }
    return trunk.flow(
      x.narrow(1, 0, clipTokens).contiguous(), timestep: timestep.first(clipTokens / groupTokens(tokensPerFrame)),
      frames: frames,
      grid: grid, tap: nil)
  }

  /// Tokens that have a modulation in common: the greatest number that divides those of a frame and of each of the motion's grids.
  private func groupTokens(_ tokensPerFrame: Int) -> Int { tokensPerFrame / 4 }

  /// A clip's timesteps, then zero for sink and motion, one for each group of tokens.
  private func timestepContext(_ timesteps: Tensor, frames: Int, _ tokensPerFrame: Int, conditionTokens: Int)
    -> TimestepContext
  {
    let group = groupTokens(tokensPerFrame)
    let batch = timesteps.size(0)
    let perFrame = timesteps.expand(batch, frames).unsqueeze(-1).expand(batch, frames, tokensPerFrame / group)
    let zeros = Tensor.zeros([batch, conditionTokens / group], timesteps.dtype, device: timesteps.device)
    return read(timesteps: Tensor.cat([perFrame.flatten(1), zeros], 1))
  }
}

extension WanS2VTransformer.AudioContext {
  /// That of blocks which stand in the batch one after the other, as that of whole clips.
  func joined(batch: Int) -> Self {
    func joined(_ x: Tensor) -> Tensor { x.reshape([batch, x.size(0) * x.size(1) / batch] + x.shape[2...]) }
    return Self(
      local: local, global: global,
      sounds: sounds.map { .init(shift: joined($0.shift), scale: joined($0.scale), keys: $0.keys, values: $0.values) },
      masks: nil)
  }
}

/// The keys of a clip and its conditions, with further copies of the sink's where blocks see it at another time than 30.
///
/// It keeps nothing, so that gradients flow through everything.
final class SinkPositions: AttentionMemory {
  let endFrame = 0
  private let clipTokens, tokensPerFrame: Int
  private let ofBlocks: [Int]
  /// The times other than 30, each once.
  private let moved: [Int]
  private let factors: [Tensor]  // [T, D/2, 2]

  /// - Parameter position: the sink's time as a block sees it.
  init(blocks: Int, clipTokens: Int, tokensPerFrame: Int, rotary: Rotary, position: (Int) -> Int) {
    (self.clipTokens, self.tokensPerFrame) = (clipTokens, tokensPerFrame)
    ofBlocks = (0..<blocks).map(position)
    moved = Set(ofBlocks).subtracting([WanS2VTransformer.sinkPosition]).sorted()
    factors = moved.map { rotary.factors(start: $0, frames: 1) }
  }

  /// True where a token of clip and condition `[L + M]` may see a key `[L + M + copies]`.
  ///
  /// - Parameter clip: that of the clip's tokens, `[L, L]`.
  func mask(_ clip: Tensor, conditionTokens: Int) -> Tensor {
    let (device, blockTokens) = (clip.device, clipTokens / ofBlocks.count)
    func rows(_ sees: (Int) -> Bool) -> Tensor {  // [L, T], by block
      let seen = Tensor(ofBlocks.map { Int64(sees($0) ? 1 : 0) }, device: device).unsqueeze(1)
      return seen.expand(ofBlocks.count, blockTokens).flatten().unsqueeze(1).expand(clipTokens, tokensPerFrame)
    }
    func all(_ rows: Int, _ columns: Int, _ value: Double) -> Tensor {
      Tensor.full([rows, columns], value, device: device).to(.int64)
    }
    let upper = Tensor.cat(
      [
        clip.to(.int64), rows { $0 == WanS2VTransformer.sinkPosition },
        all(clipTokens, conditionTokens - tokensPerFrame, 1),
      ] + moved.map { position in rows { $0 == position } }, 1)
    let lower = Tensor.cat(
      [
        all(conditionTokens, clipTokens, 0), all(conditionTokens, conditionTokens, 1),
        all(conditionTokens, moved.count * tokensPerFrame, 0),
      ], 1)
    return Tensor.cat([upper, lower], 0) .> 0
  }

  func begin(_ block: Range<Int>, rotary: Rotary) -> Tensor {
    rotary.factors(start: block.lowerBound, frames: block.count)
  }

  func exchange(
    _ keys: ProjectedKeys, _ values: Tensor, of block: Range<Int>, layer: Int, isRecomputed: Bool
  ) -> (keys: Tensor, values: Tensor) {
    guard !moved.isEmpty else { return (keys.rotated(), values) }
    let sink = keys.projected.narrow(1, clipTokens, tokensPerFrame)
    let copies = factors.map {
      ProjectedKeys(projected: sink, norm: keys.norm, heads: keys.heads, factors: $0).rotated()
    }
    let seen = [Tensor](repeating: values.narrow(1, clipTokens, tokensPerFrame), count: moved.count)
    return (Tensor.cat([keys.rotated()] + copies, 1), Tensor.cat([values] + seen, 1))
  }

  func ordered(layer: Int) -> (keys: Tensor, values: Tensor) {
    preconditionFailure("there is nothing that it keeps")
  }
}
