package import Models
package import Torch

/// One talking person by Live Avatar: a picture and a direction, to which sound is fed block by block and which gives video frames.
///
/// Denoising goes to the thread's current stream and decoding to a stream of its own, so that on a GPU a block is decoded while
/// the next one is denoised. Not safe for use from several threads at once.
package final class LiveAvatarSession: BlockSession {
  /// Height and width of the video in pixels.
  package let size: ReferencePicture.Size
  package let geometry: LatentGeometry
  package let framesPerBlock: Int
  package let rollout: LiveAvatarRollout

  private let transformer: WanS2VTransformer
  private let decoder: StreamedDecoder

  /// - Parameters:
  ///   - textEmbedding: the text encoder's output `[1, L, textDim]`.
  ///   - noise: nil for noise from the options' seed.
  /// - Throws: `TorchError` for options that cannot be.
  package init(
    transformer: WanS2VTransformer, vae: WanVAE, conditions: LiveAvatarConditions, textEmbedding: Tensor,
    options: LiveAvatarOptions, noise: NoiseSource? = nil, tap: RolloutTap? = nil
  ) throws {
    self.transformer = transformer
    let stride = vae.configuration.spatialStride
    size = ReferencePicture.Size(height: conditions.sink.size(3) * stride, width: conditions.sink.size(4) * stride)
    geometry = LatentGeometry.liveAvatar.over(vae.configuration)
    framesPerBlock = options.framesPerBlock
    rollout = try LiveAvatarRollout(
      transformer: transformer, conditions: conditions, textEmbedding: textEmbedding, options: options, noise: noise,
      tap: tap)
    decoder = StreamedDecoder(vae, motion: conditions.motion)
  }

  package var block: Int { rollout.blocks.block }
  package var cachedTokens: Int { rollout.blocks.memory().ordered(layer: 0).keys.size(1) }

  /// Generates the next block's clean latents `[1, C, n, h, w]` from its audio features `[1, 4n, audioInputDim]`.
  package func denoise(audioFeatures: Tensor) -> Tensor { denoise(audioFeatures: audioFeatures, masks: nil) }

  /// The same for several speakers, `[A, 4n, audioInputDim]`, each heard where its mask says.
  package func denoise(audioFeatures: Tensor, masks: Tensor?) -> Tensor {
    rollout.next(audio: transformer.read(audioFeatures: audioFeatures, masks: masks))
  }

  package func denoise(audioFeatures: Tensor, unless isStopped: () -> Bool) -> Tensor? {
    rollout.next(audio: transformer.read(audioFeatures: audioFeatures), unless: isStopped)
  }

  /// Decodes latents on the session's decoding stream.
  package func decode(_ latents: Tensor) -> PendingFrames { decoder.decode(latents) }

  package func setText(_ textEmbedding: Tensor) { rollout.setText(textEmbedding) }

  package func setSteps(_ count: Int) {
    precondition(count == rollout.options.steps, "each step has a memory of its own")
  }

  package func skip(blocks: Int) { rollout.blocks.skip(blocks: blocks) }
}

/// A decoder with a stream of its own. Not safe for use from several threads at once.
final class StreamedDecoder {
  private var decoder: LiveAvatarDecoder
  private let stream: Stream

  /// - Parameter motion: as in `LiveAvatarDecoder`, a tensor of the current stream.
  init(_ vae: WanVAE, motion: Tensor) {
    stream = Stream(device: vae.device)
    stream.wait(for: .current(vae.device))
    stream.keep(motion)
    decoder = stream.run { LiveAvatarDecoder(vae, motion: motion) }
  }

  /// Decodes the next latents, `[1, C, n, h, w]` of the current stream.
  func decode(_ latents: Tensor) -> PendingFrames { PendingFrames(of: latents, on: stream) { decoder.decode($0) } }
}

/// Decodes the blocks of a video that goes on from a still picture: the decoder is primed with latent frames of the picture, whose video
/// is thrown away, and the first block's first latent frame goes on from them, so that it has more frames than are wanted.
package struct LiveAvatarDecoder: Sendable {
  private var stream: WanVAEDecodeStream
  private var isFirst = true
  /// Latent frames that the decoder is primed with.
  package static let primingFrames = 7

  /// - Parameter motion: the latent frames before the video, oldest first; the first ones prime, as published.
  package init(_ vae: WanVAE, motion: Tensor) {
    stream = vae.stream()
    _ = stream.decode(motion.narrow(2, 0, min(Self.primingFrames, motion.size(2))))
  }

  /// The next latent frames `[1, C, F, h, w]` as video frames `[1, 3, T, H, W]` in [-1, 1]; T is 4F, and 4F - 3 at the start.
  package mutating func decode(_ block: Tensor) -> Tensor {
    let video = stream.decode(block)
    defer { isFirst = false }
    let surplus = isFirst ? stream.vae.configuration.temporalStride - 1 : 0
    return video.narrow(2, surplus, video.size(2) - surplus)
  }
}
