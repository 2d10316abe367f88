import Basics
import ClipShards
import Foundation
import Generation
import Models
package import NN
import Torch

/// The settings of ODE initialisation.
package struct ODEConfiguration: StageConfiguration {
  package var run = RunSettings()
  package var optimizer = OptimizerSettings()
  package var average = EMASettings()
  /// Its timesteps must be those of the trajectories.
  package var rollout = RolloutSettings.livetalk
  /// Whether frame 0 is given clean.
  package var keepsFirstFrame = false
  package var lowRank: LoRAConfiguration?
  /// Loss weights of latent elements.
  package var weighting = LatentWeighting()

  package init() {}

  package static let standard = livetalk
  package static var presets: KeyValuePairs<String, ODEConfiguration> {
    ["livetalk-1.3b.ode": livetalk, "mini.ode": mini, "tiny.ode": tiny]
  }

  private static var mini: ODEConfiguration {
    var settings = livetalk
    settings.run.applyMini(steps: 200, batch: 4)
    settings.run.accumulation = 1
    settings.optimizer.applyMuon(rate: 1.5e-3)
    settings.average = EMASettings(decay: 0.98, startStep: 50)
    settings.weighting = .faces
    return settings
  }

  /// As published: 20,000 steps (the paper: it must have converged), batches of 64, no weight decay.
  private static var livetalk: ODEConfiguration {
    var settings = ODEConfiguration()
    settings.run.steps = 20_000
    settings.run.accumulation = 64
    settings.optimizer.learningRate = 4e-5
    settings.optimizer.weightDecay = 0
    settings.optimizer.clip = 10
    settings.average.decay = 0
    return settings
  }

  private static var tiny: ODEConfiguration {
    var settings = livetalk
    settings.run.applyTiny(steps: 200)
    settings.run.accumulation = 1
    settings.optimizer.applyTiny(rate: 1e-3)
    return settings
  }

  package func check(_ check: inout ConfigurationCheck) {
    check.settings("run", run)
    check.settings("optimizer", optimizer)
    check.settings("average", average)
    check.settings("rollout", rollout)
    check.settings("weighting", weighting)
  }

  package func stage(_ processes: Processes) throws -> any TrainingStage { try ODEStage(self, processes) }
}

final class ODEStage: TransformerStage {
  let context: StageContext
  let transformer: LoadedTransformer
  let clips: LatentClips
  let networks: [TrainedNetwork]
  private let settings: ODEConfiguration
  private let schedule: FlowMatchingSchedule
  private let mask: BlockMask
  private let steps: [Double]

  init(_ settings: ODEConfiguration, _ processes: Processes = .alone) throws {
    self.settings = settings
    context = try StageContext(settings.run, processes)
    let device = context.device
    transformer = try LoadedTransformer(
      context.base, settings.run, device: device, isTrained: true, adaptation: settings.lowRank,
      over: try context.bases(settings.lowRank))
    clips = try LatentClips(
      settings.run.data, frames: settings.run.latentFrames, trajectories: true, for: transformer.model, device: device,
      encodedBy: context.base)
    steps = settings.rollout.timesteps + [0]
    let stored = try Trajectories.timesteps(of: clips.clips.index)
    guard stored == settings.rollout.timesteps else {
      throw LiveTalkError(
        "The trajectories of \(settings.run.data) have the timesteps \(stored), the student \(settings.rollout.timesteps)."
      )
    }
    try clips.checkBlocks(of: settings.rollout.framesPerBlock)
    mask = BlockMask(
      framesPerBlock: settings.rollout.framesPerBlock, windowFrames: settings.rollout.windowFrames)
    schedule = .training(shift: settings.rollout.shift, device: device)
    networks = [
      try TrainedNetwork(
        "student", transformer.store.trained, settings.optimizer, ema: settings.average, settings.run, processes,
        clips: clips.count)
    ]
  }

  func loss(of network: TrainedNetwork, on batch: MicroBatch) throws -> BatchLoss {
    let (count, frames) = (steps.count - 1, clips.latentFrames)
    let drawn = context.streams.perSample(.timestep, batch.samples) { $0.integers(0..<count, [1, frames]) }
    let indices = ODERegression.indices(
      drawn.to(context.device), framesPerBlock: settings.rollout.framesPerBlock, steps: steps.count,
      keepsFirstFrame: settings.keepsFirstFrame)
    return BatchLoss(
      ODERegression.loss(
        transformer.seeded(batch.samples, context.streams), trajectory: try clips.trajectories(batch.clips),
        steps: steps, indices: indices,
        try clips.conditions(batch.clips), schedule: schedule, mask: mask,
        elementWeights: try clips.weights(batch.clips, settings.weighting)
      ).loss)
  }

  func sample() throws -> Tensor? { try studentSample(settings.rollout) }
}
