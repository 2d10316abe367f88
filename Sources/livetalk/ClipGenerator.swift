import Basics
import ComputeCommands
import Foundation
import Generation
import Media
import Models
import Torch
import Training

/// Generates clip after clip with one checkpoint, by the path that serves or, for a teacher, by its solver.
final class ClipGenerator {
  /// How a bidirectional teacher is solved: the whole clip at once.
  struct Teacher {
    var steps: Int
    var guidance: Guidance
    var shift = 5.0
  }

  private let models: any SessionModels
  private let prompts: PromptEncoder
  private let teacher: Teacher?
  /// Whether sound is encoded as it would be heard live.
  private let isLive: Bool
  /// Seconds and frames of generation so far.
  private(set) var seconds = 0.0
  private(set) var frames = 0

  var settings: CheckpointSettings { models.settings }
  var framesPerSecond: Double? { frames > 0 ? Double(frames) / max(seconds, 1e-6) : nil }

  /// - Throws: `FileError`, `CheckpointMismatch` with all keys that are wrong, or `TorchError`.
  init(loading folder: CheckpointFolder, device: Device, dtype: DType, teacher: Teacher? = nil, isLive: Bool = false)
    throws
  {
    try folder.verifyWeights()
    prompts = try PromptEncoder(loading: folder, device: device, dtype: PromptEncoder.type(for: dtype))
    models = try folder.loadModels(device: device, dtype: dtype)
    self.teacher = teacher
    self.isLive = isLive
  }

  /// - Parameters:
  ///   - options: of the student; a teacher takes their seed alone.
  ///   - deliver: takes each frame in order, packed RGB8.
  func generate(
    _ clip: Clip, _ picture: Picture, size: ReferencePicture.Size, prompt: String, _ options: SessionOptions,
    deliver: ([UInt8]) throws -> Void
  ) throws {
    try models.check(size)
    let start = Date()
    try withInferenceMode {
      let text = try prompts.encode(prompt).context
      let image = ReferencePicture.prepared(picture, size).to(models.device)
      if let teacher {
        guard let models = models as? AvatarModels else {
          throw LiveTalkError("A teacher is a model of LiveTalk's family; leave the teacher's options out.")
        }
        let reference = models.vae.encode(image: image)
        let features = try models.audioEncoder.encode(clip.paddedSamples, frameCount: clip.generatedFrames)
        try solve(teacher, models, clip, text, features, reference, seed: options.seed, deliver)
      } else {
        let session = try models.session(image: image, textEmbedding: text, options: options, tap: nil)
        try session.generate(
          clip, audioFeatures: models.audioFeatures(of: clip, isLive: isLive), deliver: deliver)
      }
    }
    seconds += Date().timeIntervalSince(start)
    frames += clip.videoFrames
  }

  private func solve(
    _ teacher: Teacher, _ models: AvatarModels, _ clip: Clip, _ text: Tensor, _ features: Tensor, _ reference: Tensor,
    seed: UInt64,
    _ deliver: ([UInt8]) throws -> Void
  ) throws {
    let shape = [1, reference.size(1), clip.latentFrames, reference.size(3), reference.size(4)]
    let noise = RandomGenerator(seed: seed).normal(shape).to(models.device)
    let sampler = TeacherSampler(
      teacher: models.transformer, guidance: teacher.guidance, negativeText: try prompts.encode("").context,
      shift: teacher.shift, solverSteps: teacher.steps)
    let conditions = Conditions(text: text, audioFeatures: features, referenceLatent: reference)
    let latents = sampler.trajectory(noise, conditions, timesteps: [1000]).select(1, 1)
    let pixels = WanVAE.pixels(models.vae.decode(latents.to(models.dtype)))  // [T, H, W, 3]
    let bytes = pixels.bytes()
    let frame = bytes.count / pixels.size(0)
    for index in 0..<min(pixels.size(0), clip.videoFrames) {
      try deliver(Array(bytes[index * frame..<(index + 1) * frame]))
    }
  }
}
