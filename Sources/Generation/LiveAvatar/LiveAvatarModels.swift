package import Models
import NN
package import Torch

/// The models of a Live Avatar session that stay in memory.
package struct LiveAvatarModels: SessionModels {
  package let transformer: WanS2VTransformer
  package let vae: WanVAE
  package let audioEncoder: Wav2Vec2
  package let settings: CheckpointSettings
  /// Whether most linear layers of the transformer are computed in 8 bits.
  package let isFloat8: Bool
  /// Whether a frame is driven by its own sound. In the published system the sound of a frame is that of 0.12 s later, so that the picture
  /// runs ahead. Sound that is encoded as it is heard is always that of its frame.
  package var correctsLead = true

  package var devices: [Device] { transformer.layerDevices.held.map(\.device) }
  package var textWidth: Int { transformer.config.textDim }
  package var geometry: LatentGeometry { LatentGeometry.liveAvatar.over(vae.configuration) }
  /// The coarsest motion tokens span four tokens of noise along a side.
  package var pixelsPerToken: (height: Int, width: Int) {
    let (stride, patch) = (4 * vae.configuration.spatialStride, transformer.config.patchSize)
    return (stride * patch[1], stride * patch[2])
  }

  /// Loads a checkpoint. Weights whose type is the run's stay in the mapped files on the CPU.
  ///
  /// - Throws: `FileError`, `CheckpointMismatch` with all keys that are wrong, `TorchError`, or `LiveTalkError` for devices that are not there.
  package init(
    loading folder: CheckpointFolder, device: Device, dtype: DType, weights: WeightOptions = WeightOptions(),
    report: (String) -> Void = { _ in }
  ) throws {
    try folder.requireAll()
    (settings, isFloat8) = (folder.settings, weights.float8)
    try folder.verifyFit()
    report("diffusion transformer")
    transformer = try folder.loadS2VTransformer(device: device, dtype: dtype, weights)
    report("video autoencoder")
    vae = try folder.loadVAE(device: device, dtype: dtype)
    report("speech encoder")
    audioEncoder = try folder.loadAudioEncoder(device: device, dtype: dtype)
  }

  /// Models of a preset's sizes with random weights, for benchmarks.
  package init(
    random preset: LiveAvatarPreset, device: Device, dtype: DType, weights: WeightOptions = WeightOptions(),
    seed: UInt64 = 0
  ) throws {
    let store = ParameterStore(
      random: RandomGenerator(seed: seed, device: device), dtype: dtype, isFrozen: true,
      float8: weights.float8 ? WanS2VTransformer.float8Layers : nil, offloadsLayers: weights.offload,
      layerDevices: try weights.layerDevices(preset.transformer.numLayers, from: device))
    transformer = try WanS2VTransformer(preset.transformer, store.root / "transformer")
    let others = ParameterStore(random: RandomGenerator(seed: seed + 1, device: device), dtype: dtype, isFrozen: true)
    vae = WanVAE(preset.vae, others.root / "vae")
    audioEncoder = Wav2Vec2(preset.audioEncoder, others.root / "wav2vec2")
    (settings, isFloat8) = (preset.settings(provenance: "random weights"), weights.float8)
  }

  package func encode(
    image: Tensor, options: SessionOptions, tap: RolloutTap? = nil
  ) throws -> (_ textEmbedding: Tensor) throws -> any BlockSession {
    let conditions = LiveAvatarConditions(image, vae, encoding: options.sink.encoding)
    _ = try conditions.reference.checked(as: "latents of the picture")
    return {
      try LiveAvatarSession(
        transformer: transformer, vae: vae, conditions: conditions, textEmbedding: $0,
        options: LiveAvatarOptions(options), tap: tap)
    }
  }

  /// Each step sees what it wrote itself of earlier blocks.
  package func fewestSteps(from steps: Int) -> Int { steps }

  /// A minute of sound is encoded as a whole, as published; a longer one as it would be heard live.
  ///
  /// Every block has 4 rows for each of its latent frames: in the first one, whose first latent frame gives one video frame, three rows
  /// stand for frames that are left out.
  package func audioFeatures(of clip: Clip, isLive: Bool = false) throws -> () throws -> Tensor {
    if isLive || clip.generatedFrames > Wav2Vec2.Windows.standard.longest {
      return clip.audioFeatures(speechStream(framesPerBlock: clip.framesPerBlock))
    }
    let states = try SpeechStates.states(audioEncoder, clip.samples)
    let rows = clip.geometry.temporalStride * clip.framesPerBlock
    let lead = correctsLead ? clip.geometry.temporalStride - 1 : 0
    let features = SpeechStates.features(
      states, frames: clip.blocks * rows - lead, framesPerSecond: clip.geometry.framesPerSecond)
    let placed = try SpeechStates.leading(features, by: lead).checked(as: "features of the sound")
    var row = 0
    return {
      defer { row += rows }
      return placed.narrow(1, row, rows)
    }
  }

  package func speechStream(framesPerBlock: Int) -> SpeechFeatureStream {
    SpeechFeatureStream(
      audioEncoder, geometry: geometry, framesPerBlock: framesPerBlock,
      leadingRows: geometry.temporalStride - 1
    ) { encoder, samples, frames, known, samplesPerFrame in
      try SpeechStates.features(
        encoder, samples, frames: frames, normalisedBy: known, samplesPerFrame: samplesPerFrame)
    }
  }
}
