package import Models
package import Torch

/// How a session generates.
package struct SessionOptions: Sendable {
  package var policy: KVCachePolicy
  /// Denoising steps of a block.
  package var steps: Int
  package var shift: Double
  package var framesPerBlock: Int
  package var positionLimit: Int
  package var seed: UInt64
  /// Latent frames of the whole clip; nil for a session without end.
  package var clipFrames: Int?
  /// What only Live Avatar has.
  package var sink = SinkOptions()

  /// The picture beside the video, which Live Avatar's blocks see.
  package struct SinkOptions: Sendable {
    package var encoding = LiveAvatarConditions.Encoding.oneFrame
    package var adaptive = AdaptiveSink.released
    /// How far the sink stands ahead of a block; nil for distances drawn by the seed, as published.
    package var distance: Int?
  }

  package init(
    policy: KVCachePolicy = .livetalk, steps: Int = 4, shift: Double = 5,
    framesPerBlock: Int = LatentGeometry.livetalk.framesPerBlock, positionLimit: Int = TimePositions.publishedLimit,
    seed: UInt64 = 0, clipFrames: Int? = nil
  ) {
    self.policy = policy
    self.steps = steps
    self.shift = shift
    self.framesPerBlock = framesPerBlock
    self.positionLimit = positionLimit
    self.seed = seed
    self.clipFrames = clipFrames
  }
}

extension SessionOptions {
  /// Those of a checkpoint, where nothing else is asked for. Another policy has the published limit of positions.
  package init(_ settings: CheckpointSettings, policy: KVCachePolicy? = nil, positionLimit: Int? = nil) {
    let limit = policy == nil ? settings.positionLimit : nil
    self.init(
      policy: policy ?? settings.policy, positionLimit: positionLimit ?? limit ?? TimePositions.publishedLimit)
  }
}

/// One talking person: a picture and a direction, to which sound is fed block by block and which gives video frames.
///
/// Denoising goes to the thread's current stream and decoding to a stream of its own, so that on a GPU a block is decoded while
/// the next one is denoised. Not safe for use from several threads at once.
package final class AvatarSession: BlockSession {
  /// Height and width of the video in pixels.
  package let size: ReferencePicture.Size
  package let geometry: LatentGeometry
  package let framesPerBlock: Int
  package let rollout: BlockRollout<WanTransformer>

  private let transformer: WanTransformer
  private let shift: Double
  private let device: Device
  private let dtype: DType
  private var decoder: WanVAEDecodeStream
  private let decoding: Stream

  /// - Parameters:
  ///   - referenceLatent: the encoded picture `[1, C, 1, h, w]`.
  ///   - textEmbedding: the text encoder's output `[1, L, textDim]`.
  ///   - noise: nil for noise from the options' seed.
  /// - Throws: `TorchError` for options that cannot be.
  package init(
    transformer: WanTransformer, vae: WanVAE, referenceLatent: Tensor, textEmbedding: Tensor, options: SessionOptions,
    noise: NoiseSource? = nil, tap: RolloutTap? = nil
  ) throws {
    (device, dtype, shift) = (vae.device, vae.dtype, options.shift)
    self.transformer = transformer
    let stride = vae.configuration.spatialStride
    size = ReferencePicture.Size(height: referenceLatent.size(3) * stride, width: referenceLatent.size(4) * stride)
    geometry = LatentGeometry.livetalk.over(vae.configuration)
    framesPerBlock = options.framesPerBlock
    let reference = referenceLatent.to(device, vae.dtype)
    let memory = try options.policy.memory(
      transformer.memoryShape(for: reference), framesPerBlock: options.framesPerBlock, clipFrames: options.clipFrames,
      positionLimit: options.positionLimit)
    rollout = try BlockRollout(
      transformer: transformer,
      steps: FlowMatchingSchedule(shift: options.shift, steps: options.steps, device: device).steps(vae.dtype),
      memories: [memory], framesPerBlock: options.framesPerBlock,
      textEmbedding: textEmbedding.to(device, vae.dtype), referenceLatent: reference,
      noise: noise ?? NoiseSource(seed: options.seed), tap: tap)
    decoder = vae.stream()
    decoding = Stream(device: device)
  }

  package var block: Int { rollout.block }
  package var cachedTokens: Int { rollout.memory().ordered(layer: 0).keys.size(1) }

  /// Generates the next block's clean latents `[1, C, n, h, w]` from its audio features `[1, videoFramesInNextBlock, audioInputDim]` and
  /// commits them to the cache.
  package func denoise(audioFeatures: Tensor) -> Tensor { rollout.next(audio: audioContext(audioFeatures)) }

  package func denoise(audioFeatures: Tensor, unless isStopped: () -> Bool) -> Tensor? {
    rollout.next(audio: audioContext(audioFeatures), unless: isStopped)
  }

  private func audioContext(_ features: Tensor) -> Tensor {
    let packed = rollout.block == 0 ? transformer.pack(audioFeatures: features) : transformer.pack(rows: features)
    return transformer.audioContext(packed: packed)
  }

  /// Decodes latents on the session's decoding stream.
  package func decode(_ latents: Tensor) -> PendingFrames {
    PendingFrames(of: latents, on: decoding) { decoder.decode($0) }
  }

  /// Changes the direction from the next block on.
  package func setText(_ textEmbedding: Tensor) { rollout.setText(textEmbedding.to(device, dtype)) }

  package func setSteps(_ count: Int) {
    rollout.setSteps(FlowMatchingSchedule(shift: shift, steps: count, device: device).steps(dtype))
  }

  package func skip(blocks: Int) { rollout.skip(blocks: blocks) }
}
