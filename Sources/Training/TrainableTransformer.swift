package import Generation
package import Models
package import NN
package import Torch

// B batch, C latent channels, F latent frames of a clip, n of a block, H and W latent pixels.

/// A transformer that is trained: what a model family adds to being rolled out.
package protocol TrainableTransformer: BlockTransformer {
  var dtype: DType { get }
  var device: Device { get }
  var checkpointsLayers: Bool { get set }
  var trunkSizes: WanTrunkConfiguration { get }
  /// Width of a row of sound.
  var audioInputDim: Int { get }
  /// Latent frames of an encoded picture.
  var referenceFrames: Int { get }
  /// Leading latent frames of a clip that are given, not predicted.
  var givenFrames: Int { get }
  /// How its rollouts come from step to step.
  var sampler: Sampler { get }

  /// The flow of whole clips `[B, C, F, H, W]`, in fp32.
  ///
  /// - Parameters:
  ///   - timesteps: `[B, 1]`, or `[B, F]` for one per frame.
  ///   - mask: for the student; nil for bidirectional attention (teacher, critic).
  func flow(_ xt: Tensor, timesteps: Tensor, _ conditions: Conditions, mask: BlockMask?) -> Tensor
  /// Clips with what is given in them in its place.
  func pinned(_ clips: Tensor, to conditions: Conditions) -> Tensor
  /// What the model makes of the sound of a block.
  func audioContext(of block: Int, framesPerBlock: Int, _ conditions: Conditions) -> AudioContext
  /// The steps of a rollout.
  func steps(_ settings: RolloutSettings, _ schedule: FlowMatchingSchedule) -> [FlowMatchingSchedule.Step]
  /// The same model, whose own random choices come from a seed.
  func seeded(_ seed: UInt64) -> Self
  /// The same model, whose layers' weights the ranks share out.
  func sharded(by layers: ShardedLayers) -> Self
}

extension TrainableTransformer {
  package func flow(_ xt: Tensor, timesteps: Tensor, _ conditions: Conditions) -> Tensor {
    flow(xt, timesteps: timesteps, conditions, mask: nil)
  }

  func rollout(_ settings: RolloutSettings) -> any ClipRollout { StudentRollout(self, settings) }
}

extension Conditions {
  /// Rows of sound, `[B, 4F, audioInputDim]`: in front stand copies of the first one for the frames that a clip's first latent frame lacks.
  func audioRows(perFrame count: Int) -> Tensor {
    let first = audioFeatures.narrow(1, 0, 1)
    return Tensor.cat([first.expand(first.size(0), count - 1, first.size(2)), audioFeatures], 1)
  }
}

extension WanTransformer: TrainableTransformer {
  package var trunkSizes: WanTrunkConfiguration { config.trunk }
  package var audioInputDim: Int { config.audioInputDim }
  package var referenceFrames: Int { 1 }
  /// The first one is the picture.
  package var givenFrames: Int { 1 }
  package var sampler: Sampler { .renoise }

  package func flow(_ xt: Tensor, timesteps: Tensor, _ conditions: Conditions, mask: BlockMask?) -> Tensor {
    let conditions = conditions.to(dtype)
    let tokensPerFrame = config.tokensPerFrame(height: xt.size(3), width: xt.size(4))
    return self(
      xt.to(dtype),
      condition: ReferenceLatent.condition(conditions.referenceLatent, frames: xt.size(2), startsClip: true),
      timestep: read(timesteps: timesteps), text: read(text: conditions.text),
      audio: audioContext(packed: pack(audioFeatures: conditions.audioFeatures)),
      mask: mask?.mask(frames: xt.size(2), tokensPerFrame: tokensPerFrame, device: xt.device)
    ).to(.float32)
  }

  package func pinned(_ clips: Tensor, to conditions: Conditions) -> Tensor {
    ReferenceLatent.pinned(clips, to: conditions.referenceLatent.to(clips.dtype))
  }

  package func audioContext(of block: Int, framesPerBlock n: Int, _ conditions: Conditions) -> Tensor {
    let rows = LatentGeometry.livetalk.audioRowsPerLatentFrame
    return audioContext(
      packed: pack(rows: conditions.audioRows(perFrame: rows).narrow(1, block * n * rows, n * rows)))
  }

  package func steps(_ settings: RolloutSettings, _ schedule: FlowMatchingSchedule) -> [FlowMatchingSchedule.Step] {
    schedule.steps(at: settings.timesteps, dtype)
  }

  package func seeded(_ seed: UInt64) -> WanTransformer { self }
}

extension WanS2VTransformer: TrainableTransformer {
  package var trunkSizes: WanTrunkConfiguration { config.trunk }
  package var audioInputDim: Int { config.audioInputDim }
  /// The sink frame, and the latent frames before the clip.
  package var referenceFrames: Int { 1 + Self.motionLatentFrames }
  package var givenFrames: Int { 0 }
  package var sampler: Sampler { .euler }
  private var audioRows: Int { LatentGeometry.liveAvatar.audioRowsPerLatentFrame }

  package func flow(_ xt: Tensor, timesteps: Tensor, _ conditions: Conditions, mask: BlockMask?) -> Tensor {
    let conditions = conditions.to(dtype)
    return self(
      clip: xt.to(dtype), reference: conditions.referenceLatent, timesteps: timesteps,
      text: read(text: conditions.text),
      features: conditions.audioRows(perFrame: audioRows), mask: mask
    ).to(.float32)
  }

  package func pinned(_ clips: Tensor, to conditions: Conditions) -> Tensor { clips }

  package func audioContext(of block: Int, framesPerBlock n: Int, _ conditions: Conditions) -> AudioContext {
    read(
      audioFeatures: conditions.audioRows(perFrame: audioRows).narrow(1, block * n * audioRows, n * audioRows))
  }

  /// Timesteps are read in fp32, and each stands for its own noise level, whatever the table.
  package func steps(_ settings: RolloutSettings, _ schedule: FlowMatchingSchedule) -> [FlowMatchingSchedule.Step] {
    settings.timesteps.map {
      .init(timestep: Tensor([Float($0)], [1, 1], device: device), sigma: Double(Float($0) / 1000))
    }
  }

  /// The distances of the sink.
  package func seeded(_ seed: UInt64) -> WanS2VTransformer {
    var model = self
    model.sinkDistance = .drawn(seed: seed)
    return model
  }
}
