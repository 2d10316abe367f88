import Generation
import Models
import Torch

/// How the gradient of a training rollout crosses from a block into earlier ones.
public enum HistoryGradient: String, Sendable, CaseIterable {
  /// Not at all: cached keys and values are constants, as the papers say.
  case cut
  /// Through the cache, whose values a later pass replaced but whose history stayed: what the published Self-Forcing training does.
  case selfForcing
  /// As `selfForcing`, and the text's keys and values are those of the rollout's first pass, so that the text layers have a
  /// gradient only where that pass has one: what the published LiveTalk code does.
  case literal
}

/// How the student rolls out clips in training.
public struct RolloutSettings: Codable, Hashable, Sendable {
  /// What stays of a block in the cache; see `Commit`.
  public enum CommitPass: String, Sendable, CaseIterable {
    case clean
    /// Noised to the smallest level of the table, as the published training does.
    case noised
    /// Live Avatar's history corruption.
    case lastStep
  }

  /// Timesteps of the student's steps, noisiest first.
  public var timesteps: [Double]
  public var shift: Double
  public var framesPerBlock: Int
  /// How many of the newest latent frames attention sees, the block's own included, as when serving with a rolling window; nil for
  /// the whole clip.
  public var windowFrames: Int?
  /// Only the blocks that begin in this many last frames have a gradient.
  public var gradientFrames: Int
  /// Whether all blocks of a clip end with the same step.
  public var sameStepInAllBlocks: Bool
  public var commit: CommitPass
  public var historyGradient: HistoryGradient

  /// As the papers say: the history cut, the commit pass over clean latents.
  public static let livetalk = RolloutSettings()

  public init(
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

  /// The noise levels `[from, to]` between which a clip lies that ended with `step`, in whole numbers of the unshifted scale.
  public func scoreRange(endingWith step: Int) -> (from: Int, to: Int) {
    let table = FlowMatchingSchedule.training(shift: shift)
    func place(_ index: Int) -> Int {
      guard timesteps.indices.contains(index) else { return 0 }
      return table.count - table.indices(of: Tensor([Float(timesteps[index])])).intItem
    }
    return (place(step), place(step + 1))
  }
}

/// Rolls the student out over whole clips, as it serves: block by block over its own cache.
public struct StudentRollout {
  /// What is drawn for one batch.
  public struct Draw {
    /// The step that each block ends with.
    public let steps: [Int]
    public let noise: NoiseSource

    public init(steps: [Int], noise: NoiseSource) {
      self.steps = steps
      self.noise = noise
    }
  }

  /// A batch of clips, and what computing a block again takes.
  public struct Clips {
    /// `[B, C, F, H, W]`; its first frame is the picture.
    public let latents: Tensor
    /// What the last step of each block began from, `[B, C, n, H, W]`.
    public let inputs: [Tensor]
    public let steps: [Int]
    public let rollout: BlockRollout<WanTransformer>
    let memory: RecordedMemory
  }

  public let student: WanTransformer
  public let settings: RolloutSettings
  private let schedule: FlowMatchingSchedule

  public init(_ student: WanTransformer, _ settings: RolloutSettings) {
    self.student = student
    self.settings = settings
    schedule = .training(shift: settings.shift, device: student.device)
  }

  /// Whether the block's last step has a gradient in clips of so many latent frames.
  public func hasGradient(block: Int, latentFrames: Int) -> Bool {
    block * settings.framesPerBlock >= latentFrames - settings.gradientFrames
  }

  /// Generates the clips of a batch.
  ///
  /// - Parameter recorded: whether the last steps of the blocks have a gradient.
  /// - Throws: `TorchError` for settings that cannot be, or clips that are no whole number of blocks.
  public func generate(_ conditions: Conditions, _ draw: Draw, recorded: Bool, tap: RolloutTap? = nil) throws
    -> Clips
  {
    let n = settings.framesPerBlock
    let frames = draw.steps.count * n
    guard conditions.audioFeatures.size(1) == LatentGeometry.livetalk.videoFrames(latentFrames: frames) else {
      throw TorchError(
        "\(conditions.audioFeatures.size(1)) rows of audio are not those of \(draw.steps.count) blocks of \(n) frames.")
    }
    let conditions = conditions.to(student.dtype)
    let commit: Commit =
      switch settings.commit {
      case .clean: .clean
      case .noised: .noised(sigma: schedule.sigmas.select(0, schedule.count - 1).item)
      case .lastStep: .lastStep
      }
    if let window = settings.windowFrames, window < n {
      throw TorchError("A block of \(n) frames must see itself, not only \(window) frames.")
    }
    if settings.historyGradient != .cut, student.checkpointsLayers {
      throw TorchError("Gradients can only cross the memory where layers are not checkpointed.")
    }
    let memory = RecordedMemory(
      student.memoryShape(for: conditions.referenceLatent), frames: frames, visibleFrames: settings.windowFrames,
      gradient: settings.historyGradient)
    let rollout = try BlockRollout(
      transformer: student, steps: schedule.steps(at: settings.timesteps, student.dtype), memories: [memory],
      framesPerBlock: n, textEmbedding: conditions.text, referenceLatent: conditions.referenceLatent, commit: commit,
      keepsFirstText: settings.historyGradient == .literal, noise: draw.noise, tap: tap)
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

  /// Gathers the student's gradient of clips that were generated without one, block by block from the newest to the oldest, so
  /// that only one block's activations exist at a time. The history must be cut.
  ///
  /// Source: algorithm 2 of Live Avatar; every block gets its part of one and the same gradient.
  /// - Parameters:
  ///   - gradient: of the loss for the clips' latents, `[B, C, F, H, W]`.
  ///   - each: called after each block, for inspection.
  public func backward(
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
