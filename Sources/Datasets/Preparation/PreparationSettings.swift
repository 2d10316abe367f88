package import ClipShards
import Foundation
package import Generation
import Models
package import Torch

/// How a dataset is prepared.
package struct PreparationSettings: Sendable {
  package var kind: ShardKind
  package var requirements: ClipRequirements
  /// Latent frames of every prepared clip.
  package var latentFrames = 21
  /// How well a reference picture must fit its clip, from 0 (anything) to 1.
  package var consistency = 0.25
  /// Is given a reference picture as {in} and makes a larger one at {out}.
  package var upscaler: ExternalTool?
  /// Is given a clip without a caption as {video} and prints one line.
  package var captioner: ExternalTool?
  /// After these an external program is ended.
  package var toolSeconds = 120.0
  /// The prompt of what is not wanted.
  package var negativePrompt = ""
  /// Clips that are read at a time.
  package var readers = 2
  /// Seconds after which finished clips are saved, at the latest.
  package var saveInterval = 60.0
  package var shardLimit = 256 << 20
  /// Whether clips are tried again that an earlier run rejected.
  package var retriesRejected = false

  package init(kind: ShardKind, size: ReferencePicture.Size) {
    self.kind = kind
    requirements = ClipRequirements(size: size)
  }

  /// Video frames of every prepared clip.
  package var videoFrames: Int { 4 * latentFrames - 3 }

  /// Seconds of every prepared clip.
  package var seconds: Double { Double(videoFrames) / Double(requirements.framesPerSecond) }

  /// What the folder of shards says of its making; a folder is continued under the same only.
  package func description(encoders: [String: String]) -> ShardDescription {
    var origin = [
      "made by": "livetalk data prepare", "latent frames": "\(latentFrames)",
      "length tolerance": "\(requirements.tolerance) s", "longest clip": "\(requirements.longest) s",
      "enlarges": "\(requirements.enlarges)", "caption template": MotionCaption.version,
    ]
    if let captioner { origin["captioner"] = captioner.text }
    if kind != .media {
      origin["consistency"] = "\(consistency)"
      origin["negative prompt"] = negativePrompt
      if let upscaler { origin["up-scaler"] = upscaler.text }
    }
    return ShardDescription(
      kind: kind, fps: requirements.framesPerSecond, sampleRate: requirements.sampleRate,
      width: requirements.size.width, height: requirements.size.height,
      origin: origin.merging(encoders) { $1 })
  }

  /// What tells the encoders of a checkpoint apart from others.
  ///
  /// - Throws: `FileError` for a part that is missing or cannot be read.
  package static func encoders(of folder: CheckpointFolder, dtype: DType) throws -> [String: String] {
    var result = ["dtype": "\(dtype)"]
    for part in ClipEncoder.parts { result[part.title] = try fingerprint(of: try folder.require(part)) }
    result["latent statistics"] = folder.settings.latentStatistics.map { "mean \($0.mean), deviation \($0.deviation)" }
    return result
  }
}
