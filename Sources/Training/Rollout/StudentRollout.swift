package import Generation
import Models
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
    /// Live Avatar's history corruption, in one memory that all steps share.
    case lastStep
    /// As Live Avatar serves: each step sees of earlier blocks what the same step wrote, at the same noise level. All blocks of a clip end with
    /// the same step, and all take a step before any takes the next, so that one memory does for all.
    case everyStep
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

  /// Live Avatar's: its four steps, each with a memory of its own, over a window of four blocks.
  package static let liveAvatar = RolloutSettings(
    timesteps: FlowMatchingSchedule.liveAvatar().timesteps.array().map { Double($0) }, shift: 3, windowFrames: 12,
    commit: .everyStep)

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

/// The random numbers of a batch's rollout.
package struct RolloutDraw {
  /// The step that each block exits at.
  package let steps: [Int]
  package let noise: NoiseSource
  /// Of the model's own choices.
  package let seed: UInt64

  package init(steps: [Int], noise: NoiseSource, seed: UInt64 = 0) {
    (self.steps, self.noise, self.seed) = (steps, noise, seed)
  }
}

/// A batch of generated clips, and what it takes to recompute a block. Valid until the next batch.
package struct RolloutClips {
  /// `[B, C, F, H, W]`.
  package let latents: Tensor
  /// The input of each block's last step, `[B, C, n, H, W]`.
  package let inputs: [Tensor]
  package let steps: [Int]
  package let memory: RecordedMemory
}

/// Rollouts of a student of any family.
package protocol ClipRollout: AnyObject {
  /// Generates a batch of clips.
  ///
  /// - Parameter recorded: whether the blocks' last steps have a gradient.
  /// - Throws: `TorchError` for settings that exclude each other, or audio of another length.
  func generate(_ conditions: Conditions, _ draw: RolloutDraw, recorded: Bool, tap: RolloutTap?) throws -> RolloutClips

  /// The student's backward pass for clips that were generated without gradients: blocks are recomputed one at a time, newest first, so
  /// that only one block's activations exist. The cache must be detached.
  ///
  /// Source: algorithm 2 of Live Avatar.
  /// - Parameters:
  ///   - gradient: of the loss with respect to the latents, `[B, C, F, H, W]`.
  ///   - each: called after each block, for inspection.
  func backward(
    _ clips: RolloutClips, _ conditions: Conditions, gradient: Tensor, each: (_ block: Int, _ x0: Tensor) -> Void)
}

extension ClipRollout {
  package func generate(_ conditions: Conditions, _ draw: RolloutDraw, recorded: Bool) throws -> RolloutClips {
    try generate(conditions, draw, recorded: recorded, tap: nil)
  }
  package func backward(_ clips: RolloutClips, _ conditions: Conditions, gradient: Tensor) {
    backward(clips, conditions, gradient: gradient) { _, _ in }
  }
}

/// Self-forcing: the student generates whole clips as it serves, block by block over its own KV cache.
///
/// Rollout and cache are allocated for the first batch and reused for those of the same size.
package final class StudentRollout<Transformer: TrainableTransformer>: ClipRollout {
  private struct Cached {
    let rollout: BlockRollout<Transformer>
    let memory: RecordedMemory
    let size: [Int]
  }

  package let student: Transformer
  package let settings: RolloutSettings
  private let steps: [FlowMatchingSchedule.Step]
  private let commit: Commit
  private var cached: Cached?

  package init(_ student: Transformer, _ settings: RolloutSettings) {
    self.student = student
    self.settings = settings
    let schedule = FlowMatchingSchedule.training(shift: settings.shift, device: student.device)
    steps = student.steps(settings, schedule)
    commit =
      switch settings.commit {
      case .clean: .clean
      case .noised: .noised(sigma: schedule.sigmas.select(0, schedule.count - 1).item)
      case .lastStep, .everyStep: .lastStep
      }
  }

  /// Whether a block's last step is recorded in clips of so many latent frames.
  package func hasGradient(block: Int, latentFrames: Int) -> Bool {
    block * settings.framesPerBlock >= latentFrames - settings.gradientFrames
  }

  package func generate(_ conditions: Conditions, _ draw: RolloutDraw, recorded: Bool, tap: RolloutTap? = nil) throws
    -> RolloutClips
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
    if settings.commit == .everyStep, Set(draw.steps).count > 1 {
      throw TorchError(
        "Where each step sees what it wrote itself, all blocks of a clip end with the same step, not with \(draw.steps)."
      )
    }
    let conditions = conditions.to(student.dtype)
    let cached = try begin(conditions, frames, draw, tap)
    let (rollout, memory) = (cached.rollout, cached.memory)
    func isRecorded(_ block: Int) -> Bool { recorded && hasGradient(block: block, latentFrames: frames) }
    func audio(_ block: Int) -> Transformer.AudioContext {
      withGradients(isRecorded(block)) { student.audioContext(of: block, framesPerBlock: n, conditions) }
    }
    var (blocks, inputs): ([Tensor], [Tensor]) = ([], [])
    if settings.commit == .everyStep {
      (blocks, inputs) = rollout.clip(
        audio: draw.steps.indices.map(audio), endingWith: draw.steps[0], recorded: isRecorded
      ) { memory.rewind(to: 0) }
    } else {
      for (block, step) in draw.steps.enumerated() {
        blocks.append(rollout.next(audio: audio(block), endingWith: step, recorded: isRecorded(block)))
        inputs.append(rollout.lastInput ?? blocks[block])
      }
    }
    return RolloutClips(latents: Tensor.cat(blocks, 2), inputs: inputs, steps: draw.steps, memory: memory)
  }

  /// The rollout and its empty memory.
  private func begin(_ conditions: Conditions, _ frames: Int, _ draw: RolloutDraw, _ tap: RolloutTap?) throws -> Cached
  {
    let size = conditions.referenceLatent.shape + [frames]
    let student = student.seeded(draw.seed)
    if let cached, cached.size == size {
      cached.memory.reset()
      cached.rollout.restart(
        transformer: student, textEmbedding: conditions.text, referenceLatent: conditions.referenceLatent,
        noise: draw.noise, tap: tap)
      return cached
    }
    let memory = RecordedMemory(
      student.memoryShape(for: conditions.referenceLatent), frames: frames, visibleFrames: settings.windowFrames,
      gradient: settings.historyGradient)
    let rollout = try BlockRollout(
      transformer: student, steps: steps, sampler: student.sampler, memories: [memory],
      framesPerBlock: settings.framesPerBlock, textEmbedding: conditions.text,
      referenceLatent: conditions.referenceLatent, commit: commit,
      keepsFirstText: settings.historyGradient == .literal, noise: draw.noise, tap: tap)
    let new = Cached(rollout: rollout, memory: memory, size: size)
    cached = new
    return new
  }

  package func backward(
    _ clips: RolloutClips, _ conditions: Conditions, gradient: Tensor,
    each: (_ block: Int, _ x0: Tensor) -> Void = { _, _ in }
  ) {
    guard let rollout = cached?.rollout else { preconditionFailure("there are no clips to go back through") }
    let n = settings.framesPerBlock
    let conditions = conditions.to(student.dtype)
    for block in clips.steps.indices.reversed() where hasGradient(block: block, latentFrames: clips.latents.size(2)) {
      let step = clips.steps[block]
      let audio = withGradients(true) { student.audioContext(of: block, framesPerBlock: n, conditions) }
      clips.memory.rewind(to: block * n)
      let x0 = rollout.repeatLastStep(block: block, from: clips.inputs[block], step: step, audio: audio)
      x0.backward(gradient: gradient.narrow(2, block * n, n).to(x0.dtype))
      each(block, x0.detach())
    }
  }
}
