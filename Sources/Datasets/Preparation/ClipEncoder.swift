import Basics
import Foundation
package import Generation
import Models
import NN
package import Torch

/// Turns pictures, sound and captions into what the transformer sees, with the encoders of a checkpoint and by the very steps of
/// a session: what is trained on is what is served.
package final class ClipEncoder {
  package let device: Device
  private let family: ModelFamily.Kind
  private let geometry: LatentGeometry
  private let vae: WanVAE
  private let audioEncoder: Wav2Vec2
  private let prompts: PromptEncoder
  private var texts: [String: Tensor] = [:]

  /// The parts of a checkpoint that are needed; the transformer may not exist yet.
  package static let parts: [CheckpointFolder.Part] = [
    .vae, .audioEncoder, .audioConfiguration, .textEncoder, .tokenizer,
  ]

  /// - Throws: `FileError`, `CheckpointMismatch`, or `TorchError`.
  package init(
    loading folder: CheckpointFolder, device: Device, dtype: DType, report: (String) -> Void = { _ in }
  ) throws {
    self.device = device
    (family, geometry) = (folder.family.kind, folder.geometry)
    report("video autoencoder")
    vae = try folder.loadVAE(device: device, dtype: dtype)
    report("speech encoder")
    audioEncoder = try folder.loadAudioEncoder(device: device, dtype: dtype)
    report("text encoder")
    prompts = try PromptEncoder(loading: folder, device: device, dtype: PromptEncoder.type(for: dtype))
  }

  /// - Throws: `TorchError` for a size of pictures that does not divide into tokens.
  package func check(_ size: ReferencePicture.Size) throws {
    // The transformer may not exist yet. Every one of Wan has tokens of 2×2 latent pixels; Live Avatar's coarsest are four times as large.
    let side = (family == .liveAvatar ? 8 : 2) * vae.configuration.spatialStride
    guard size.height % side == 0, size.width % side == 0 else {
      throw TorchError(
        "This autoencoder's videos have sides in multiples of \(side) pixels, not \(size.height)×\(size.width).")
    }
  }

  /// What a clip's pictures and sound become.
  ///
  /// - Parameters:
  ///   - frames: packed RGB8, 4F - 3 of them.
  ///   - reference: `[1, 3, 1, H, W]` in [-1, 1], as `ReferencePicture` prepares it.
  /// - Returns: `latents` `[C, F, h, w]` and `referenceLatent` `[C, R, h, w]`, normalised, and one row of `audioFeatures` per video frame,
  ///   `[4F - 3, audioInputDim]`.
  /// - Throws: `LiveTalkError` for sound too short, or results that are no numbers, or flat.
  func encode(
    _ frames: [[UInt8]], _ size: ReferencePicture.Size, reference: Tensor, _ samples: [Float], latentFrames: Int
  ) throws -> [String: Tensor] {
    let video = (videoTensor(frames, size).to(device).to(.float32) / 127.5 - 1).unsqueeze(0)
    let reference = reference.to(device)
    // As a session does that is given this sound: it plays what belongs to the frames after the first.
    let count = geometry.sampleCount(latentFrames: latentFrames)
    let padded = Array(samples.prefix(count)) + [Float](repeating: 0, count: max(0, count - samples.count))
    let rows = geometry.videoFrames(latentFrames: latentFrames)
    let (latents, picture, features) =
      switch family {
      case .liveTalk:
        (
          vae.encode(video: video), vae.encode(image: reference),
          try audioEncoder.encode(padded, frameCount: rows)
        )
      case .liveAvatar:
        (
          behind(reference, video), LiveAvatarConditions(reference, vae).reference,
          SpeechStates.features(
            try SpeechStates.states(audioEncoder, padded), frames: rows, framesPerSecond: geometry.framesPerSecond)
        )
      }
    return [
      "latents": try latents.squeeze(0).checked(as: "latents of the video"),
      "referenceLatent": try picture.squeeze(0).checked(as: "latents of the picture"),
      "audioFeatures": try features.squeeze(0).checked(as: "features of the sound"),
    ]
  }

  /// The latents of a video behind its picture, which stood still before it; the first one is of four frames then, as its decoder takes it,
  /// of which all but the last are left out when it is served.
  private func behind(_ picture: Tensor, _ video: Tensor) -> Tensor {
    func repeated(_ frame: Tensor, _ count: Int) -> Tensor {
      frame.expand([1, 3, count] + frame.shape[3...])
    }
    let whole = Tensor.cat(
      [
        repeated(picture, WanS2VTransformer.motionVideoFrames),
        repeated(video.narrow(2, 0, 1), geometry.temporalStride - 1), video,
      ], 2)
    let latents = vae.encode(video: whole)
    let before = WanS2VTransformer.motionLatentFrames
    return latents.narrow(2, before, latents.size(2) - before)
  }

  /// - Returns: the rows of the text encoder that are the prompt's, `[L, textDim]`.
  func text(_ prompt: String) throws -> Tensor {
    if let known = texts[prompt] { return known }
    let (context, count) = try prompts.encode(prompt)
    let rows = context.squeeze(0).narrow(0, 0, count).to(.cpu).clone()
    // Templates repeat; a folder in which every caption is another one must not fill the memory.
    if texts.count >= 256 { texts = [:] }
    texts[prompt] = rows
    return rows
  }
}

/// Packed RGB8 frames as `[3, T, H, W]`.
func videoTensor(_ frames: [[UInt8]], _ size: ReferencePicture.Size) -> Tensor {
  var bytes: [UInt8] = []
  bytes.reserveCapacity(frames.count * size.height * size.width * 3)
  for frame in frames { bytes.append(contentsOf: frame) }
  return Tensor(bytes, [frames.count, size.height, size.width, 3]).permute(3, 0, 1, 2).contiguous()
}
