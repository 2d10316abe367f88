package import Models

/// Named sizes of a whole Live Avatar system.
package struct LiveAvatarPreset: Sendable {
  package let name: String
  package let transformer: WanS2VConfiguration
  /// Rank of the adapter.
  package let rank: Int
  package let vae: WanVAEConfiguration
  package let textEncoder: UMT5Configuration
  package let audioEncoder: Wav2Vec2Configuration
  package var size: ReferencePicture.Size
  /// Rows of encoded text that the transformer reads; nil for the published 512.
  package var textLength: Int?

  /// Live Avatar as published: Wan2.2-S2V-14B, umT5-xxl, wav2vec2-large.
  package static let liveAvatar14B = LiveAvatarPreset(
    name: "liveavatar-14b", transformer: .wan22S2V14B, rank: 128, vae: .wan21, textEncoder: .xxl, audioEncoder: .large,
    size: ReferencePicture.Size(height: 704, width: 384))

  /// The smallest system with every part: for tests.
  package static let liveAvatarTiny = LiveAvatarPreset(
    name: "liveavatar-tiny",
    transformer: WanS2VConfiguration(
      trunk: WanTrunkConfiguration(
        dim: 96, inDim: 16, ffnDim: 192, textDim: 64, freqDim: 64, numHeads: 4, numLayers: 4),
      audioStates: 3, audioDim: 48, audioLayers: [0, 2, 3]),
    rank: 4, vae: ModelPreset.tiny.vae, textEncoder: ModelPreset.tiny.textEncoder,
    audioEncoder: Wav2Vec2Configuration(
      width: 48, layers: 2, heads: 4, feedForwardWidth: 96, convolutionWidths: Array(repeating: 32, count: 7),
      convolutionBias: true, positionKernel: 32, positionGroups: 4, convolutionNorm: .layer, normalizesInputs: true),
    size: ReferencePicture.Size(height: 128, width: 128), textLength: 32)

  /// Small enough for a laptop's processor, with a transformer large enough that its steps and not the decoder take the time: for
  /// pipelines of processes.
  package static let liveAvatarLaptop = LiveAvatarPreset(
    name: "liveavatar-laptop",
    transformer: WanS2VConfiguration(
      trunk: WanTrunkConfiguration(
        dim: 512, inDim: 16, ffnDim: 2048, textDim: 64, freqDim: 256, numHeads: 4, numLayers: 12),
      audioStates: 3, audioDim: 48, audioLayers: [0, 4, 8, 11]),
    rank: 8, vae: liveAvatarTiny.vae, textEncoder: liveAvatarTiny.textEncoder,
    audioEncoder: liveAvatarTiny.audioEncoder, size: liveAvatarTiny.size, textLength: 32)

  package static let all = [liveAvatar14B, liveAvatarLaptop, liveAvatarTiny]

  func settings(provenance: String) -> CheckpointSettings {
    CheckpointSettings(
      headDim: transformer.headDim, imageSizes: [size], provenance: provenance, textLength: textLength)
  }
}

extension LiveAvatarPreset {
  package init?(named name: String) {
    guard let preset = LiveAvatarPreset.all.first(where: { $0.name == name }) else { return nil }
    self = preset
  }
}
