import Foundation
import Generation
import Models
import NN
package import Torch

/// The settings that all stages share.
package struct RunSettings: CheckedSettings {
  package enum Precision: String, ConfigurationChoice {
    case float32, bfloat16

    package var dtype: DType { self == .float32 ? .float32 : .bfloat16 }
  }

  /// The folder of prepared clips.
  package var data = ""
  /// The first latent frames of each clip that transformers are trained on; 0 for all.
  package var latentFrames = 0
  /// The checkpoint folder to start from; `final` gets its other parts.
  package var checkpoint = ""
  /// The run's folder: checkpoints, metrics, samples, and in the end the checkpoint folder `final`.
  package var out = ""
  package var steps = 1000
  /// Clips of a micro-batch on each rank.
  package var batch = 1
  /// Micro-batches per step (gradient accumulation): the batch size is batch · accumulation · ranks.
  package var accumulation = 1
  /// The random seed. With it a sample's random numbers are the same on any number of ranks; for the autoencoder and the speech
  /// encoder only with the same 'batch'.
  package var seed = 0
  /// auto, cpu, cuda, cuda:N or mps.
  package var device = "auto"
  /// Of weights and activations; master weights, moments and EMA are fp32.
  package var precision = Precision.bfloat16
  /// Activation checkpointing of the transformers' layers.
  package var checkpointLayers = true
  /// Whether each rank keeps a part of the frozen weights only, and gathers a layer's when it computes it (FSDP); with LoRA and activation
  /// checkpointing.
  package var shardWeights = false
  package var report = ReportSettings()
  /// When a sample video counts as broken.
  package var videoGuard = VideoGuardSettings()
  /// Whether a broken sample video stops the run or is only reported.
  package var stopsOnBadVideo = true

  package init() {}

  /// What the `tiny.*` presets share: fp32 on the CPU, few steps, everything logged.
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
      check.folder(key, value)
    }
    check.require(
      Device.isName(device), "device", "'\(device)'", mustBe: "auto, cpu, cuda, cuda:N or mps")
    // The limits keep the numbers of samples countable.
    check.inside(1...1_000_000_000, "steps", steps)
    check.inside(1...1_000_000, "batch", batch)
    check.notNegative("latentFrames", latentFrames)
    check.inside(1...1_000_000, "accumulation", accumulation)
    check.notNegative("seed", seed)
    check.require(
      checkpointLayers || !shardWeights, "checkpointLayers", checkpointLayers, mustBe: "true where 'shardWeights' is")
    check.settings("report", report)
    check.settings("videoGuard", videoGuard)
  }
}

extension RunSettings {
  /// What the `mini.*` presets share: fp32 on the CPU.
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
