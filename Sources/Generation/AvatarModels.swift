package import Basics
import Foundation
package import Models
import NN
package import Torch

/// The models of a session that stay in memory. The text encoder does not: see `CheckpointFolder.encodeText`.
package struct AvatarModels: SessionModels {
  package let transformer: WanTransformer
  package let vae: WanVAE
  package let audioEncoder: Wav2Vec2
  package let settings: CheckpointSettings

  /// Pixels along one side of a token: the sides of a video are multiples of it.
  package var pixelsPerToken: (height: Int, width: Int) {
    let (stride, patch) = (vae.configuration.spatialStride, transformer.config.patchSize)
    return (stride * patch[1], stride * patch[2])
  }

  package var devices: [Device] { transformer.layerDevices.held.map(\.device) }
  package var textWidth: Int { transformer.config.textDim }
  package var geometry: LatentGeometry { LatentGeometry.livetalk.over(vae.configuration) }

  /// Loads a checkpoint. Weights whose type is the run's stay in the mapped files on the CPU.
  ///
  /// - Parameters:
  ///   - layersPerDevice: see `WeightOptions`.
  ///   - report: told what is being loaded.
  /// - Throws: `FileError`, `CheckpointMismatch` with all keys that are wrong, `TorchError`, or `LiveTalkError` for devices that are not there.
  package init(
    loading folder: CheckpointFolder, device: Device, dtype: DType, layersPerDevice: Int? = nil,
    report: (String) -> Void = { _ in }
  ) throws {
    try folder.requireAll()
    settings = folder.settings
    try folder.verifyFit()
    report("diffusion transformer")
    let layerDevices = try folder.layerDevices(WeightOptions(layersPerDevice: layersPerDevice), from: device)
    transformer = try folder.loadTransformer(device: device, dtype: dtype, layerDevices: layerDevices)
    report("video autoencoder")
    vae = try folder.loadVAE(device: device, dtype: dtype)
    report("speech encoder")
    audioEncoder = try folder.loadAudioEncoder(device: device, dtype: dtype)
  }

  /// Models of a preset's sizes with random weights, for benchmarks.
  package init(
    random preset: ModelPreset, device: Device, dtype: DType, layersPerDevice: Int? = nil, seed: UInt64 = 0
  ) throws {
    let store = ParameterStore(
      random: RandomGenerator(seed: seed, device: device), dtype: dtype, isFrozen: true,
      layerDevices: try WeightOptions(layersPerDevice: layersPerDevice).layerDevices(
        preset.transformer.numLayers, from: device))
    transformer = try WanTransformer(preset.transformer, store.root / "transformer")
    vae = WanVAE(preset.vae, store.root / "vae")
    audioEncoder = Wav2Vec2(preset.audioEncoder, store.root / "wav2vec2")
    settings = preset.settings(provenance: "random weights")
  }

  /// The encoded picture that a session begins with, `[1, C, 1, h, w]`.
  ///
  /// - Parameter size: of the video; the picture is scaled and cropped to it.
  /// - Throws: `TorchError` for a size that does not divide into tokens.
  package func referenceLatent(_ picture: Picture, _ size: ReferencePicture.Size) throws -> Tensor {
    try check(size)
    return try vae.encode(image: ReferencePicture.prepared(picture, size).to(device))
      .checked(as: "latents of the picture")
  }

  /// A session of these models.
  ///
  /// - Parameters:
  ///   - referenceLatent: the encoded picture `[1, C, 1, h, w]`.
  ///   - text: the text encoder's output `[1, L, textDim]`.
  ///   - noise: nil for noise from the options' seed.
  /// - Throws: `TorchError` for options that cannot be.
  package func session(
    referenceLatent: Tensor, text: Tensor, options: SessionOptions, noise: NoiseSource? = nil, tap: RolloutTap? = nil
  ) throws -> AvatarSession {
    try AvatarSession(
      transformer: transformer, vae: vae, referenceLatent: referenceLatent, textEmbedding: text, options: options,
      noise: noise, tap: tap)
  }

  package func encode(
    image: Tensor, options: SessionOptions, tap: RolloutTap? = nil
  ) throws -> (_ textEmbedding: Tensor) throws -> any BlockSession {
    let reference = try vae.encode(image: image).checked(as: "latents of the picture")
    return { try session(referenceLatent: reference, text: $0, options: options, tap: tap) }
  }

  /// All steps share one memory; with one step alone the model has never been seen to do well.
  package func fewestSteps(from steps: Int) -> Int { min(steps, 2) }

  package func audioFeatures(of clip: Clip, isLive: Bool = false) throws -> () throws -> Tensor {
    try clip.audioFeatures(audioEncoder, isLive: isLive)
  }

  package func speechStream(framesPerBlock: Int) -> SpeechFeatureStream {
    SpeechFeatureStream(audioEncoder, framesPerBlock: framesPerBlock)
  }
}
