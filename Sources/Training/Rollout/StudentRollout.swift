package import Generation
package import Models
package import Torch

/// How gradients flow through the KV cache from a block into earlier ones.
package enum HistoryGradient: String, Sendable, CaseIterable {
  /// They do not: cached keys and values are detached, as the papers say.
  case cut
  /// Into the recorded pass that first wrote them, though a later pass has overwritten the values: the published Self-Forcing code.
  case selfForcing
  /// As `selfForcing`, and the text's keys and values are those of the rollout's first pass, so that the text layers have a
  /// gradient only where that pass is recorded: the published LiveTalk code.
  case literal
}

/// The settings of training rollouts.
package struct RolloutSettings: Codable, Hashable, Sendable {
  /// What stays of a block in the cache; see `Commit`.
  package enum CommitPass: String, Sendable, CaseIterable {
    case clean
    /// Noised to the smallest level of the table, as the published training does.
    case noised
    /// Live Avatar's history corruption.
    case lastStep
  }

  /// Timesteps of the student's steps, noisiest first.
  package var timesteps: [Double]
  package var shift: Double
  package var framesPerBlock: Int
  /// The sliding window of attention in latent frames, the block's own included; nil for the whole clip.
  package var windowFrames: Int?
  /// Only blocks that begin in the last so many latent frames have a gradient.
  package var gradientFrames: Int
  /// Whether all blocks of a clip exit at the same step.
  package var sameStepInAllBlocks: Bool
  package var commit: CommitPass
  package var historyGradient: HistoryGradient

  /// The papers': a detached cache, a commit pass over clean latents.
  package static let livetalk = RolloutSettings()

  package init(
    timesteps: [Double] = [1000, 936, 832, 624], shift: Double = 5,
    framesPerBlock: Int = LatentGeometry.livetalk.framesPerBlock, windowFrames: Int? = nil, gradientFrames: Int = 21,
    sameStepInAllBlocks: Bool = true, commit: CommitPass = .clean, historyGradient: HistoryGradient = .cut
  ) {
    self.timesteps = timesteps
    self.shift = shift
    self.framesPerBlock = framesPerBlock
    self.windowFrames = windowFrames
    self.gradientFrames = gradientFrames
    self.sameStepInAllBlocks = sameStepInAllBlocks
    self.commit = commit
    self.historyGradient = historyGradient
  }

  /// The noise levels between which a clip lies that exited at `step`: entries of the table, counted from its clean end.
  package func scoreRange(endingWith step: Int) -> (from: Int, to: Int) {
    let table = FlowMatchingSchedule.training(shift: shift)
    func place(_ index: Int) -> Int {
      guard timesteps.indices.contains(index) else { return 0 }
      return table.count - table.indices(of: Tensor([Float(timesteps[index])])).intItem
    }
    return (place(step), place(step + 1))
  }
}

/// Self-forcing: the student generates whole clips as it serves, block by block over its own KV cache.
///
/// Rollout and cache are allocated for the first batch and reused for those of the same size.
package final class StudentRollout {
  /// The random numbers of a batch.
  package struct Draw {
    /// The step that each block exits at.
    package let steps: [Int]
    package let noise: NoiseSource

    package init(steps: [Int], noise: NoiseSource) {
      self.steps = steps
      self.noise = noise
    }
  }

  /// A batch of generated clips, and what it takes to recompute a block. Valid until the next batch.
  package struct Clips {
    /// `[B, C, F, H, W]`; the first frame is the reference picture.
    package let latents: Tensor
    /// The input of each block's last step, `[B, C, n, H, W]`.
    package let inputs: [Tensor]
    package let steps: [Int]
    package let rollout: BlockRollout<WanTransformer>
    let memory: RecordedMemory
  }

  package let student: WanTransformer
  package let settings: RolloutSettings
  private let steps: [FlowMatchingSchedule.Step]
  private let commit: Commit
  private var cached: (rollout: BlockRollout<WanTransformer>, memory: RecordedMemory, size: [Int])?

  package init(_ student: WanTransformer, _ settings: RolloutSettings) {
    self.student = student
    self.settings = settings
    let schedule = FlowMatchingSchedule.training(shift: settings.shift, device: student.device)
    steps = schedule.steps(at: settings.timesteps, student.dtype)
    commit =
      switch settings.commit {
      case .clean: .clean
      case .noised: .noised(sigma: schedule.sigmas.select(0, schedule.count - 1).item)
      case .lastStep: .lastStep
      }
  }

  /// Whether a block's last step is recorded in clips of so many latent frames.
  package func hasGradient(block: Int, latentFrames: Int) -> Bool {
    block * settings.framesPerBlock >= latentFrames - settings.gradientFrames
  }

  /// Generates a batch of clips.
  ///
  /// - Parameter recorded: whether the blocks' last steps have a gradient.
  /// - Throws: `TorchError` for settings that exclude each other, or audio of another length.
  package func generate(_ conditions: Conditions, _ draw: Draw, recorded: Bool, tap: RolloutTap? = nil) throws
    -> Clips
  {
    let n = settings.framesPerBlock
    let frames = draw.steps.count * n
    guard conditions.audioFeatures.size(1) == LatentGeometry.livetalk.videoFrames(latentFrames: frames) else {
      throw TorchError(
        "\(conditions.audioFeatures.size(1)) rows of audio are not those of \(draw.steps.count) blocks of \(n) frames.")
    }
    if let window = settings.windowFrames, window < n {
      throw TorchError("A block of \(n) frames must see itself, not only \(window) frames.")
    }
    if settings.historyGradient != .cut, student.checkpointsLayers {
      throw TorchError("Gradients can only cross the memory where layers are not checkpointed.")
    }
    let conditions = conditions.to(student.dtype)
    let (rollout, memory) = try begin(conditions, frames, draw.noise, tap)
    let audio = withGradients(recorded) { audioContext(conditions) }
    var (blocks, inputs): ([Tensor], [Tensor]) = ([], [])
    for (block, step) in draw.steps.enumerated() {
      blocks.append(
        rollout.next(
          audio: audio.narrow(2, block * n, n), endingWith: step,
          recorded: recorded && hasGradient(block: block, latentFrames: frames)))
      inputs.append(rollout.lastInput ?? blocks[block])
    }
    return Clips(latents: Tensor.cat(blocks, 2), inputs: inputs, steps: draw.steps, rollout: rollout, memory: memory)
  }

  /// The rollout and its empty memory.
  private func begin(_ conditions: Conditions, _ frames: Int, _ noise: NoiseSource, _ tap: RolloutTap?) throws -> (
    BlockRollout<WanTransformer>, RecordedMemory
  ) {
    let size = conditions.referenceLatent.shape + [frames]
    if let cached, cached.size == size {
      cached.memory.reset()
      cached.rollout.restart(
        textEmbedding: conditions.text, referenceLatent: conditions.referenceLatent, noise: noise, tap: tap)
      return (cached.rollout, cached.memory)
    }
    let memory = RecordedMemory(
      student.memoryShape(for: conditions.referenceLatent), frames: frames, visibleFrames: settings.windowFrames,
      gradient: settings.historyGradient)
    let rollout = try BlockRollout(
      transformer: student, steps: steps, memories: [memory], framesPerBlock: settings.framesPerBlock,
      textEmbedding: conditions.text, referenceLatent: conditions.referenceLatent, commit: commit,
      keepsFirstText: settings.historyGradient == .literal, noise: noise, tap: tap)
    cached = (rollout, memory, size)
    return (rollout, memory)
  }

  /// The student's backward pass for clips that were generated without gradients: blocks are recomputed one at a time, newest first, so
  /// that only one block's activations exist. The cache must be detached.
  ///
  /// Source: algorithm 2 of Live Avatar.
  /// - Parameters:
  ///   - gradient: of the loss with respect to the latents, `[B, C, F, H, W]`.
  ///   - each: called after each block, for inspection.
  package func backward(
    _ clips: Clips, _ conditions: Conditions, gradient: Tensor, each: (_ block: Int, _ x0: Tensor) -> Void = { _, _ in }
  ) {
    let n = settings.framesPerBlock
    let conditions = conditions.to(student.dtype)
    for block in clips.steps.indices.reversed() where hasGradient(block: block, latentFrames: clips.latents.size(2)) {
      let audio = withGradients(true) { audioContext(conditions).narrow(2, block * n, n) }
      clips.memory.rewind(to: block * n)
      let x0 = clips.rollout.repeatLastStep(
        block: block, from: clips.inputs[block], step: clips.steps[block], audio: audio)
      x0.backward(gradient: gradient.narrow(2, block * n, n).to(x0.dtype))
      each(block, x0.detach())
    }
  }

  private func audioContext(_ conditions: Conditions) -> Tensor {
    student.audioContext(packed: student.pack(audioFeatures: conditions.audioFeatures))
  }
}
