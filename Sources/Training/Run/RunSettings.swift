import Foundation
import Generation
import Models
import Torch

/// What every training run has, whatever it trains.
package struct RunSettings: CheckedSettings {
  package enum Precision: String, ConfigurationChoice {
    case float32, bfloat16

    package var dtype: DType { self == .float32 ? .float32 : .bfloat16 }
  }

  /// The folder of prepared clips.
  package var data = ""
  /// Latent frames of each clip that are used, from its start; 0 for all. For the stages of the transformers.
  package var latentFrames = 0
  /// The checkpoint folder to start from: its models, and what the result is completed with.
  package var checkpoint = ""
  /// The folder of the run: checkpoints, metrics, samples, and at the end `final`, a checkpoint folder.
  package var out = ""
  /// Steps of the whole run.
  package var steps = 1000
  /// Clips that one pass takes, on each process.
  package var batch = 1
  /// Passes whose gradients make one step: a step takes batch · accumulation · processes clips.
  package var accumulation = 1
  /// Where all random numbers come from. Runs of one seed and one number of clips a step draw the same for the transformers,
  /// whoever has which clip; for the autoencoder and the speech encoder also 'batch' must be the same.
  package var seed = 0
  /// Where to compute: auto, cpu, cuda, cuda:N or mps.
  package var device = "auto"
  /// The type of the working weights. Their fp32 masters and the optimiser's moments are fp32 in any case.
  package var precision = Precision.bfloat16
  /// Whether the layers of transformers keep only their inputs for the way back, and compute the rest again.
  package var checkpointLayers = true
  package var report = ReportSettings()
  /// From where on a sample video stops the run.
  package var videoGuard = VideoGuardSettings()
  /// Whether a bad sample video stops the run, or is only reported.
  package var stopsOnBadVideo = true

  package init() {}

  /// What the presets of the smallest system share: fp32 on the CPU, few steps, everything reported.
  mutating func applyTiny(steps: Int) {
    self.steps = steps
    device = "cpu"
    precision = .float32
    checkpointLayers = false
    report.logEvery = 1
    report.sampleEvery = steps
    report.checkpointEvery = steps / 2
    stopsOnBadVideo = false
  }

  package func check(_ check: inout ConfigurationCheck) {
    for (key, value) in [("data", data), ("checkpoint", checkpoint), ("out", out)] {
      check.require(!value.isEmpty, key, "nothing", mustBe: "a folder")
    }
    check.positive("steps", steps)
    check.positive("batch", batch)
    check.notNegative("latentFrames", latentFrames)
    check.positive("accumulation", accumulation)
    check.notNegative("seed", seed)
    check.settings("report", report)
    check.settings("videoGuard", videoGuard)
  }
}

extension RunSettings {
  /// What the presets of the bundled model share: fp32 on the CPU, looked at every few minutes.
  mutating func applyMini(steps: Int, batch: Int) {
    self.steps = steps
    self.batch = batch
    device = "cpu"
    precision = .float32
    checkpointLayers = false
    report.sampleEvery = 200
    report.checkpointEvery = 200
    report.keepCheckpoints = 2
    stopsOnBadVideo = false
  }
}

extension OptimizerSettings {
  mutating func applyMuon(rate: Double) {
    algorithm = .muon
    learningRate = rate
    betas = [0.9, 0.99]
    warmupSteps = 20
    weightDecay = 0
    decay = .cosine
  }

  mutating func applyTiny(rate: Double) {
    learningRate = rate
    warmupSteps = 5
    weightDecay = 0
  }
}

extension RolloutSettings: CheckedSettings {
  package func check(_ check: inout ConfigurationCheck) {
    check.timesteps("timesteps", timesteps)
    check.positive("shift", shift)
    check.positive("framesPerBlock", framesPerBlock)
    if let windowFrames {
      check.require(
        windowFrames >= framesPerBlock, "windowFrames", windowFrames, mustBe: "at least 'framesPerBlock', or null")
    }
    check.require(
      gradientFrames >= framesPerBlock, "gradientFrames", gradientFrames, mustBe: "at least 'framesPerBlock'")
  }
}

extension Guidance: CheckedSettings {
  package func check(_ check: inout ConfigurationCheck) {
    check.require(text.isFinite, "text", text, mustBe: "a number")
    check.require(audio.isFinite, "audio", audio, mustBe: "a number")
  }
}

extension HistoryGradient: ConfigurationChoice {}
extension RolloutSettings.CommitPass: ConfigurationChoice {}
extension Guidance.Convention: ConfigurationChoice {}
extension CriticObjective.Mask: ConfigurationChoice {}
