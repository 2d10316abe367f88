import Basics
import ClipShards
import Foundation
import Models
import NN
import Torch

@testable import Generation
@testable import Training

/// A Live Avatar checkpoint and prepared clips on disk, so small that a run takes seconds.
struct TinyLiveAvatarTraining {
  static let lora = LoRAConfiguration(rank: 4, alpha: 2, targets: ["q", "k", "v", "o", "ffn.0", "ffn.2"])
  static let latentFrames = 6
  static let preset = LiveAvatarPreset.liveAvatarTiny
  let folder: TemporaryFolder

  /// `base` has no adapter, `avatar` has one of rank 4 over the same base.
  init() throws {
    folder = try TemporaryFolder()
    try RandomCheckpoint(Self.preset, dtype: .float32).write(to: folder["avatar"])
    try CheckpointCompletion.link(folder["avatar"], to: folder["base"], without: [.adapter])
    try FileManager.default.copyItem(at: folder["avatar/livetalk.json"], to: folder["base/livetalk.json"])
  }

  static func conditions(_ clip: Int, frames: Int = latentFrames) -> [String: Tensor] {
    let generator = RandomGenerator(seed: UInt64(clip + 50))
    // One colour a channel: what a few steps can learn.
    let colours = generator.normal([16, 1, 1, 1]).expand(16, frames, 8, 8).contiguous()
    return [
      "latents": colours, "referenceLatent": generator.normal([16, 20, 8, 8]),
      "audioFeatures": generator.normal([4 * frames - 3, preset.transformer.audioInputDim]),
      "text": generator.normal([3 + clip, preset.transformer.textDim]),
    ]
  }

  func latents(clips: Int = 2, fps: Int = 25) throws -> URL {
    let place = folder["latents-\(clips)-\(fps)"]
    if FileManager.default.fileExists(atPath: place.path) { return place }
    let writer = try ShardWriter(place, ShardDescription(kind: .latents, fps: fps, width: 64, height: 64))
    try writer.writeShared(["negativeText": RandomGenerator(seed: 40).normal([4, Self.preset.transformer.textDim])])
    for clip in 0..<clips { try writer.append("\(clip)", ClipMetadata(caption: "A person."), Self.conditions(clip)) }
    try writer.flush()
    return place
  }

  func run(_ out: String, steps: Int, from base: String = "base", clips: Int = 2) throws -> RunSettings {
    var run = RunSettings()
    run.applyTiny(steps: steps)
    (run.data, run.checkpoint, run.out) = (try latents(clips: clips).path, folder[base].path, folder[out].path)
    return run
  }

  func forcing(_ out: String, steps: Int = 4, from base: String = "base", clips: Int = 2) throws -> TeacherConfiguration
  {
    var settings = TeacherConfiguration()
    settings.run = try run(out, steps: steps, from: base, clips: clips)
    settings.optimizer.applyTiny(rate: 5e-3)
    settings.average = EMASettings(decay: 0)
    (settings.shift, settings.lowRank, settings.forcing) = (3, Self.lora, ForcingSettings())
    (settings.sampleSteps, settings.sampleGuidance) = (2, .none)
    return settings
  }

  func dmd(_ out: String, steps: Int = 2, from base: String = "base", teacher: String = "base") throws
    -> DMDConfiguration
  {
    var settings = DMDConfiguration()
    settings.run = try run(out, steps: steps, from: base)
    settings.teacher = folder[teacher].path
    (settings.optimizer, settings.criticOptimizer) = (OptimizerSettings(), OptimizerSettings())
    settings.optimizer.applyTiny(rate: 1e-3)
    settings.criticOptimizer.applyTiny(rate: 1e-3)
    settings.average = EMASettings(decay: 0)
    settings.studentEvery = 1
    settings.teacherGuidance = .none
    settings.rollout = Self.rollout
    (settings.lowRank, settings.blockwise) = (Self.lora, true)
    return settings
  }

  /// The steps that serve, without a window.
  static var rollout: RolloutSettings {
    var settings = RolloutSettings.liveAvatar
    settings.windowFrames = nil
    return settings
  }

  @discardableResult
  func train<C: StageConfiguration>(_ settings: C, resumes: Bool = false, stoppingAfter limit: Int? = nil) throws
    -> [[String: Double]]
  {
    var (hooks, steps) = (TrainerHooks(), 0)
    hooks.shouldStop = {
      steps += 1
      return steps == limit
    }
    _ = try Trainer(try settings.stage(.alone), settings: try settings.jsonText(indented: true), hooks: hooks).train(
      resumes: resumes)
    let file = URL(fileURLWithPath: settings.run.out).appendingPathComponent("metrics.jsonl")
    return try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map { line in
      let fields = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
      return fields.compactMapValues { $0 as? Double }.filter { !["time", "secondsPerStep"].contains($0.key) }
    }
  }
}
