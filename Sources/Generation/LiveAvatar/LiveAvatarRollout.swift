package import Models
package import Torch

/// When the picture in the sink gives way to the first generated latent frame (the adaptive attention sink of Live Avatar).
package enum AdaptiveSink: String, Sendable, CaseIterable {
  /// After the first block, as the paper prints it (algorithm 3).
  case paper
  /// After the first clip, as the published pipeline over several GPUs does.
  case released
  /// Never, as the published scripts for one GPU run.
  case never

  /// How many blocks are generated before it; nil for never.
  package func blocks(perClip blocksPerClip: Int) -> Int? {
    switch self {
    case .paper: 1
    case .released: blocksPerClip
    case .never: nil
    }
  }
}

/// How Live Avatar rolls out.
package struct LiveAvatarOptions: Sendable {
  package var steps: Int
  package var shift: Double
  package var framesPerBlock: Int
  /// Blocks that share one draw of noise and, with the released sink, go before it changes.
  package var blocksPerClip: Int
  /// Blocks that attention sees, the one in work included.
  package var windowBlocks: Int
  package var adaptiveSink: AdaptiveSink
  package var sinkDistance: SinkDistance
  package var seed: UInt64

  /// - Parameter sinkDistance: nil for distances drawn by the seed.
  package init(
    steps: Int = 4, shift: Double = 3, framesPerBlock: Int = 3, blocksPerClip: Int = 4, windowBlocks: Int = 4,
    adaptiveSink: AdaptiveSink = .released, sinkDistance: SinkDistance? = nil, seed: UInt64 = 0
  ) {
    self.steps = steps
    self.shift = shift
    self.framesPerBlock = framesPerBlock
    self.blocksPerClip = blocksPerClip
    self.windowBlocks = windowBlocks
    self.adaptiveSink = adaptiveSink
    self.sinkDistance = sinkDistance ?? .drawn(seed: seed)
    self.seed = seed
  }
}

extension LiveAvatarOptions {
  /// Those of a session that Live Avatar has.
  package init(_ options: SessionOptions) {
    self.init(
      steps: options.steps, framesPerBlock: options.framesPerBlock, adaptiveSink: options.sink.adaptive,
      sinkDistance: options.sink.distance.map { .fixed($0) }, seed: options.seed)
  }
}

/// Live Avatar's way from block to block: a memory for each step, Euler's steps, the sink beside them.
///
/// One process computes all steps of a block, or a stage of a pipeline computes some of them by the same code.
package final class LiveAvatarRollout {
  package let blocks: BlockRollout<WanS2VTransformer>
  package let options: LiveAvatarOptions
  /// The steps that are computed here.
  package let steps: Range<Int>
  /// The first latent frame of the video `[1, C, 1, H, W]`: where the last step is computed, from the first block's end until it is the
  /// sink.
  package private(set) var firstFrame: Tensor?
  /// The newest sink, and the motion before the video.
  private var conditions: LiveAvatarConditions
  private let device: Device
  private let dtype: DType

  /// - Parameters:
  ///   - steps: consecutive ones that are to be computed here, for a stage of a pipeline; nil for all.
  ///   - noise: nil for noise from the options' seed.
  /// - Throws: `TorchError` for options that cannot be.
  package init(
    transformer: WanS2VTransformer, conditions: LiveAvatarConditions, textEmbedding: Tensor, options: LiveAvatarOptions,
    steps: Range<Int>? = nil, noise: NoiseSource? = nil, tap: RolloutTap? = nil
  ) throws {
    guard options.windowBlocks > 0, options.blocksPerClip > 0 else {
      throw TorchError("A window of \(options.windowBlocks) blocks and clips of \(options.blocksPerClip) cannot be.")
    }
    self.options = options
    let steps = steps ?? 0..<max(options.steps, 0)
    self.steps = steps
    self.conditions = conditions
    (device, dtype) = (transformer.device, transformer.dtype)
    var transformer = transformer
    transformer.sinkDistance = options.sinkDistance
    let reference = conditions.reference.to(transformer.device, transformer.dtype)
    let shape = transformer.memoryShape(for: reference)
    // The model reads timesteps in fp32, whatever its type.
    let schedule = FlowMatchingSchedule.liveAvatar(
      shift: options.shift, steps: options.steps, device: transformer.device)
    blocks = try BlockRollout(
      transformer: transformer, steps: schedule.steps(.float32), sampler: .euler,
      memories: (0..<options.steps).map { step in
        steps.contains(step) ? RingMemory(shape, windowFrames: options.windowBlocks * options.framesPerBlock) : nil
      }, framesPerBlock: options.framesPerBlock,
      textEmbedding: textEmbedding.to(transformer.device, transformer.dtype), referenceLatent: reference,
      commit: .lastStep, noise: noise ?? .liveAvatar(seed: options.seed, blocksPerClip: options.blocksPerClip),
      tap: tap)
  }

  /// Whether the first latent frame of the video takes the sink before the next block.
  package var changesSink: Bool { blocks.block == options.adaptiveSink.blocks(perClip: options.blocksPerClip) }

  /// Takes the next block through the steps that are computed here.
  ///
  /// - Parameter latents: what the step before them gave, `[1, C, n, H, W]`; nil for the block's noise, where they begin with the first.
  /// - Returns: what the step after them begins from, or clean latents after the last one.
  package func next(from latents: Tensor? = nil, audio: WanS2VTransformer.AudioContext) -> Tensor {
    guard let result = next(from: latents, audio: audio, unless: { false }) else {
      preconditionFailure("nobody stopped the block")
    }
    return result
  }

  /// As `next`, or nil where it was stopped between two steps. The block can be begun again, as though it had not been: what the memories
  /// hold of it is written anew, and noise and distances are functions of its number.
  package func next(
    from latents: Tensor? = nil, audio: WanS2VTransformer.AudioContext, unless isStopped: () -> Bool
  ) -> Tensor? {
    if changesSink, let firstFrame { setSink(firstFrame) }
    return withGradients(false) {
      var x = latents ?? blocks.startingNoise()
      for step in steps {
        if isStopped() { return nil }
        x = blocks.step(step, x, audio: audio)
      }
      if isStopped() { return nil }
      blocks.commit(x, audio)
      // What comes after the first block, which has just been counted.
      if blocks.block == 1, steps.upperBound == options.steps { firstFrame = x.narrow(2, 0, 1).clone() }
      return x
    }
  }

  /// Puts another latent frame `[1, C, 1, H, W]` into the sink from the next block on; what the memories hold stays.
  ///
  /// - Parameter motion: other latent frames before the video; nil keeps them.
  package func setSink(_ latent: Tensor, motion: Tensor? = nil) {
    conditions = LiveAvatarConditions(sink: latent, motion: motion ?? conditions.motion)
    blocks.setReference(conditions.reference)
    firstFrame = nil
  }

  /// Changes the direction from the next block on. Sink and motion, which see the text, are read again with it.
  package func setText(_ textEmbedding: Tensor) {
    blocks.setText(textEmbedding.to(device, dtype))
    blocks.setReference(conditions.reference)
  }
}

extension NoiseSource {
  /// Noise that is drawn for a clip at once, by the seed plus the clip's number, on the CPU in fp32; every stage of a pipeline draws the
  /// same. Euler's steps need no other.
  package static func liveAvatar(seed: UInt64, blocksPerClip: Int) -> NoiseSource {
    NoiseSource(
      initial: { block, shape in
        let (clip, place) = block.quotientAndRemainder(dividingBy: blocksPerClip)
        var whole = shape
        whole[2] = shape[2] * blocksPerClip
        let noise = RandomGenerator(seed: seed &+ UInt64(clip)).normal(whole)
        // A copy, so that the rest of the clip's is not held while the block is denoised.
        return noise.narrow(2, place * shape[2], shape[2]).clone()
      },
      renewed: { _, _, shape in .zeros(shape) })
  }
}
