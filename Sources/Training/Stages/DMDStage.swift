import Foundation
import Generation
import Models
package import NN
import Torch

/// The settings of distribution matching distillation by self-forcing rollouts.
package struct DMDConfiguration: StageConfiguration {
  package var run = RunSettings()
  /// The teacher's checkpoint folder; the critic starts from it too. Its transformer may be larger than the student's.
  package var teacher = ""
  package var optimizer = OptimizerSettings()
  package var criticOptimizer = OptimizerSettings()
  package var average = EMASettings()
  package var rollout = RolloutSettings.livetalk
  package var teacherGuidance = Guidance.paper
  package var criticGuidance = Guidance.none
  package var criticMask = CriticObjective.Mask.frame
  /// Shift of the schedule that turns the scores' flow into x0; the published code has 8 where it noises with 5.
  package var conversionShift = 5.0
  /// Weights of latent elements in the student's gradient and in the critic's loss.
  package var weighting = LatentWeighting()
  /// The lowest and the highest timestep of the scores.
  package var timestepRange = [20.0, 980.0]
  /// The student is updated in every so many steps, the critic in every step.
  package var studentEvery = 5
  /// Whether the student's backward pass goes block by block, with the activations of one block in memory.
  package var blockwise = false
  package var lowRank: LoRAConfiguration?

  package init() {}

  package static let standard = livetalk
  package static var presets: KeyValuePairs<String, DMDConfiguration> {
    [
      "livetalk-1.3b.dmd": livetalk, "livetalk-1.3b.dmd-literal": literal, "live-avatar.dmd": liveAvatar,
      "mini.dmd": mini, "tiny.dmd": tiny, "liveavatar-14b.dmd": liveAvatar14B, "liveavatar-tiny.dmd": liveAvatarTiny,
    ]
  }

  /// The second stage of Live Avatar on its own model: each step over a memory of its own, as it serves. The paper (arXiv 2512.04677) states no
  /// guidance of the teacher; this is Wan2.2-S2V's.
  package static var liveAvatar14B: DMDConfiguration {
    var settings = liveAvatar
    settings.run.latentFrames = 21
    settings.rollout = .liveAvatar
    settings.conversionShift = settings.rollout.shift
    settings.teacherGuidance = .wanS2V
    return settings
  }

  private static var liveAvatarTiny: DMDConfiguration {
    var settings = liveAvatar14B
    settings.run.applyTiny(steps: 20)
    (settings.run.accumulation, settings.run.latentFrames) = (1, 0)
    settings.optimizer.learningRate = 2e-4
    settings.criticOptimizer.learningRate = 4e-4
    settings.average = EMASettings(decay: 0.9, startStep: 5)
    settings.teacherGuidance = .none
    settings.lowRank?.rank = 4
    settings.studentEvery = 2
    return settings
  }

  private static var mini: DMDConfiguration {
    var settings = livetalk
    settings.run.applyMini(steps: 100, batch: 2)
    settings.run.accumulation = 1
    for path in [\DMDConfiguration.optimizer, \.criticOptimizer] {
      settings[keyPath: path].betas = [0, 0.99]
      settings[keyPath: path].weightDecay = 0
    }
    settings.optimizer.learningRate = 5e-5
    settings.criticOptimizer.learningRate = 1e-4
    settings.average = EMASettings(decay: 0.95, startStep: 20)
    settings.teacherGuidance = Guidance(text: 1, audio: 2)
    settings.weighting.regions = FaceRegionSettings(mouth: 4, eyes: 2)
    settings.studentEvery = 2
    return settings
  }

  /// As published, with the paper's guidance, mask and detached cache.
  private static var livetalk: DMDConfiguration {
    var settings = DMDConfiguration()
    settings.run.steps = 1000
    settings.run.accumulation = 64
    for path in [\DMDConfiguration.optimizer, \.criticOptimizer] {
      settings[keyPath: path].betas = [0, 0.999]
      settings[keyPath: path].clip = 10
    }
    settings.optimizer.learningRate = 4e-6
    settings.criticOptimizer.learningRate = 8e-7
    return settings
  }

  /// What the published code does where it differs from the paper.
  private static var literal: DMDConfiguration {
    var settings = livetalk
    settings.rollout.historyGradient = .literal
    settings.rollout.commit = .noised
    settings.run.checkpointLayers = false
    settings.teacherGuidance = Guidance(text: 5, audio: 5, convention: .literal)
    settings.criticGuidance = Guidance(text: 0, audio: 0, convention: .literal)
    settings.criticMask = .channel
    settings.conversionShift = 8
    return settings
  }

  /// Live Avatar's additions on LiveTalk's model: history corruption, a sliding window of 4 blocks, blockwise backward, LoRA of rank 128.
  private static var liveAvatar: DMDConfiguration {
    var settings = livetalk
    settings.run.steps = 2500
    settings.optimizer.learningRate = 1e-5
    settings.criticOptimizer.learningRate = 2e-6
    settings.rollout.commit = .lastStep
    settings.rollout.windowFrames = 12
    settings.blockwise = true
    settings.lowRank = .liveAvatar
    return settings
  }

  private static var tiny: DMDConfiguration {
    var settings = livetalk
    settings.run.applyTiny(steps: 100)
    settings.run.accumulation = 1
    settings.optimizer.learningRate = 2e-4
    settings.criticOptimizer.learningRate = 4e-4
    settings.average = EMASettings(decay: 0.9, startStep: 10)
    settings.teacherGuidance = Guidance(text: 1, audio: 2)
    settings.studentEvery = 2
    return settings
  }

  package func check(_ check: inout ConfigurationCheck) {
    check.settings("run", run)
    check.folder("teacher", teacher, kind: "a checkpoint folder")
    check.settings("optimizer", optimizer)
    check.settings("criticOptimizer", criticOptimizer)
    check.settings("average", average)
    check.settings("rollout", rollout)
    check.settings("teacherGuidance", teacherGuidance)
    check.settings("criticGuidance", criticGuidance)
    check.positive("conversionShift", conversionShift)
    check.settings("weighting", weighting)
    let isRange = timestepRange.count == 2 && 0 <= timestepRange[0] && timestepRange[0] < timestepRange[1]
    check.require(
      isRange && timestepRange[1] <= 1000, "timestepRange", timestepRange, mustBe: "two rising numbers up to 1000")
    check.positive("studentEvery", studentEvery)
    check.require(
      rollout.commit != .everyStep || rollout.sameStepInAllBlocks, "rollout.sameStepInAllBlocks",
      rollout.sameStepInAllBlocks, mustBe: "true where 'rollout.commit' is 'everyStep'")
    let crosses = rollout.historyGradient != .cut
    check.require(
      !(crosses && blockwise), "blockwise", blockwise, mustBe: "false where 'rollout.historyGradient' is not 'cut'")
    check.require(
      !(crosses && run.checkpointLayers), "run.checkpointLayers", run.checkpointLayers,
      mustBe: "false where 'rollout.historyGradient' is not 'cut'")
  }

  package func stage(_ processes: Processes) throws -> any TrainingStage { try DMDStage(self, processes) }
}

final class DMDStage: TransformerStage {
  let context: StageContext
  /// The student.
  let transformer: LoadedTransformer
  let clips: LatentClips
  let networks: [TrainedNetwork]
  private let settings: DMDConfiguration
  private let losses: DMDLosses

  init(_ settings: DMDConfiguration, _ processes: Processes = .alone) throws {
    self.settings = settings
    context = try StageContext(settings.run, processes)
    let device = context.device
    let teacherFolder = try CheckpointFolder(URL(fileURLWithPath: settings.teacher))
    // With LoRA each file is in memory once, whatever is built over it.
    let bases = try context.bases(settings.lowRank)
    transformer = try LoadedTransformer(
      context.base, settings.run, device: device, isTrained: true, adaptation: settings.lowRank, over: bases)
    let critic = try LoadedTransformer(
      teacherFolder, settings.run, device: device, isTrained: true, adaptation: settings.lowRank, over: bases)
    let teacher = try LoadedTransformer(teacherFolder, settings.run, device: device, isTrained: false, over: bases)
    clips = try LatentClips(
      settings.run.data, frames: settings.run.latentFrames, for: transformer.model, device: device,
      encodedBy: context.base)
    try clips.check(fit: teacher.model, "the teacher")
    try clips.checkBlocks(of: settings.rollout.framesPerBlock)
    losses = DMDLosses(settings, student: transformer.model, critic: critic.model, teacher: teacher.model)
    // Student and critic sample different clips.
    networks = [
      try TrainedNetwork(
        "student", transformer.store.trained, settings.optimizer, ema: settings.average, settings.run, processes,
        clips: clips.count, updatedEvery: settings.studentEvery),
      try TrainedNetwork(
        "critic", critic.store.trained, settings.criticOptimizer, ema: nil, settings.run, processes,
        clips: clips.count, stream: 1),
    ]
  }

  func loss(of network: TrainedNetwork, on batch: MicroBatch) throws -> BatchLoss {
    let conditions = try clips.conditions(batch.clips)
    let weights = try clips.weights(batch.clips, settings.weighting)
    guard network === networks[0] else {
      return try losses.critic(conditions, draw(batch, stream: 1, conditions), elementWeights: weights)
    }
    return try losses.student(
      conditions, negativeText: clips.negativeText, draw(batch, stream: 0, conditions), elementWeights: weights)
  }

  private func draw(_ batch: MicroBatch, stream: Int, _ conditions: Conditions) -> DMDLosses.Draw {
    let blocks = clips.latentFrames / settings.rollout.framesPerBlock
    // All ranks end their blocks with the same steps, so that none waits for another.
    let group = batch.samples[0] / (run.batch * context.processes.count)
    let drawn = context.streams.generator(.exitSteps, stream, group)
      .integers(0..<settings.rollout.timesteps.count, [blocks]).array(Int.self)
    let steps = settings.rollout.sameStepInAllBlocks ? [Int](repeating: drawn[0], count: blocks) : drawn
    let picture = conditions.referenceLatent.shape
    let seed = context.streams.seed(.sinkDistance, stream, batch.samples[0])
    let shape = Array(picture[..<2]) + [clips.latentFrames] + picture[3...]
    return .init(
      rollout: .init(steps: steps, noise: noise(batch, stream), seed: seed), score: scoreDraw(batch, stream, shape))
  }

  /// Each sample's noise comes from its own generator.
  private func noise(_ batch: MicroBatch, _ stream: Int) -> NoiseSource {
    let generators = batch.samples.map { context.streams.generator(.noise, stream, $0) }
    func draw(_ shape: [Int]) -> Tensor { Tensor.cat(generators.map { $0.normal([1] + shape[1...]) }, 0) }
    return NoiseSource(initial: { draw($1) }, renewed: { draw($2) }, committed: { draw($1) })
  }

  private func scoreDraw(_ batch: MicroBatch, _ stream: Int, _ shape: [Int]) -> ScoreDraw {
    let generators = batch.samples.map { context.streams.generator(.timestep, stream, $0) }
    let timestep = Tensor.cat(generators.map { $0.integers(0..<1000, [1, 1]) }, 0)
    let noise = Tensor.cat(generators.map { $0.normal([1] + shape[1...]) }, 0)
    return ScoreDraw(timestep: timestep.to(context.device), noise: noise.to(context.device))
  }

  func sample() throws -> Tensor? { try studentSample(settings.rollout) }
}
