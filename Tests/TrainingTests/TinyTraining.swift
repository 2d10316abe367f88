import Basics
import ClipShards
import Foundation
import Models
import NN
import Testing
import Torch

@testable import Generation
@testable import Training

/// A checkpoint and prepared clips on disk, so small that a run takes a second.
struct TinyTraining {
  static let preset = ModelPreset(
    name: "smallest",
    transformer: WanTransformerConfiguration(
      trunk: WanTrunkConfiguration(
        dim: 24, inDim: 33, ffnDim: 48, textDim: 8, freqDim: 16, numHeads: 1, numLayers: 4),
      audioInputDim: audio.featureWidth, audioHiddenSize: 8),
    vae: WanVAEConfiguration(
      width: 4, latentChannels: 16, widthMultipliers: [1, 2, 2, 2], residualBlocks: 1,
      temporalDownsampling: [false, true, true]),
    textEncoder: UMT5Configuration(
      vocabulary: 1024, width: 8, attentionWidth: 8, feedForwardWidth: 16, heads: 2, layers: 1),
    audioEncoder: audio, size: ReferencePicture.Size(height: 64, width: 64))
  private static let audio = Wav2Vec2Configuration(
    width: 8, layers: 1, heads: 2, feedForwardWidth: 16, convolutionWidths: Array(repeating: 4, count: 7),
    positionKernel: 4, positionGroups: 2)

  /// Kinds of runs.
  enum Kind: String, CaseIterable {
    case teacher, teacherInHalf, teacherLoRA, ode, dmd, dmdBlockwise, dmdLoRA, dmdLiteral, dmdInHalf
    case vae, vaeInHalf, vaeDecoder, audio, audioInHalf, reader
  }

  /// The part of a checkpoint that a kind of run trains.
  static func trainedFile(_ kind: Kind) -> CheckpointFolder.Part {
    switch kind {
    case .vae, .vaeInHalf, .vaeDecoder: .vae
    case .audio, .audioInHalf: .audioEncoder
    case .reader: .faceReader
    default: .transformer
    }
  }

  static let latentFrames = 6
  let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
    try RandomCheckpoint(Self.preset).write(to: folder["base"])
    try RandomCheckpoint(Self.preset, seed: 1).write(to: folder["teacher"])
  }

  // MARK: Clips

  private func latentTensors(_ clip: Int) -> [String: Tensor] {
    let generator = RandomGenerator(seed: UInt64(clip + 50))
    return [
      "latents": generator.normal([16, Self.latentFrames, 4, 6]), "referenceLatent": generator.normal([16, 1, 4, 6]),
      "audioFeatures": generator.normal([4 * Self.latentFrames - 3, Self.preset.transformer.audioInputDim]),
      "text": generator.normal([3 + clip, 8]),
    ]
  }

  /// A folder of clips prepared as latents, of 32 × 48 pixels.
  func latents(clips: Int = 3) throws -> URL {
    let place = folder["latents"]
    if FileManager.default.fileExists(atPath: place.path) { return place }
    let writer = try ShardWriter(place, ShardDescription(kind: .latents, width: 48, height: 32))
    try writer.writeShared(["negativeText": RandomGenerator(seed: 40).normal([4, 8])])
    for clip in 0..<clips { try writer.append("clip-\(clip)", ClipMetadata(caption: "A person."), latentTensors(clip)) }
    try writer.flush()
    return place
  }

  /// The teacher's trajectories of these clips.
  func trajectories() throws -> URL {
    let place = folder["trajectories"]
    if FileManager.default.fileExists(atPath: place.path) { return place }
    var settings = TrajectorySettings()
    (settings.solverSteps, settings.guidance) = (4, Guidance(text: 1, audio: 2))
    try Trajectories(
      settings, data: try latents().path, teacher: folder["teacher"].path, out: place.path, device: .cpu,
      precision: .float32
    ).make { _, _ in }
    return place
  }

  /// A folder of clips prepared as media: noise with phonemes.
  func media() throws -> URL {
    let place = folder["media"]
    if FileManager.default.fileExists(atPath: place.path) { return place }
    let writer = try ShardWriter(place, ShardDescription(kind: .media, width: 32, height: 32))
    for clip in 0..<3 {
      let generator = RandomGenerator(seed: UInt64(clip + 70))
      let phonemes = (0..<5).map {
        ShardPhoneme(symbol: ["_", "a", "m"][($0 + clip) % 3], start: Double($0) * 0.2, end: Double($0 + 1) * 0.2)
      }
      try writer.append(
        "clip-\(clip)", ClipMetadata(caption: "", speaker: "speaker-\(clip)", phonemes: phonemes),
        [
          "video": generator.integers(0..<256, [3, 9, 32, 32]).to(.uint8),
          "sound": generator.normal([16_000]) * 0.1,
          "face": generator.uniform([9, FaceColumn.count]) * 32,
        ])
    }
    try writer.flush()
    return place
  }

  // MARK: Runs

  /// The settings of a run that takes a step in a moment.
  private func run(_ out: String, _ data: URL, steps: Int = 4, _ edit: (inout RunSettings) -> Void) -> RunSettings {
    var run = RunSettings()
    run.applyTiny(steps: steps)
    (run.data, run.checkpoint, run.out) = (data.path, folder["base"].path, folder[out].path)
    run.batch = 2
    run.accumulation = 2
    edit(&run)
    return run
  }

  private var optimizer: OptimizerSettings {
    var settings = OptimizerSettings()
    settings.applyTiny(rate: 1e-3)
    settings.weightDecay = 0.01
    settings.decay = .cosine
    return settings
  }

  private static let lora = LoRAConfiguration(
    rank: 2, alpha: 4, targets: ["q", "v", "ffn.0"], whole: ["patch_embedding", "audio_proj"])

  /// A stage and its settings as text.
  func stage(
    _ kind: Kind, _ out: String, edit: (inout RunSettings) -> Void = { _ in }
  ) throws -> (stage: any TrainingStage, settings: String) {
    switch kind {
    case .teacher, .teacherInHalf, .teacherLoRA:
      var settings = TeacherConfiguration()
      settings.run = run(out, try latents(), edit)
      settings.optimizer = optimizer
      settings.average = EMASettings(decay: 0.5, startStep: 3)
      (settings.sampleSteps, settings.textDropout, settings.audioDropout) = (2, 0.4, 0.4)
      settings.sampleGuidance = Guidance(text: 1, audio: 2)
      if kind == .teacherInHalf { settings.run.precision = .bfloat16 }
      if kind == .teacherLoRA { settings.lowRank = Self.lora }
      return (try TeacherStage(settings), try settings.jsonText(indented: true))
    case .ode:
      var settings = ODEConfiguration()
      settings.run = run(out, try trajectories(), edit)
      settings.optimizer = optimizer
      settings.average = EMASettings(decay: 0.5, startStep: 1)
      return (try ODEStage(settings), try settings.jsonText(indented: true))
    case .dmd, .dmdBlockwise, .dmdLoRA, .dmdLiteral, .dmdInHalf:
      var settings = DMDConfiguration()
      settings.run = run(out, try latents(), edit)
      settings.run.checkpointLayers = kind != .dmd && kind != .dmdLiteral
      settings.teacher = folder["teacher"].path
      (settings.optimizer, settings.criticOptimizer) = (optimizer, optimizer)
      settings.average = EMASettings(decay: 0.5, startStep: 1)
      (settings.studentEvery, settings.blockwise) = (2, kind == .dmdBlockwise || kind == .dmdInHalf)
      settings.teacherGuidance = Guidance(text: 1, audio: 2)
      settings.rollout.sameStepInAllBlocks = kind != .dmdBlockwise
      if kind == .dmdLoRA || kind == .dmdInHalf { settings.lowRank = Self.lora }
      if kind == .dmdLiteral {
        settings.rollout.historyGradient = .literal
        settings.criticMask = .channel
        settings.conversionShift = 8
        settings.teacherGuidance = Guidance(text: 5, audio: 5, convention: .literal)
        settings.criticGuidance = Guidance(text: 0, audio: 0, convention: .literal)
      }
      if kind == .dmdInHalf {
        settings.run.precision = .bfloat16
        settings.rollout.commit = .lastStep
      }
      return (try DMDStage(settings), try settings.jsonText(indented: true))
    case .vae, .vaeInHalf, .vaeDecoder:
      var settings = VAEConfiguration()
      settings.run = run(out, try media(), edit)
      settings.optimizer = optimizer
      settings.average = EMASettings(decay: 0.5, startStep: 3)
      (settings.frames, settings.cropSize) = (5, 16)
      if kind == .vaeInHalf { settings.run.precision = .bfloat16 }
      if kind == .vaeDecoder {
        settings.trainsEncoder = false
        settings.optimizer.algorithm = .muon
      }
      return (try VAEStage(settings), try settings.jsonText(indented: true))
    case .audio, .audioInHalf:
      var settings = AudioConfiguration.standard
      settings.run = run(out, try media(), edit)
      settings.optimizer = optimizer
      settings.average = EMASettings(decay: 0.5, startStep: 3)
      settings.seconds = 0.5
      if kind == .audioInHalf { settings.run.precision = .bfloat16 }
      return (try AudioStage(settings), try settings.jsonText(indented: true))
    case .reader:
      var settings = ReaderConfiguration.standard
      settings.run = run(out, try media(), edit)
      settings.optimizer = optimizer
      settings.average = EMASettings(decay: 0.5, startStep: 3)
      (settings.widths, settings.hidden, settings.identityWidth) = ([8, 8, 8, 32], 8, 8)
      return (try ReaderStage(settings), try settings.jsonText(indented: true))
    }
  }

  /// What a run left.
  struct Outcome {
    let ending: Trainer.Ending
    let notes: [String]
    /// The numbers of each step, without the times.
    let metrics: [[String: Double]]
  }

  /// Trains in the folder of that name, to the end or until so many steps are done in this call.
  @discardableResult
  func train(
    _ kind: Kind, _ out: String, resumes: Bool = false, stoppingAfter limit: Int? = nil,
    edit: (inout RunSettings) -> Void = { _ in }
  ) throws -> Outcome {
    let (stage, settings) = try stage(kind, out, edit: edit)
    var notes: [String] = []
    var steps = 0
    var hooks = TrainerHooks()
    hooks.note = { notes.append($0) }
    hooks.shouldStop = {
      steps += 1
      return steps == limit
    }
    let ending = try Trainer(stage, settings: settings, hooks: hooks).train(resumes: resumes)
    return Outcome(ending: ending, notes: notes, metrics: try metrics(out))
  }

  func metrics(_ out: String) throws -> [[String: Double]] {
    let lines = try String(contentsOf: folder["\(out)/metrics.jsonl"], encoding: .utf8).split(separator: "\n")
    return try lines.map { line in
      let fields = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
      return fields.compactMapValues { $0 as? Double }.filter { !["time", "secondsPerStep"].contains($0.key) }
    }
  }

  /// Names and contents of the tensor files in a folder.
  func weights(_ place: String) throws -> [String: Data] {
    let root = folder[place]
    let names = try FileManager.default.subpathsOfDirectory(atPath: root.path)
    return try Dictionary(
      uniqueKeysWithValues: names.filter { $0.hasSuffix(".safetensors") || $0.hasSuffix(".pth") }.map {
        ($0, try Data(contentsOf: root.appendingPathComponent($0)))
      })
  }
}
