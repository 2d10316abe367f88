import Basics
import ClipShards
import Foundation
import Generation
import Models
import NN
import Torch

/// The settings of the autoencoder's training.
package struct VAEConfiguration: StageConfiguration {
  package var run = RunSettings()
  package var optimizer = OptimizerSettings()
  package var average = EMASettings()
  package var loss = VAELossSettings()
  /// Video frames of a random crop, 4n + 1.
  package var frames = 9
  /// Its height and width; 0 for the whole picture.
  package var cropSize = 0
  package enum Start: String, ConfigurationChoice {
    case checkpoint
    /// Random weights.
    case random
    /// The checkpoint's decoder, and an encoder initialised by PCA.
    case principal
    /// The checkpoint's weights, its decoder's upsampling rewritten as sub-pixel convolutions that give the same.
    case subPixel
  }
  package var start = Start.checkpoint
  /// Clips for PCA.
  package var principalClips = 100
  /// Whether the encoder is trained too; with a frozen encoder, trained transformers stay valid.
  package var trainsEncoder = true

  package init() {}

  package static let standard: VAEConfiguration = {
    var settings = VAEConfiguration()
    settings.cropSize = 256
    return settings
  }()
  package static var presets: KeyValuePairs<String, VAEConfiguration> {
    ["livetalk-1.3b.vae": standard, "mini.vae": mini, "tiny.vae": tiny]
  }

  private static var mini: VAEConfiguration {
    var settings = VAEConfiguration()
    settings.run.applyMini(steps: 1000, batch: 8)
    settings.optimizer.applyMuon(rate: 4e-3)
    settings.average = EMASettings(decay: 0.99, startStep: 100)
    settings.loss.divergence = 1e-5
    settings.loss.noise = 0.3
    settings.loss.regions = FaceRegionSettings(mouth: 8, eyes: 4)
    settings.frames = 5
    settings.cropSize = 128
    return settings
  }

  private static var tiny: VAEConfiguration {
    var settings = VAEConfiguration()
    settings.run.applyTiny(steps: 500)
    // Much faster with hardware support, much slower without.
    settings.run.precision = Torch.cpuHasBFloat16 ? .bfloat16 : .float32
    settings.optimizer.applyTiny(rate: 3e-3)
    settings.optimizer.decay = .cosine
    settings.loss.divergence = 1e-4
    settings.loss.noise = 0.1
    settings.average = EMASettings(decay: 0.98, startStep: 100)
    settings.frames = 13
    settings.cropSize = 64
    return settings
  }

  package func check(_ check: inout ConfigurationCheck) {
    check.settings("run", run)
    check.settings("optimizer", optimizer)
    check.settings("average", average)
    check.settings("loss", loss)
    check.require(frames > 0 && frames % 4 == 1, "frames", frames, mustBe: "4n + 1, such as 9 or 81")
    check.require(cropSize >= 0 && cropSize % 8 == 0, "cropSize", cropSize, mustBe: "a multiple of 8, or 0")
    check.positive("principalClips", principalClips)
    check.require(
      trainsEncoder || start != .random, "trainsEncoder", trainsEncoder, mustBe: "true where 'start' is random")
  }

  package func stage(_ processes: Processes) throws -> any TrainingStage { try VAEStage(self, processes) }
}

final class VAEStage: TrainingStage {
  var run: RunSettings { context.run }
  let networks: [TrainedNetwork]
  let exported = [CheckpointFolder.Part.vae]

  private let settings: VAEConfiguration
  private let context: StageContext
  private let vae: WanVAE
  private let clips: PreparedClips
  private let objective: VAEObjective
  private let frozen: [(name: String, tensor: Tensor)]

  init(_ settings: VAEConfiguration, _ processes: Processes = .alone) throws {
    self.settings = settings
    context = try StageContext(settings.run, processes)
    clips = try PreparedClips(URL(fileURLWithPath: settings.run.data), expecting: [.media])
    try VAEStage.check(clips, settings)
    let file = try context.base.require(.vae)
    var weights = try context.base.weights(.vae)
    if settings.start == .subPixel { weights = WanVAEConfiguration.subPixel(weights) }
    let configuration = try WanVAEConfiguration(
      readingFrom: weights, statistics: context.base.settings.latentStatistics)
    try VAEStage.check(clips, settings, configuration)
    if settings.start == .principal {
      weights = try VAEStage.principal(weights, configuration, clips, settings)
    }
    let dtype = settings.run.precision.dtype
    let store =
      settings.start == .random
      ? ParameterStore(random: context.streams.generator(.weights, 0, device: context.device), dtype: dtype)
      : ParameterStore(weights: weights, name: file.path, device: context.device, dtype: dtype)
    vae = WanVAE(configuration, store.root)
    try store.finish()
    let isTrained = { (name: String) in
      settings.trainsEncoder || name.hasPrefix("decoder.") || name.hasPrefix("conv2.")
    }
    let trained = store.trained.filter { isTrained($0.name) }
    frozen = store.trained.filter { !isTrained($0.name) }
    objective = VAEObjective(settings.loss)
    networks = [
      try TrainedNetwork(
        "vae", trained, settings.optimizer, ema: settings.average, settings.run, processes, clips: clips.count)
    ]
  }

  private static func principal(
    _ weights: [String: Tensor], _ configuration: WanVAEConfiguration, _ clips: PreparedClips,
    _ settings: VAEConfiguration
  ) throws -> [String: Tensor] {
    let examples = try (0..<min(settings.principalClips, clips.count)).map { clip in
      let video = try clips.video(clip)
      let frames = min(video.size(2), 13)
      let weights = try VAEStage.weights(clips, clip, 0..<frames, settings.loss.regions)
      return (video: video.narrow(2, 0, frames), weights: weights)
    }
    return try PrincipalEncoder.weights(weights, configuration, clips: examples)
  }

  private static func check(_ clips: PreparedClips, _ settings: VAEConfiguration) throws {
    guard clips.count > 0 else { throw LiveTalkError("There are no clips in \(settings.run.data).") }
    for clip in clips.index.clips {
      let shape = clip.tensors["video"]?.shape ?? [0, 0, 0, 0]
      guard shape[1] >= settings.frames, min(shape[2], shape[3]) >= settings.cropSize else {
        throw LiveTalkError(
          "The clip '\(clip.id)' is \(shape[1]) frames of \(shape[2])×\(shape[3]); training takes \(settings.frames) of "
            + "at least \(settings.cropSize).")
      }
    }
  }

  /// Sizes must be multiples of the autoencoder's stride.
  private static func check(
    _ clips: PreparedClips, _ settings: VAEConfiguration, _ configuration: WanVAEConfiguration
  ) throws {
    let stride = configuration.spatialStride
    guard settings.cropSize % stride == 0 else {
      throw LiveTalkError("'cropSize' is a multiple of \(stride) with this autoencoder, not \(settings.cropSize).")
    }
    guard settings.cropSize == 0 else { return }
    for clip in clips.index.clips {
      let sides = (clip.tensors["video"]?.shape ?? []).dropFirst(2)
      guard sides.allSatisfy({ $0 % stride == 0 }) else {
        throw LiveTalkError(
          "The clip '\(clip.id)' is not in multiples of \(stride) pixels; 'cropSize' cuts out what is.")
      }
    }
  }

  func loss(of network: TrainedNetwork, on batch: MicroBatch) throws -> BatchLoss {
    let crops = try zip(batch.clips, batch.samples).map { try crop($0, $1) }
    let video = Tensor.cat(crops.map(\.video), 0)
    let weights = settings.loss.regions.isEven ? nil : Tensor.cat(crops.map(\.weights), 0)
    let noise = context.streams.generator(.noise, batch.samples[0], device: context.device)
    let result = objective(vae, video: video, weights: weights, noise)
    return BatchLoss(result.loss, result.parts)
  }

  /// A random crop, `[1, 3, frames, crop, crop]` in [-1, 1], and its loss weights, `[1, 1, frames, crop, crop]`.
  private func crop(_ clip: Int, _ sample: Int) throws -> (video: Tensor, weights: Tensor) {
    let bytes = try clips.tensor(clip, "video").unsqueeze(0)  // [1, 3, T, H, W]
    let size = settings.cropSize
    let generator = context.streams.generator(.crop, sample)
    func start(_ length: Int, _ part: Int) -> Int { generator.integers(0..<length - part + 1, [1]).intItem }
    let first = start(bytes.size(2), settings.frames)
    var part = bytes.narrow(2, first, settings.frames)
    var weights = try VAEStage.weights(clips, clip, first..<first + settings.frames, settings.loss.regions)
    if size > 0 {
      for (dim, length) in [(3, bytes.size(3)), (4, bytes.size(4))] {
        let edge = start(length, size)
        (part, weights) = (part.narrow(dim, edge, size), weights.narrow(dim, edge, size))
      }
    }
    return ((part.to(.float32) / 127.5 - 1).to(context.device), weights)
  }

  /// The loss weights of pixels, `[1, 1, T, H, W]`; uniform without `FaceTruth`.
  private static func weights(
    _ clips: PreparedClips, _ clip: Int, _ frames: Range<Int>, _ regions: FaceRegionSettings
  ) throws -> Tensor {
    let (height, width) = (clips.index.height, clips.index.width)
    guard !regions.isEven, clips.index.clips[clip].tensors[FaceTruth.tensor] != nil else {
      return Tensor.ones([1, 1, frames.count, height, width])
    }
    let faces = try clips.tensor(clip, FaceTruth.tensor).narrow(0, frames.lowerBound, frames.count)
    return FaceRegions(faces).weights(height: height, width: width, regions)
  }

  /// The first clip beside its reconstruction.
  func sample() throws -> Tensor? {
    let video = try clips.video(0).to(context.device)
    let decoded = vae.decode(vae.encode(video: video)).to(.float32)
    return Tensor.cat([video.narrow(2, 0, decoded.size(2)), decoded], 4).select(0, 0)
  }

  func export(_ values: [(name: String, tensor: Tensor)], to folder: URL) throws {
    let values = values + frozen
    let isOld = !settings.trainsEncoder && [.checkpoint, .subPixel].contains(settings.start)
    if isOld { return try writeVAE(values, statistics: nil, to: folder) }
    // The latents of a new encoder have statistics of their own.
    let trained = try WanVAE(
      weights: Dictionary(uniqueKeysWithValues: values.map { ($0.name, $0.tensor) }), name: "the trained weights",
      device: context.device)
    let videos = clips.index.clips.indices.prefix(256).lazy.compactMap { try? self.clips.video($0) }
    try writeVAE(values, statistics: try LatentStatistics(of: trained, over: videos), to: folder)
  }
}
