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
    geometry = folder.geometry
    report("video autoencoder")
    vae = try folder.loadVAE(device: device, dtype: dtype)
    report("speech encoder")
    audioEncoder = try folder.loadAudioEncoder(device: device, dtype: dtype)
    report("text encoder")
    prompts = try PromptEncoder(loading: folder, device: device, dtype: PromptEncoder.type(for: dtype))
  }

  /// - Throws: `TorchError` for a size of pictures that does not divide into tokens.
  package func check(_ size: ReferencePicture.Size) throws {
    // The transformer may not exist yet. Every one of Wan has tokens of 2×2 latent pixels.
    let side = 2 * vae.configuration.spatialStride
    guard size.height % side == 0, size.width % side == 0 else {
      throw TorchError(
        "This autoencoder's videos have sides in multiples of \(side) pixels, not \(size.height)×\(size.width).")
    }
  }

  /// - Parameter frames: packed RGB8, 4F - 3 of them.
  /// - Returns: normalised latents `[C, F, h, w]`.
  /// - Throws: `LiveTalkError` for latents that are no numbers, or flat.
  func latents(_ frames: [[UInt8]], _ size: ReferencePicture.Size) throws -> Tensor {
    let video = videoTensor(frames, size).to(device).to(.float32) / 127.5 - 1
    return try vae.encode(video: video.unsqueeze(0)).squeeze(0).checked(as: "latents of the video")
  }

  /// - Parameter picture: `[1, 3, 1, H, W]` in [-1, 1], as `ReferencePicture` prepares it.
  /// - Returns: a normalised latent `[C, 1, h, w]`.
  /// - Throws: `LiveTalkError` for one that is no number, or flat.
  func referenceLatent(_ picture: Tensor) throws -> Tensor {
    try vae.encode(image: picture.to(device)).squeeze(0).checked(as: "latents of the picture")
  }

  /// - Returns: one row per video frame `[4F - 3, audioInputDim]`.
  /// - Throws: `LiveTalkError` for sound too short.
  func audioFeatures(_ samples: [Float], latentFrames: Int) throws -> Tensor {
    // As a session does that is given this sound: it plays what belongs to the frames after the first.
    let count = geometry.sampleCount(latentFrames: latentFrames)
    let padded = samples.prefix(count) + [Float](repeating: 0, count: max(0, count - samples.count))
    let frames = geometry.videoFrames(latentFrames: latentFrames)
    return try audioEncoder.encode(Array(padded), frameCount: frames).squeeze(0).checked(as: "features of the sound")
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
