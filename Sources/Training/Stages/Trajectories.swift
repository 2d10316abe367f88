import Basics
import ClipShards
import Foundation
import Generation
import Models
package import Torch

/// The settings of the teacher's ODE trajectories.
package struct TrajectorySettings: CheckedSettings {
  package var timesteps = RolloutSettings.livetalk.timesteps
  package var shift = RolloutSettings.livetalk.shift
  package var guidance = Guidance.paper
  /// Euler steps from noise to the clean end; the student's timesteps are met exactly.
  package var solverSteps = 48
  package var seed = 0
  /// The first latent frames of each clip to solve; 0 for all.
  package var latentFrames = 0

  package init() {}

  package func check(_ check: inout ConfigurationCheck) {
    check.timesteps("timesteps", timesteps, fromNoise: true)
    check.positive("shift", shift)
    check.settings("guidance", guidance)
    check.positive("solverSteps", solverSteps)
    check.notNegative("seed", seed)
    check.notNegative("latentFrames", latentFrames)
  }
}

/// Solves the guided teacher's ODE for every prepared clip and stores the trajectories.
package struct Trajectories: @unchecked Sendable {
  private let settings: TrajectorySettings
  private let source: LatentClips
  private let sampler: TeacherSampler
  private let writer: ShardWriter

  private static let timestepsKey = "timesteps"

  /// - Parameters:
  ///   - data: the folder of clips prepared as latents.
  ///   - teacher: a checkpoint folder.
  ///   - out: the folder to write, or to continue.
  /// - Throws: `LiveTalkError`, `FileError`, `CheckpointMismatch`.
  package init(
    _ settings: TrajectorySettings, data: String, teacher: String, out: String, device: Device,
    precision: RunSettings.Precision
  ) throws {
    var check = ConfigurationCheck()
    settings.check(&check)
    guard check.problems.isEmpty else { throw LiveTalkError("\(check.problems.joined(separator: "; ")).") }
    self.settings = settings
    var run = RunSettings()
    run.precision = precision
    let folder = try CheckpointFolder(URL(fileURLWithPath: teacher))
    let loaded = try LoadedTransformer(folder, run, device: device, isTrained: false)
    source = try LatentClips(
      data, frames: settings.latentFrames, for: loaded.model, device: device, encodedBy: folder)
    sampler = TeacherSampler(
      teacher: loaded.model, guidance: settings.guidance, negativeText: source.negativeText, shift: settings.shift,
      solverSteps: settings.solverSteps)
    let index = source.clips.index
    var origin = index.origin
    origin[Trajectories.timestepsKey] = settings.timesteps.map { "\($0)" }.joined(separator: " ")
    origin["trajectories"] = try settings.jsonText(indented: true)
    // So that two teachers' trajectories are not mixed in one folder.
    origin["teacher"] = try fingerprint(of: try folder.require(.transformer))
    origin["teacher's precision"] = precision.rawValue
    writer = try ShardWriter(
      URL(fileURLWithPath: out),
      ShardDescription(
        kind: .trajectories, fps: index.fps, sampleRate: index.sampleRate, width: index.width, height: index.height,
        origin: origin))
  }

  /// The timesteps of stored states.
  static func timesteps(of index: ShardIndex) throws -> [Double] {
    let numbers = (index.origin[timestepsKey] ?? "").split(separator: " ").compactMap { Double($0) }
    guard !numbers.isEmpty else { throw LiveTalkError("The trajectories do not say which timesteps they have.") }
    return numbers
  }

  package var count: Int { source.count }

  /// Writes what is finished.
  package func save() throws { try writer.flush() }

  /// Solves the clips that are not in the folder yet.
  ///
  /// - Parameters:
  ///   - limit: only the first so many clips; nil for all.
  ///   - batch: clips solved at a time.
  ///   - progress: gets the number of clips done, and of all.
  package func make(first limit: Int? = nil, batch: Int = 1, progress: (Int, Int) -> Void) throws {
    let wanted = min(limit ?? source.count, source.count)
    if writer.index.shared == nil {
      try writer.writeShared(["negativeText": try source.clips.shared("negativeText")])
    }
    var saved = Date()
    let clips = source.clips.index.clips
    let pending = (0..<wanted).filter { !writer.isDone(clips[$0].id) }
    var done = wanted - pending.count
    for start in stride(from: 0, to: pending.count, by: batch) {
      let numbers = Array(pending[start..<min(start + batch, pending.count)])
      let states = try withTorchErrors {
        let shape = try source.latents([numbers[0]]).shape
        let noise = RandomStreams(seed: UInt64(settings.seed)).perSample(.noise, numbers) { $0.normal(shape) }
        return sampler.trajectory(
          noise.to(source.device), try source.conditions(numbers), timesteps: settings.timesteps
        ).to(.cpu)
      }
      for (place, number) in numbers.enumerated() {
        try append(number, states.select(0, place))
        done += 1
        progress(done, wanted)
      }
      if Date().timeIntervalSince(saved) > 60 {
        try writer.flush()
        saved = Date()
      }
    }
    try writer.flush()
  }

  /// Writes a clip with its states, `[S + 1, C, F, H, W]`.
  private func append(_ number: Int, _ states: Tensor) throws {
    let clip = source.clips.index.clips[number]
    var tensors: [String: Tensor] = [:]
    for name in clip.tensors.keys { tensors[name] = try source.clips.tensor(number, name) }
    tensors["latents"] = tensors["latents"]?.narrow(1, 0, source.latentFrames)
    for name in ["audioFeatures", FaceTruth.tensor] {
      let rows = source.geometry.videoFrames(latentFrames: source.latentFrames)
      tensors[name] = tensors[name]?.narrow(0, 0, rows)
    }
    tensors["trajectory"] = states.to(tensors["latents"]?.dtype ?? .float32)
    try writer.append(
      clip.id, ClipMetadata(caption: clip.caption, speaker: clip.speaker, phonemes: clip.phonemes), tensors)
  }
}
