import Basics
import ClipShards
import Foundation
import Generation
import Models
import NN
import Torch

/// The settings of the speech encoder's training: phoneme classification.
package struct AudioConfiguration: StageConfiguration {
  package var run = RunSettings()
  package var optimizer = OptimizerSettings()
  package var average = EMASettings()
  package var phonemes = PhonemeSettings()
  /// Length of a random crop.
  package var seconds = 4.0
  /// Whether the classifier gets a weighted sum of all hidden states, or the last one.
  package var weighsStates = true
  /// Starts from random weights in place of the checkpoint's.
  package var startsRandom = false

  package init() {}

  package static let standard: AudioConfiguration = {
    var settings = AudioConfiguration()
    settings.run.checkpointLayers = false
    return settings
  }()
  package static var presets: KeyValuePairs<String, AudioConfiguration> {
    ["livetalk-1.3b.audio": standard, "mini.audio": mini, "tiny.audio": tiny]
  }

  private static var mini: AudioConfiguration {
    var settings = standard
    settings.run.applyMini(steps: 1200, batch: 16)
    settings.optimizer.applyMuon(rate: 3e-3)
    settings.average = EMASettings(decay: 0.99, startStep: 100)
    settings.seconds = 2
    settings.phonemes.moments = [-0.06, -0.04, -0.02, 0, 0.02, 0.04, 0.06]
    return settings
  }

  private static var tiny: AudioConfiguration {
    var settings = standard
    settings.run.applyTiny(steps: 80)
    settings.run.batch = 4
    settings.optimizer.applyTiny(rate: 2e-3)
    settings.average = EMASettings(decay: 0.9, startStep: 20)
    settings.seconds = 2
    return settings
  }

  package func check(_ check: inout ConfigurationCheck) {
    check.settings("run", run)
    check.settings("optimizer", optimizer)
    check.settings("average", average)
    check.settings("phonemes", phonemes)
    check.positive("seconds", seconds)
  }

  package func stage(_ processes: Processes) throws -> any TrainingStage { try AudioStage(self, processes) }
}

final class AudioStage: TrainingStage {
  var run: RunSettings { context.run }
  let networks: [TrainedNetwork]
  let exported = [CheckpointFolder.Part.audioEncoder, .audioConfiguration]

  private let settings: AudioConfiguration
  private let context: StageContext
  private let model: PhonemeModel
  private let clips: PreparedClips
  /// Clips with phonemes.
  private let labelled: [Int]
  private let objective: PhonemeObjective

  init(_ settings: AudioConfiguration, _ processes: Processes = .alone) throws {
    self.settings = settings
    context = try StageContext(settings.run, processes)
    let clips = try PreparedClips(URL(fileURLWithPath: settings.run.data), expecting: [.media])
    self.clips = clips
    labelled = clips.index.clips.indices.filter { !(clips.index.clips[$0].phonemes ?? []).isEmpty }
    guard !labelled.isEmpty else { throw LiveTalkError("No clip of \(settings.run.data) comes with its phonemes.") }
    let file = try context.base.require(.audioEncoder)
    let weights = settings.startsRandom ? nil : try context.base.weights(.audioEncoder)
    let sizes =
      try weights.map { [base = context.base] in try base.audioConfiguration(of: $0) }
      ?? Wav2Vec2Configuration(contentsOf: try context.base.require(.audioConfiguration))
    model = try PhonemeModel(
      sizes, clips.phonemeSymbols, weights: weights, name: file.path,
      moments: settings.phonemes.moments.count, weighsStates: settings.weighsStates,
      dtype: settings.run.precision.dtype,
      context.streams.generator(.weights, 0, device: context.device))
    objective = PhonemeObjective(settings.phonemes)
    networks = [
      try TrainedNetwork(
        "audioEncoder", model.parameters, settings.optimizer, ema: settings.average, settings.run, processes,
        clips: labelled.count)
    ]
  }

  func loss(of network: TrainedNetwork, on batch: MicroBatch) throws -> BatchLoss {
    let sounds = try zip(batch.clips, batch.samples).map { try crop(labelled[$0], $1) }
    let phonemes = try PhonemeBatch(
      sounds, model.symbols, model.encoder.configuration, framesPerSecond: Double(framesPerSecond),
      moments: settings.phonemes.moments)
    let generator = context.streams.generator(.augmentation, batch.samples[0], device: context.device)
    let result = objective(model, phonemes, generator)
    return BatchLoss(result.loss, [("accuracy", result.accuracy)])
  }

  private func crop(_ clip: Int, _ sample: Int) throws -> LabelledSound {
    let sound = try clips.sound(clip)
    let count = min(sound.samples.count, Int(settings.seconds * LabelledSound.sampleRate))
    let generator = context.streams.generator(.crop, sample)
    func drawn() -> LabelledSound {
      let start = generator.integers(0..<sound.samples.count - count + 1, [1]).intItem
      return sound.cropped(from: start, count: count)
    }
    // A crop may miss the labelled part of a clip.
    return (0..<16).lazy.map { _ in drawn() }.first { !$0.phonemes.isEmpty } ?? drawn()
  }

  func export(_ values: [(name: String, tensor: Tensor)], to folder: URL) throws {
    try model.write(to: folder, values: Dictionary(uniqueKeysWithValues: values.map { ($0.name, $0.tensor) }))
  }
}
