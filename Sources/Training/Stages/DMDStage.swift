import Foundation
import Generation
import Models
import NN
import Torch

/// The settings of distribution matching distillation on the student's own rollouts.
package struct DMDConfiguration: TrainingConfiguration {
  package var run = RunSettings()
  /// The checkpoint folder of the teacher, which the critic begins as too; its transformer may be larger than the student's.
  package var teacher = ""
  package var optimizer = OptimizerSettings()
  package var criticOptimizer = OptimizerSettings()
  package var average = EMASettings()
  package var rollout = RolloutSettings.livetalk
  package var teacherGuidance = Guidance.paper
  package var criticGuidance = Guidance.none
  package var criticMask = CriticObjective.Mask.frame
  /// Shift of the table by which the scores' flow becomes x0; the published code has 8 where it noises with 5.
  package var conversionShift = 5.0
  /// What the elements of latents count in the student's gradient and in the critic's loss.
  package var weighting = LatentWeighting()
  /// Noise levels of the scores, the lowest and the highest.
  package var timestepRange = [20.0, 980.0]
  /// The student moves in every so many steps, the critic in each.
  package var studentEvery = 5
  /// Whether the student's gradient is gathered block by block, so that only one block's activations are in memory.
  package var blockwise = false
  package var lowRank: LowRankAdaptation?

  package init() {}

  package static let standard = livetalk
  package static var presets: KeyValuePairs<String, DMDConfiguration> {
    [
      "livetalk-1.3b.dmd": livetalk, "livetalk-1.3b.dmd-literal": literal, "live-avatar.dmd": liveAvatar,
      "mini.dmd": mini, "tiny.dmd": tiny,
    ]
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

  /// As published, with the paper's guidance, mask and cut history.
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

  /// Live Avatar's additions: history corruption, a window of 4 blocks, gradients block by block, factors of rank 128.
  private static var liveAvatar: DMDConfiguration {
    var settings = livetalk
    settings.run.steps = 2500
    settings.optimizer.learningRate = 1e-5
    settings.criticOptimizer.learningRate = 2e-6
    settings.rollout.commit = .lastStep
    settings.rollout.windowFrames = 12
    settings.blockwise = true
    settings.lowRank = LowRankAdaptation(rank: 128, alpha: 64, targets: ["q", "k", "v", "o", "ffn.0", "ffn.2"])
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
    check.require(!teacher.isEmpty, "teacher", "nothing", mustBe: "a checkpoint folder")
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
    let crosses = rollout.historyGradient != .cut
    check.require(
      !(crosses && blockwise), "blockwise", blockwise, mustBe: "false where 'rollout.historyGradient' is not 'cut'")
    check.require(
      !(crosses && run.checkpointLayers), "run.checkpointLayers", run.checkpointLayers,
      mustBe: "false where 'rollout.historyGradient' is not 'cut'")
  }
}

package final class DMDStage: TrainingStage {
  package var run: RunSettings { resources.run }
  package let networks: [TrainedNetwork]
  package let exported = [CheckpointFolder.Part.transformer]

  private let settings: DMDConfiguration
  private let resources: StageResources
  private let student: LoadedTransformer
  private let clips: LatentClips
  private let passes: DMDPasses
  // Student and critic have batches of their own.
  private var studentDealer, criticDealer: Dealer

  private enum Turn: Int { case student, critic }

  package init(_ settings: DMDConfiguration, _ processes: Processes = .alone) throws {
    self.settings = settings
    resources = try StageResources(settings.run, processes)
    let device = resources.device
    let teacherFolder = try CheckpointFolder(URL(fileURLWithPath: settings.teacher))
    student = try LoadedTransformer(
      resources.base, settings.run, device: device, isTrained: true, adaptation: settings.lowRank)
    let critic = try LoadedTransformer(
      teacherFolder, settings.run, device: device, isTrained: true, adaptation: settings.lowRank)
    let teacher = try LoadedTransformer(teacherFolder, settings.run, device: device, isTrained: false)
    clips = try LatentClips(
      settings.run.data, frames: settings.run.latentFrames, for: student.model.config, device: device,
      encodedBy: resources.base)
    try clips.check(fit: teacher.model.config, "the teacher")
    try settings.rollout.checkBlocks(clips.latentFrames)
    passes = DMDPasses(settings, student: student.model, critic: critic.model, teacher: teacher.model)
    studentDealer = resources.dealer(clips: clips.count)
    criticDealer = resources.dealer(clips: clips.count, stream: 1)
    let dtype = settings.run.precision.dtype
    networks = [
      TrainedNetwork(
        "student", try resources.optimizer(student.store.trained, settings.optimizer, settings.average), dtype),
      TrainedNetwork(
        "critic", try resources.optimizer(critic.store.trained, settings.criticOptimizer, nil), dtype),
    ]
  }

  package func step(_ step: Int) throws -> [(name: String, value: Double)] {
    var values: [(name: String, value: Double)] = []
    if step % settings.studentEvery == 0 { values += try moveStudent(step) }
    return values + (try moveCritic(step))
  }

  private func moveStudent(_ step: Int) throws -> [(name: String, value: Double)] {
    let optimizer = networks[Turn.student.rawValue].optimizer
    let scale = 1 / Double(run.accumulation)
    var (loss, push) = (0.0, 0.0)
    // Steps without a move of the student's take none of its clips.
    for pass in studentDealer.passes(of: step / settings.studentEvery) {
      let conditions = try clips.conditions(pass.clips)
      let result = try passes.student(
        conditions, negativeText: clips.negativeText, draw(pass, .student, conditions), optimizer, scale: scale,
        elementWeights: try clips.weights(pass.clips, settings.weighting))
      loss += result.loss * scale
      push += result.push * scale
    }
    let (norm, rate) = try resources.update(optimizer, settings.optimizer, step: step)
    return [
      ("student/loss", try resources.mean(loss)), ("student/klGradient", try resources.mean(push)),
      ("student/gradientNorm", norm), ("student/learningRate", rate),
    ]
  }

  private func moveCritic(_ step: Int) throws -> [(name: String, value: Double)] {
    let optimizer = networks[Turn.critic.rawValue].optimizer
    let scale = 1 / Double(run.accumulation)
    var loss = 0.0
    for pass in criticDealer.passes(of: step) {
      let conditions = try clips.conditions(pass.clips)
      loss +=
        scale
        * (try passes.critic(
          conditions, draw(pass, .critic, conditions), optimizer, scale: scale,
          elementWeights: try clips.weights(pass.clips, settings.weighting)))
    }
    let (norm, rate) = try resources.update(optimizer, settings.criticOptimizer, step: step)
    return [("critic/loss", try resources.mean(loss)), ("critic/gradientNorm", norm), ("critic/learningRate", rate)]
  }

  private func draw(_ pass: MicroBatch, _ turn: Turn, _ conditions: Conditions) -> DMDPasses.Draw {
    let blocks = clips.latentFrames / settings.rollout.framesPerBlock
    // All processes end their blocks with the same steps.
    let group = pass.samples[0] / (run.batch * resources.processes.count)
    let drawn = resources.draws.generator(.steps, turn.rawValue, group)
      .integers(0..<settings.rollout.timesteps.count, [blocks]).array(Int.self)
    let steps = settings.rollout.sameStepInAllBlocks ? [Int](repeating: drawn[0], count: blocks) : drawn
    let picture = conditions.referenceLatent.shape
    let shape = Array(picture[..<2]) + [clips.latentFrames] + picture[3...]
    return .init(rollout: .init(steps: steps, noise: noise(pass, turn)), score: scoreDraw(pass, turn, shape))
  }

  /// Noise of which each clip has its own sequence.
  private func noise(_ pass: MicroBatch, _ turn: Turn) -> NoiseSource {
    let generators = pass.samples.map { resources.draws.generator(.noise, turn.rawValue, $0) }
    func draw(_ shape: [Int]) -> Tensor { Tensor.cat(generators.map { $0.normal([1] + shape[1...]) }, 0) }
    return NoiseSource(initial: { draw($1) }, renewed: { draw($2) }, committed: { draw($1) })
  }

  private func scoreDraw(_ pass: MicroBatch, _ turn: Turn, _ shape: [Int]) -> ScoreDraw {
    let generators = pass.samples.map { resources.draws.generator(.timestep, turn.rawValue, $0) }
    let timestep = Tensor.cat(generators.map { $0.integers(0..<1000, [1, 1]) }, 0)
    let noise = Tensor.cat(generators.map { $0.normal([1] + shape[1...]) }, 0)
    return ScoreDraw(timestep: timestep.to(resources.device), noise: noise.to(resources.device))
  }

  package func sample() throws -> Tensor? {
    try resources.studentSample(student.model, settings.rollout, try clips.conditions([0]), clips.latentFrames)
  }

  package func adjust(_ settings: inout CheckpointSettings) { settings.imageSizes = [clips.pixels] }

  package func export(_ values: [(name: String, tensor: Tensor)], to folder: URL) throws {
    try student.write(values, to: folder)
  }
}
