package import Torch

extension WanS2VTransformer: BlockTransformer {
  /// - Parameter latents: the sink frame, then the latent frames before the clip, `[B, C, 1 + m, H, W]`.
  package func read(
    reference latents: Tensor, framesPerBlock: Int, text: TextContext, timestep: TimestepContext, rotary: Rotary
  ) -> Reference {
    read(reference: latents, text: text, timestep: timestep, rotary: rotary)
  }

  package func memoryShape(for latents: Tensor) -> MemoryShape { trunk.memoryShape(for: latents) }

  /// The published table of factors is rounded to half precision, and so are these; it ends after two hours, and these do not.
  package func rotary(for latents: Tensor) -> Rotary {
    let grid = trunk.grid(of: latents)
    return Rotary(headDim: config.headDim, grid: (grid[0], grid[1]), precision: .float16, device: latents.device)
  }

  /// Nothing of a block is given.
  package func pinned(_ latents: Tensor, block: Range<Int>, to reference: Reference) -> Tensor { latents }

  package func flow(
    _ latents: Tensor, block: Range<Int>, step: Int?, reference: Reference, timestep: TimestepContext,
    text: TextContext, audio: AudioContext, memory: any AttentionMemory, rotary: Rotary
  ) -> Tensor {
    self(
      block: latents, start: block.lowerBound,
      distance: sinkDistance(block: block.lowerBound / block.count, step: step ?? -1), reference: reference,
      timestep: timestep, text: text, audio: audio, memory: memory, rotary: rotary)
  }
}
