import Basics
import ClipShards
import Foundation
import Generation
import Models
import Torch

/// Clips prepared as latents: the training data of transformers.
struct LatentClips {
  let clips: PreparedClips
  let device: Device
  /// The negative prompt, `[1, L, textDim]`.
  let negativeText: Tensor
  let latentFrames: Int
  let geometry: LatentGeometry
  /// The latents' mean and deviation before normalisation; nil for those of the published autoencoder.
  private let statistics: LatentStatistics?

  /// Text tokens that the transformer is given, padding included.
  private let textRows: Int

  /// - Parameters:
  ///   - frames: the first latent frames of each clip to use; 0 for all.
  ///   - base: the checkpoint whose encoders must have encoded the clips.
  /// - Throws: `LiveTalkError` where clips cannot be read, or clips, transformer and checkpoint do not fit each other.
  init(
    _ folder: String, frames: Int = 0, trajectories: Bool = false, for model: any TrainableTransformer,
    device: Device, encodedBy base: CheckpointFolder
  ) throws {
    clips = try PreparedClips(URL(fileURLWithPath: folder), expecting: trajectories ? [.trajectories] : [.latents])
    (self.device, geometry) = (device, base.geometry)
    guard let first = clips.index.clips.first else { throw LiveTalkError("There are no clips in \(folder).") }
    func shape(_ clip: ClipRecord, _ name: String) -> [Int] { clip.tensors[name]?.shape ?? [] }
    let latents = shape(first, "latents")
    for clip in clips.index.clips where shape(clip, "latents") != latents {
      throw LiveTalkError(
        "The clips of \(folder) are not of one size: '\(first.id)' is \(latents), '\(clip.id)' \(shape(clip, "latents"))."
      )
    }
    guard latents.count == 4 else { throw LiveTalkError("The latents of \(folder) are \(latents), not four-fold.") }
    latentFrames = frames > 0 ? frames : latents[1]
    guard latentFrames <= latents[1] else {
      throw LiveTalkError("The clips of \(folder) have \(latents[1]) latent frames, and \(frames) are asked for.")
    }
    statistics = base.settings.latentStatistics
    textRows = base.settings.textRows
    try LatentClips.check(clips.index, encodedBy: base, folder)
    try LatentClips.check(first, folder, fit: model, "the transformer")
    guard clips.index.fps == geometry.framesPerSecond,
      shape(first, "referenceLatent").dropFirst().first == model.referenceFrames
    else {
      throw LiveTalkError(
        "The clips of \(folder) were prepared for another family of models than \(base.family.name), at \(clips.index.fps) frames "
          + "a second: prepare them with \(base.root.path).")
    }
    negativeText = padded(try clips.shared("negativeText").to(device, .float32), to: textRows).unsqueeze(0)
  }

  /// - Throws: `LiveTalkError` for a transformer of other audio or text widths.
  func check(fit model: any TrainableTransformer, _ name: String) throws {
    try LatentClips.check(clips.index.clips[0], clips.folder.path, fit: model, name)
  }

  /// - Throws: `LiveTalkError` for clips that are no whole number of blocks.
  func checkBlocks(of framesPerBlock: Int) throws {
    guard latentFrames > 0, latentFrames % framesPerBlock == 0 else {
      throw LiveTalkError("Clips of \(latentFrames) latent frames are no whole number of blocks of \(framesPerBlock).")
    }
  }

  private static func check(
    _ clip: ClipRecord, _ folder: String, fit model: any TrainableTransformer, _ name: String
  ) throws {
    let (audio, text) = (clip.tensors["audioFeatures"]?.shape ?? [], clip.tensors["text"]?.shape ?? [])
    guard audio.last == model.audioInputDim, text.last == model.trunkSizes.textDim else {
      throw LiveTalkError(
        "The clips of \(folder) do not fit \(name): it takes rows of \(model.audioInputDim) for audio and of "
          + "\(model.trunkSizes.textDim) for text, they have \(audio) and \(text).")
    }
  }

  /// Latents of another encoder would train without an error and decode to noise.
  private static func check(_ index: ShardIndex, encodedBy base: CheckpointFolder, _ folder: String) throws {
    for part in [CheckpointFolder.Part.vae, .audioEncoder, .textEncoder] {
      guard let known = index.origin[part.title], let file = base.file(part) else { continue }
      guard try fingerprint(of: file) == known else {
        throw LiveTalkError(
          "The clips of \(folder) were encoded by another \(part.title) than that of \(base.root.path): prepare them with "
            + "this checkpoint, or give the one they were prepared with.")
      }
    }
  }

  var count: Int { clips.count }
  /// The size of the videos.
  var pixels: ReferencePicture.Size { .init(height: clips.index.height, width: clips.index.width) }

  /// - Parameter frames: the frame dimension of a clip's tensor, and how many to use.
  private func stacked(_ numbers: [Int], _ name: String, frames: (dim: Int, count: Int)? = nil) throws -> Tensor {
    let tensors = try numbers.map { number in
      let tensor = try clips.tensor(number, name)
      return (frames.map { tensor.narrow($0.dim, 0, $0.count) } ?? tensor).to(device, .float32)
    }
    return Tensor.stack(tensors, 0)
  }

  func conditions(_ numbers: [Int]) throws -> Conditions {
    let texts = try numbers.map { padded(try clips.tensor($0, "text").to(device, .float32), to: textRows) }
    return Conditions(
      text: Tensor.stack(texts, 0),
      audioFeatures: try stacked(
        numbers, "audioFeatures", frames: (0, geometry.videoFrames(latentFrames: latentFrames))),
      referenceLatent: try stacked(numbers, "referenceLatent"))
  }

  /// `[B, C, F, H, W]`.
  func latents(_ numbers: [Int]) throws -> Tensor { try stacked(numbers, "latents", frames: (1, latentFrames)) }
  /// `[B, S + 1, C, F, H, W]`.
  func trajectories(_ numbers: [Int]) throws -> Tensor { try stacked(numbers, "trajectory", frames: (2, latentFrames)) }

  /// The loss weights of a batch's elements, `[B or 1, C or 1, F, h, w]` of mean 1; nil for uniform ones.
  func weights(_ numbers: [Int], _ settings: LatentWeighting) throws -> Tensor? {
    var weights: Tensor?
    if !settings.regions.isEven {
      weights = Tensor.cat(try numbers.map { try regionWeights($0, settings.regions) }, 0).to(device)
    }
    if settings.byDeviation, let statistics {
      let channels = Tensor(
        statistics.deviation.map(Float.init), [1, statistics.deviation.count, 1, 1, 1], device: device)
      weights = weights.map { $0 * channels } ?? channels
    }
    return weights.map { $0 / $0.mean() }
  }

  private func regionWeights(_ number: Int, _ settings: FaceRegionSettings) throws -> Tensor {
    let shape = clips.index.clips[number].tensors["latents"]?.shape ?? [0, 0, 1, 1]  // [C, F, h, w]
    guard clips.index.clips[number].tensors[FaceTruth.tensor] != nil else {
      return .ones([1, 1, latentFrames] + shape[2...])
    }
    return FaceRegions(try clips.tensor(number, FaceTruth.tensor)).weights(
      latentFrames: latentFrames, temporalStride: geometry.temporalStride, rows: shape[2],
      columns: shape[3], cell: clips.index.width / shape[3], settings)
  }

}

/// Zero-pads, as the text encoder does.
private func padded(_ rows: Tensor, to count: Int) -> Tensor { rows.pad(0, 0, 0, count - rows.size(0)) }
