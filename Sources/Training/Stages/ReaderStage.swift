import Basics
import ClipShards
import Foundation
import Generation
import Models
import NN
import Torch

/// The settings of the face reader's training: regression of landmarks and state of synthetic talking heads from single frames.
package struct ReaderConfiguration: StageConfiguration {
  package var run = RunSettings()
  package var optimizer = OptimizerSettings()
  package var average = EMASettings()
  package var augmentation = ReaderAugmentation()
  /// Channels at 1/4, 1/8, 1/16 and 1/32 of the picture's side; multiples of 8, the last of 32.
  package var widths = FaceReaderConfiguration.standard.widths
  /// Values between the last map and what is read.
  package var hidden = FaceReaderConfiguration.standard.hidden
  /// Length of the identity vector.
  package var identityWidth = FaceReaderConfiguration.standard.identityWidth
  /// Weight of the mouth's columns, where others have 1.
  package var mouthWeight = 3.0
  /// Weight of the contrastive identity loss.
  package var identityWeight = 0.2
  /// Starts from random weights even where the checkpoint has a reader.
  package var startsRandom = false

  package init() {}

  package static let standard: ReaderConfiguration = {
    var settings = ReaderConfiguration()
    settings.run.precision = .float32
    settings.run.checkpointLayers = false
    settings.run.steps = 2000
    settings.run.batch = 24
    settings.run.report.sampleEvery = 0
    settings.optimizer.learningRate = 2e-3
    settings.optimizer.warmupSteps = 50
    settings.optimizer.decay = .cosine
    settings.average = EMASettings(decay: 0.99, startStep: 200)
    return settings
  }()
  package static var presets: KeyValuePairs<String, ReaderConfiguration> {
    ["mini.reader": standard, "tiny.reader": tiny]
  }

  private static var tiny: ReaderConfiguration {
    var settings = standard
    settings.run.applyTiny(steps: 60)
    settings.run.batch = 8
    settings.optimizer.applyTiny(rate: 3e-3)
    settings.average = EMASettings(decay: 0.9, startStep: 20)
    settings.widths = [16, 16, 32, 32]
    settings.hidden = 32
    settings.identityWidth = 16
    return settings
  }

  var network: FaceReaderConfiguration {
    FaceReaderConfiguration(widths: widths, hidden: hidden, identityWidth: identityWidth)
  }

  package func check(_ check: inout ConfigurationCheck) {
    check.settings("run", run)
    check.settings("optimizer", optimizer)
    check.settings("average", average)
    check.settings("augmentation", augmentation)
    check.require(network.problem == nil, "widths", widths, mustBe: "four multiples of 8, the last of 32")
    check.positive("hidden", hidden)
    check.positive("identityWidth", identityWidth)
    check.positive("mouthWeight", mouthWeight)
    check.notNegative("identityWeight", identityWeight)
  }

  package func stage(_ processes: Processes) throws -> any TrainingStage { try ReaderStage(self, processes) }
}

final class ReaderStage: TrainingStage {
  var run: RunSettings { context.run }
  let networks: [TrainedNetwork]
  let exported = [CheckpointFolder.Part.faceReader]

  private let settings: ReaderConfiguration
  private let context: StageContext
  private let reader: FaceReader
  private let clips: PreparedClips
  /// Clips with `FaceTruth`.
  private let known: [Int]
  private let objective: ReaderObjective

  init(_ settings: ReaderConfiguration, _ processes: Processes = .alone) throws {
    self.settings = settings
    context = try StageContext(settings.run, processes)
    let clips = try PreparedClips(URL(fileURLWithPath: settings.run.data), expecting: [.media])
    self.clips = clips
    known = clips.index.clips.indices.filter { clips.index.clips[$0].tensors[FaceTruth.tensor] != nil }
    guard !known.isEmpty else {
      throw LiveTalkError(
        "No clip of \(settings.run.data) comes with the truth of its faces, which 'data synthesize' draws.")
    }
    let dtype = settings.run.precision.dtype
    let store: ParameterStore
    if !settings.startsRandom, let file = context.base.file(.faceReader) {
      let weights = try context.base.weights(.faceReader)
      let network = try FaceReaderConfiguration(readingFrom: weights)
      guard network == settings.network else {
        throw LiveTalkError(
          "\(file.path) has other sizes (\(network.widths), \(network.hidden), \(network.identityWidth)) than the settings; "
            + "set 'startsRandom' for a new one.")
      }
      store = ParameterStore(weights: weights, name: file.path, device: context.device, dtype: dtype)
    } else {
      store = ParameterStore(random: context.streams.generator(.weights, 0, device: context.device), dtype: dtype)
    }
    reader = FaceReader(settings.network, store.root)
    try store.finish()
    store.requireGradients()
    objective = ReaderObjective(mouthWeight: settings.mouthWeight, identityWeight: settings.identityWeight)
    networks = [
      try TrainedNetwork(
        "faceReader", store.trained, settings.optimizer, ema: settings.average, settings.run, processes,
        clips: known.count)
    ]
  }

  func loss(of network: TrainedNetwork, on batch: MicroBatch) throws -> BatchLoss {
    let result = objective(reader, try pictures(batch))
    return BatchLoss(
      result.loss,
      [
        ("columns", result.columns), ("identity", result.identity), ("identityAccuracy", result.accuracy),
        ("mouthError", result.mouthError),
      ])
  }

  /// Two frames of each clip.
  private func pictures(_ batch: MicroBatch) throws -> ReaderBatch {
    var (pictures, columns): ([Tensor], [Tensor]) = ([], [])
    for (clip, sample) in zip(batch.clips.map({ known[$0] }), batch.samples) {
      let video = try clips.tensor(clip, "video")  // [3, T, H, W]
      let truth = try clips.tensor(clip, FaceTruth.tensor)  // [T, columns]
      let generator = context.streams.generator(.crop, sample)
      for frame in generator.integers(0..<min(video.size(1), truth.size(0)), [2]).array(Int.self) {
        let picture = video.narrow(1, frame, 1).permute(1, 0, 2, 3).to(.float32) / 127.5 - 1
        let units = FaceReader.units(truth.narrow(0, frame, 1), width: video.size(3), height: video.size(2))
        let (seen, read) = settings.augmentation(FaceReader.pictures(picture), units, generator)
        pictures.append(seen)
        columns.append(read)
      }
    }
    let dtype = run.precision.dtype
    return ReaderBatch(
      pictures: Tensor.cat(pictures, 0).to(context.device, dtype),
      columns: Tensor.cat(columns, 0).to(context.device),
      speakers: batch.clips.map { clips.index.clips[known[$0]].speaker })
  }

  func export(_ values: [(name: String, tensor: Tensor)], to folder: URL) throws {
    let file = ModelFamily.liveTalk.place(of: .faceReader, in: folder)
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    // fp16 is enough for a model that only measures.
    let tensors = values.map { ($0.name, $0.tensor.detach().to(.float16)) }
    try writeSafetensors(Dictionary(uniqueKeysWithValues: tensors), metadata: ["format": "pt"], to: file)
  }
}
