package import Models

/// Named sizes of a whole system: the transformer and the models around it.
package struct ModelPreset: Sendable {
  package let name: String
  package let transformer: WanTransformerConfiguration
  package let vae: WanVAEConfiguration
  package let textEncoder: UMT5Configuration
  package let audioEncoder: Wav2Vec2Configuration
  package let size: ReferencePicture.Size
  /// Rows of encoded text that the transformer reads; nil for the published 512.
  package var textLength: Int?

  /// LiveTalk 1.3B as published: 512×512, umT5-xxl, wav2vec2-base.
  package static let livetalk1_3B = ModelPreset(
    name: "livetalk-1.3b", transformer: .livetalk1_3B, vae: .wan21, textEncoder: .xxl, audioEncoder: .base,
    size: ReferencePicture.Size(height: 512, width: 512))

  /// What a laptop's processor runs in real time: 128×128, 64 tokens a frame.
  package static let laptop = ModelPreset(
    name: "laptop",
    transformer: WanTransformerConfiguration(
      trunk: WanTrunkConfiguration(
        dim: 384, inDim: 33, ffnDim: 1536, textDim: 512, freqDim: 256, numHeads: 4, numLayers: 8),
      audioInputDim: 14 * 768, audioHiddenSize: 32),
    vae: narrowVAE(width: 16),
    textEncoder: UMT5Configuration(
      vocabulary: 4096, width: 512, attentionWidth: 512, feedForwardWidth: 1024, heads: 8, layers: 6),
    audioEncoder: .base, size: ReferencePicture.Size(height: 128, width: 128))

  /// The smallest system with every part: for tests and the demo.
  package static let tiny = ModelPreset(
    name: "tiny",
    transformer: WanTransformerConfiguration(
      trunk: WanTrunkConfiguration(
        dim: 96, inDim: 33, ffnDim: 192, textDim: 64, freqDim: 64, numHeads: 2, numLayers: 6),
      audioInputDim: 4 * 48, audioHiddenSize: 32),
    vae: narrowVAE(width: 8),
    textEncoder: UMT5Configuration(
      vocabulary: 1024, width: 64, attentionWidth: 64, feedForwardWidth: 128, heads: 4, layers: 2),
    audioEncoder: Wav2Vec2Configuration(
      width: 48, layers: 2, heads: 4, feedForwardWidth: 96, convolutionWidths: Array(repeating: 32, count: 7),
      positionKernel: 32, positionGroups: 4),
    size: ReferencePicture.Size(height: 128, width: 128))

  /// A talking face of 256×256 pixels for two processor cores: 64 tokens a latent frame, and an autoencoder in the shape of
  /// Wan 2.2's that folds 4×4 pixels in place of 2×2: as many operations do more on a processor where they have more channels.
  package static let mini = ModelPreset(
    name: "mini",
    transformer: WanTransformerConfiguration(
      trunk: WanTrunkConfiguration(
        dim: 256, inDim: 97, ffnDim: 1024, outDim: 48, textDim: 128, freqDim: 256, numHeads: 8, numLayers: 8),
      audioInputDim: 6 * 96, audioHiddenSize: 128),
    vae: WanVAEConfiguration(
      width: 32, decoderWidth: 24, latentChannels: 48, widthMultipliers: [1, 2, 2], residualBlocks: 1,
      temporalDownsampling: [true, true], patchSize: 4, isResidual: true, isSubPixel: true),
    textEncoder: UMT5Configuration(
      vocabulary: 1024, width: 128, attentionWidth: 128, feedForwardWidth: 256, heads: 4, layers: 3),
    audioEncoder: Wav2Vec2Configuration(
      width: 96, layers: 4, heads: 4, feedForwardWidth: 384, convolutionWidths: Array(repeating: 64, count: 7),
      positionKernel: 64, positionGroups: 4),
    size: ReferencePicture.Size(height: 256, width: 256), textLength: 64)

  /// The published autoencoder's shape with other widths.
  private static func narrowVAE(width: Int) -> WanVAEConfiguration {
    let published = WanVAEConfiguration.wan21
    return WanVAEConfiguration(
      width: width, latentChannels: published.latentChannels, widthMultipliers: published.widthMultipliers,
      residualBlocks: published.residualBlocks, temporalDownsampling: published.temporalDownsampling)
  }

  package static let all = [livetalk1_3B, laptop, mini, tiny]

  func settings(provenance: String) -> CheckpointSettings {
    CheckpointSettings(
      headDim: transformer.headDim, imageSizes: [size], provenance: provenance, textLength: textLength)
  }
}

extension ModelPreset {
  package init?(named name: String) {
    guard let preset = ModelPreset.all.first(where: { $0.name == name }) else { return nil }
    self = preset
  }
}
