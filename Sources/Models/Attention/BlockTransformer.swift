package import Torch

// B batch, C latent channels, n latent frames of a block, H and W latent pixels.

/// A transformer that generates a video block by block, under a picture, a text and sound: what a model family implements to be
/// rolled out, in training and in serving.
package protocol BlockTransformer: Sendable {
  /// A picture, read once for as long as it holds.
  associatedtype Reference
  /// A text, read once for as long as it holds.
  associatedtype TextContext
  /// A timestep, read once for a schedule.
  associatedtype TimestepContext
  /// What the model makes of a block's sound, read once for all its steps.
  associatedtype AudioContext

  /// Whether a pass with gradients keeps only the input of each layer and computes the rest again when it goes back.
  var checkpointsLayers: Bool { get }

  /// - Parameter text: the text encoder's output `[B, L, textDim]`.
  func read(text: Tensor) -> TextContext
  /// - Parameter timesteps: `[B, 1]`.
  func read(timesteps: Tensor) -> TimestepContext
  /// - Parameters:
  ///   - reference: the encoded picture `[B, C, R, H, W]`; how many latent frames it has is the family's.
  ///   - framesPerBlock: n.
  ///   - timestep: that of clean latents, for a model that computes keys and values of the picture.
  func read(
    reference: Tensor, framesPerBlock: Int, text: TextContext, timestep: TimestepContext, rotary: Rotary
  ) -> Reference

  /// The rows of a memory, and the rotary embedding, for latents of this size.
  func memoryShape(for latents: Tensor) -> MemoryShape
  func rotary(for latents: Tensor) -> Rotary

  /// Noisy latents of a block with what is given in them, such as the clip's first frame, in its place.
  func pinned(_ latents: Tensor, block: Range<Int>, to reference: Reference) -> Tensor

  /// The predicted flow `[B, C, n, H, W]` of a block of latent frames, over the earlier ones in the memory, which takes up its keys
  /// and values; further calls for the same block replace them.
  ///
  /// - Parameter step: the number of the step; nil for the pass over clean latents that commits them.
  func flow(
    _ latents: Tensor, block: Range<Int>, step: Int?, reference: Reference, timestep: TimestepContext,
    text: TextContext, audio: AudioContext, memory: any AttentionMemory, rotary: Rotary
  ) -> Tensor
}
