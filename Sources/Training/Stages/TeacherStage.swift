import Foundation
import Generation
import Models
package import NN
import Torch

/// Diffusion forcing (Chen et al. 2024): each block has noise of its own level and sees itself and earlier blocks.
package struct ForcingSettings: CheckedSettings {
  package var framesPerBlock = 3
  /// The sliding window of attention in latent frames, the block's own included; null for the whole clip.
  package var windowFrames: Int?

  package init(windowFrames: Int? = nil) { self.windowFrames = windowFrames }

  package func check(_ check: inout ConfigurationCheck) {
    check.positive("framesPerBlock", framesPerBlock)
    if let windowFrames {
      check.require(
        windowFrames >= framesPerBlock, "windowFrames", windowFrames, mustBe: "at least 'framesPerBlock', or null")
    }
  }
}

/// The settings of flow matching: of the teacher, with bidirectional attention, or of a causal model by diffusion forcing.
package struct TeacherConfiguration: StageConfiguration {
  package var run = RunSettings()
  package var optimizer = OptimizerSettings()
  package var average = EMASettings()
  package var shift = 5.0
  /// Diffusion forcing, the first stage of Live Avatar; null for bidirectional attention.
  package var forcing: ForcingSettings?
  /// Loss weights of timesteps.
  package var lossWeighting = FlowMatching.Weighting.table
  /// Loss weights of latent elements.
  package var weighting = LatentWeighting()
  /// Probability of the negative prompt in place of the text, for classifier-free guidance.
  package var textDropout = 0.1
  /// Probability of silence, independently.
  package var audioDropout = 0.1
  /// LoRA in place of full fine-tuning.
  package var lowRank: LoRAConfiguration?
  /// Guidance and solver steps of sample videos.
  package var sampleGuidance = Guidance.paper
  package var sampleSteps = 25

  package init() {}

  package static let standard = TeacherConfiguration()
  package static var presets: KeyValuePairs<String, TeacherConfiguration> {
    [
      "livetalk-1.3b.teacher": standard, "mini.teacher": mini, "tiny.teacher": tiny,
      "liveavatar-14b.teacher": liveAvatar,
      "liveavatar-tiny.teacher": liveAvatarTiny,
    ]
  }

  /// The first stage of Live Avatar: diffusion forcing of Wan2.2-S2V over windows of four blocks, as LoRA, on clips of 84 frames, after
  /// arXiv 2512.04677. The shift is that of the published sampler; steps, learning rate and the guidance of samples are still to be compared with
  /// their sources.
  private static var liveAvatar: TeacherConfiguration {
    var settings = TeacherConfiguration()
    settings.run.steps = 25_000
    settings.run.accumulation = 64
    settings.run.latentFrames = 21
    settings.optimizer.learningRate = 1e-5
    settings.shift = RolloutSettings.liveAvatar.shift
    settings.forcing = ForcingSettings(windowFrames: RolloutSettings.liveAvatar.windowFrames)
    settings.lowRank = .liveAvatar
    settings.sampleGuidance = .wanS2V
    settings.sampleSteps = 40
    return settings
  }

  private static var liveAvatarTiny: TeacherConfiguration {
    var settings = liveAvatar
    settings.run.applyTiny(steps: 40)
    (settings.run.accumulation, settings.run.latentFrames) = (1, 0)
    settings.optimizer.applyTiny(rate: 2e-3)
    settings.average = EMASettings(decay: 0.9, startStep: 10)
    settings.lowRank?.rank = 4
    (settings.sampleSteps, settings.sampleGuidance) = (4, .none)
    return settings
  }

  private static var mini: TeacherConfiguration {
    var settings = TeacherConfiguration()
    settings.run.applyMini(steps: 450, batch: 16)
    settings.optimizer.applyMuon(rate: 3e-3)
    settings.average = EMASettings(decay: 0.99, startStep: 100)
    settings.lossWeighting = .x0
    settings.weighting = .faces
    settings.sampleSteps = 12
    settings.sampleGuidance = Guidance(text: 1, audio: 2)
    return settings
  }

  private static var tiny: TeacherConfiguration {
    var settings = TeacherConfiguration()
    settings.run.applyTiny(steps: 300)
    settings.optimizer.applyTiny(rate: 1e-3)
    settings.average = EMASettings(decay: 0.9, startStep: 20)
    settings.sampleSteps = 8
    settings.sampleGuidance = Guidance(text: 1, audio: 2)
    return settings
  }

  package func check(_ check: inout ConfigurationCheck) {
    check.settings("run", run)
    check.settings("optimizer", optimizer)
    check.settings("average", average)
    check.positive("shift", shift)
    check.settings("weighting", weighting)
    if let forcing { check.settings("forcing", forcing) }
    check.inside(0...1, "textDropout", textDropout)
    check.inside(0...1, "audioDropout", audioDropout)
    check.settings("sampleGuidance", sampleGuidance)
    check.positive("sampleSteps", sampleSteps)
  }

  package func stage(_ processes: Processes) throws -> any TrainingStage { try TeacherStage(self, processes) }
}

final class TeacherStage: TransformerStage {
  let context: StageContext
  let transformer: LoadedTransformer
  let clips: LatentClips
  let networks: [TrainedNetwork]
  private let settings: TeacherConfiguration
  private let schedule: FlowMatchingSchedule
  private let mask: BlockMask?

  init(_ settings: TeacherConfiguration, _ processes: Processes = .alone) throws {
    self.settings = settings
    context = try StageContext(settings.run, processes)
    let device = context.device
    transformer = try LoadedTransformer(
      context.base, settings.run, device: device, isTrained: true, adaptation: settings.lowRank,
      over: try context.bases(settings.lowRank))
    clips = try LatentClips(
      settings.run.data, frames: settings.run.latentFrames, for: transformer.model, device: device,
      encodedBy: context.base)
    schedule = .training(shift: settings.shift, device: device)
    mask = settings.forcing.map { BlockMask(framesPerBlock: $0.framesPerBlock, windowFrames: $0.windowFrames) }
    if let forcing = settings.forcing { try clips.checkBlocks(of: forcing.framesPerBlock) }
    networks = [
      try TrainedNetwork(
        "teacher", transformer.store.trained, settings.optimizer, ema: settings.average, settings.run, processes,
        clips: clips.count)
    ]
  }

  func loss(of network: TrainedNetwork, on batch: MicroBatch) throws -> BatchLoss {
    let x0 = try clips.latents(batch.clips)
    let conditions = dropped(try clips.conditions(batch.clips), batch.samples)
    return BatchLoss(
      FlowMatching.loss(
        transformer.seeded(batch.samples, context.streams), x0: x0, conditions, draw(batch.samples, x0.shape),
        schedule: schedule, mask: mask, weighting: settings.lossWeighting,
        elementWeights: try clips.weights(batch.clips, settings.weighting)
      ).loss)
  }

  private func draw(_ samples: [Int], _ shape: [Int]) -> FlowMatching.Draw {
    let noise = context.streams.perSample(.noise, samples) { $0.normal([1] + shape[1...]) }
    let frames = shape[2]
    let (count, each) = (schedule.count, mask == nil ? 1 : frames)
    let index = context.streams.perSample(.timestep, samples) { $0.integers(0..<count, [1, each]) }
    return FlowMatching.Draw(
      noise: noise.to(context.device),
      indices: FlowMatching.grouped(
        index.to(context.device), frames: frames, framesPerGroup: mask?.framesPerBlock ?? frames))
  }

  /// Condition dropout.
  private func dropped(_ conditions: Conditions, _ samples: [Int]) -> Conditions {
    let chances = context.streams.perSample(.dropout, samples) { $0.uniform([1, 2]) }.to(context.device)
    func keeps(_ index: Int, _ rate: Double) -> Tensor {
      (chances.narrow(1, index, 1) .>= rate).to(.float32).unsqueeze(-1)  // [B, 1, 1]
    }
    let (text, audio) = (keeps(0, settings.textDropout), keeps(1, settings.audioDropout))
    return conditions.with(
      text: conditions.text * text + clips.negativeText * (1 - text), audioFeatures: conditions.audioFeatures * audio)
  }

  func sample() throws -> Tensor? {
    let conditions = try clips.conditions([0])
    let noise = context.streams.generator(.sample, 0).normal(try clips.latents([0]).shape).to(context.device)
    let sampler = TeacherSampler(
      teacher: transformer.model, guidance: settings.sampleGuidance, negativeText: clips.negativeText,
      shift: settings.shift, solverSteps: settings.sampleSteps, mask: mask)
    let states = sampler.trajectory(noise, conditions, timesteps: [1000])
    return try context.decode(states.select(1, 1))
  }
}
