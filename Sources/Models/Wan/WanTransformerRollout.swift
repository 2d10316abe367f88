package import Torch

extension WanTransformer: BlockTransformer {
  /// The conditions that the picture gives to a block: the first one's, whose first frame is the picture, and all others'.
  package struct Reference {
    let latent: Tensor  // [B, C, 1, H, W]
    let first, later: Tensor  // [B, C+1, n, H, W]
  }

  package func read(
    reference: Tensor, framesPerBlock: Int, text: TextContext, timestep: TimestepContext, rotary: Rotary
  ) -> Reference {
    Reference(
      latent: reference,
      first: ReferenceLatent.condition(reference, frames: framesPerBlock, startsClip: true),
      later: ReferenceLatent.condition(reference, frames: framesPerBlock, startsClip: false))
  }

  package func pinned(_ latents: Tensor, block: Range<Int>, to reference: Reference) -> Tensor {
    block.lowerBound == 0 ? ReferenceLatent.pinned(latents, to: reference.latent) : latents
  }

  package func flow(
    _ latents: Tensor, block: Range<Int>, step: Int?, reference: Reference, timestep: TimestepContext,
    text: TextContext, audio: Tensor, memory: any AttentionMemory, rotary: Rotary
  ) -> Tensor {
    self(
      block: latents, start: block.lowerBound, condition: block.lowerBound == 0 ? reference.first : reference.later,
      timestep: timestep, text: text, audio: audio, memory: memory, rotary: rotary)
  }
}
