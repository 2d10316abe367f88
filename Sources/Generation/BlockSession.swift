package import Models
package import Torch

/// One talking person of any family: a picture and a direction, to which sound is fed block by block and which gives video frames.
package protocol BlockSession: AnyObject {
  /// Height and width of the video in pixels.
  var size: ReferencePicture.Size { get }
  var geometry: LatentGeometry { get }
  var framesPerBlock: Int { get }
  /// Index of the next block.
  var block: Int { get }
  /// Tokens of earlier frames that attention sees beside the newest block's, that block's included.
  var cachedTokens: Int { get }

  /// Generates the next block from the rows of audio features that `SessionModels.audioFeatures` gives for it.
  ///
  /// - Returns: the frames, on their way: reading them waits for the decoder, queueing the next block before does not.
  func next(audioFeatures: Tensor) -> PendingFrames
  /// Generates the next block's clean latents `[1, C, n, h, w]` and keeps what later blocks see of it.
  func denoise(audioFeatures: Tensor) -> Tensor
  /// As `denoise`, or nil where it was stopped before the block was kept: the next block is then still to come.
  func denoise(audioFeatures: Tensor, unless isStopped: () -> Bool) -> Tensor?
  /// Decodes the latents of the next block on the session's decoding stream.
  func decode(_ latents: Tensor) -> PendingFrames
  /// Changes the direction from the next block on.
  func setText(_ textEmbedding: Tensor)
  /// Changes the number of denoising steps from the next block on; not below `SessionModels.fewestSteps`.
  func setSteps(_ count: Int)
  /// Goes on as though so many blocks had been generated, with noise in the memory; for benchmarks.
  func skip(blocks: Int)
  /// No block follows: processes that share the work forget the session.
  func end()
}

extension BlockSession {
  package func next(audioFeatures: Tensor) -> PendingFrames { decode(denoise(audioFeatures: audioFeatures)) }
  package func end() {}

  /// Video frames that the next block gives: the clip's first latent frame gives one.
  package var videoFramesInNextBlock: Int { geometry.videoFrames(inBlock: block, framesPerBlock: framesPerBlock) }
}

/// The models of a session that stay in memory, of any family.
package protocol SessionModels: Sendable {
  /// The devices that a session computes on; what is not the transformer's layers is on the first.
  var devices: [Device] { get }
  var vae: WanVAE { get }
  var audioEncoder: Wav2Vec2 { get }
  var settings: CheckpointSettings { get }
  /// Width of a row of the text encoder's output.
  var textWidth: Int { get }
  /// Pixels that the sides of a video are multiples of.
  var pixelsPerToken: (height: Int, width: Int) { get }
  var geometry: LatentGeometry { get }

  /// Encodes the picture of a session.
  ///
  /// - Parameters:
  ///   - image: the picture in the size of the video, `[1, 3, 1, H, W]` in [-1, 1].
  ///   - tap: is told every pass.
  /// - Returns: makes a session with it from the text encoder's output `[1, L, textDim]`; it throws `TorchError` for options that cannot be.
  /// - Throws: `LiveTalkError` for a picture whose latents are not finite.
  func encode(image: Tensor, options: SessionOptions, tap: RolloutTap?) throws -> (_ textEmbedding: Tensor) throws ->
    any BlockSession

  /// How many processes a block goes through, each of which works on another block at the same time; 1 for this one alone.
  var processes: Int { get }

  /// The fewest denoising steps that a session may take which began with so many: as many where each step has a memory of its own.
  func fewestSteps(from steps: Int) -> Int

  /// What a session takes of each of `devices` beside the models, whose weights are not counted.
  ///
  /// - Throws: `TorchError` for a cache that grows with the clip.
  func memory(_ size: ReferencePicture.Size, options: SessionOptions) throws -> [MemoryEstimate]

  /// The features of the clip's blocks, one after the other.
  ///
  /// - Parameter isLive: whether a short clip too is encoded as it would be heard live.
  /// - Throws: `LiveTalkError` for a sound too short to be encoded.
  func audioFeatures(of clip: Clip, isLive: Bool) throws -> () throws -> Tensor

  /// The features of sound as it comes.
  func speechStream(framesPerBlock: Int) -> SpeechFeatureStream
}

extension SessionModels {
  /// A session with a picture; see `encode`.
  package func session(
    image: Tensor, textEmbedding: Tensor, options: SessionOptions, tap: RolloutTap? = nil
  ) throws -> any BlockSession {
    try encode(image: image, options: options, tap: tap)(textEmbedding)
  }

  package var processes: Int { 1 }
  package var device: Device { vae.device }
  package var dtype: DType { vae.dtype }

  /// - Throws: `TorchError` for a size of video that does not divide into tokens.
  package func check(_ size: ReferencePicture.Size) throws {
    let (height, width) = pixelsPerToken
    guard size.height % height == 0, size.width % width == 0 else {
      throw TorchError(
        "This model makes videos in multiples of \(height)×\(width) pixels (height × width), not of "
          + "\(size.height)×\(size.width).")
    }
  }
}

extension CheckpointFolder {
  /// Loads the models of a session, of whichever family the folder is.
  ///
  /// - Parameters:
  ///   - device: where everything is but layers that have devices of their own.
  ///   - weights: how the transformer's are kept.
  ///   - report: told what is being loaded.
  /// - Throws: `FileError`, `CheckpointMismatch` with all keys that are wrong, `TorchError`, or `LiveTalkError` for devices that are not there.
  package func loadModels(
    device: Device, dtype: DType, weights: WeightOptions = WeightOptions(), report: (String) -> Void = { _ in }
  ) throws -> any SessionModels {
    switch family.kind {
    case .liveTalk:
      guard !weights.float8 else { throw TorchError("\(family.name) has no layers in 8 bits; leave --fp8 out.") }
      guard !weights.offload else { throw TorchError("\(family.name) is not offloaded; leave --offload out.") }
      return try AvatarModels(
        loading: self, device: device, dtype: dtype, layersPerDevice: weights.layersPerDevice, report: report)
    case .liveAvatar:
      return try LiveAvatarModels(loading: self, device: device, dtype: dtype, weights: weights, report: report)
    }
  }
}
