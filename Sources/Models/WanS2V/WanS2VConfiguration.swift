package import Torch

/// Sizes of a Wan2.2-S2V diffusion transformer, the model behind Live Avatar.
///
/// Source: the published checkpoint of Wan2.2-S2V-14B and its `config.json`, whose active options these are: AdaLN before the audio's
/// cross-attention, motion tokens in three buckets, a timestep of zero for picture and motion.
@dynamicMemberLookup
package struct WanS2VConfiguration: Hashable, Sendable {
  /// The sizes that other Wan transformers have too.
  package var trunk: WanTrunkConfiguration
  /// Channels of the pose latents.
  package var condDim: Int
  /// Hidden states of the speech encoder that the audio encoder weighs, and the width of each.
  package var audioStates: Int
  package var audioDim: Int
  /// Tokens that a latent frame's sound becomes, besides a learned one.
  package var audioTokens: Int
  /// The layers after which sound is added.
  package var audioLayers: [Int]

  package var headDim: Int { trunk.headDim }
  /// Width of one row of audio features (one video frame): every hidden state.
  package var audioInputDim: Int { audioStates * audioDim }

  /// Wan2.2-S2V-14B: 16,295,755,609 parameters.
  package static let wan22S2V14B = WanS2VConfiguration(
    trunk: WanTrunkConfiguration(
      dim: 5120, inDim: 16, ffnDim: 13824, textDim: 4096, freqDim: 256, numHeads: 40, numLayers: 40),
    audioStates: 25, audioDim: 1024, audioLayers: publishedAudioLayers)
  private static let publishedAudioLayers = [0, 4, 8, 12, 16, 20, 24, 27, 30, 33, 36, 39]

  package init(
    trunk: WanTrunkConfiguration, condDim: Int = 16, audioStates: Int, audioDim: Int, audioTokens: Int = 4,
    audioLayers: [Int]
  ) {
    self.trunk = trunk
    self.condDim = condDim
    self.audioStates = audioStates
    self.audioDim = audioDim
    self.audioTokens = audioTokens
    self.audioLayers = audioLayers
  }

  package subscript<Value>(dynamicMember size: WritableKeyPath<WanTrunkConfiguration, Value>) -> Value {
    get { trunk[keyPath: size] }
    set { trunk[keyPath: size] = newValue }
  }

  /// Reads every size that the shapes of a checkpoint tell.
  ///
  /// - Parameters:
  ///   - headDim: which no shape tells; 128 in the published model.
  ///   - audioLayers: which no shape tells either; nil for those of the published model, where there are as many.
  /// - Throws: `TorchError` naming what is missing or impossible.
  package init(readingFrom weights: [String: Tensor], headDim: Int = 128, audioLayers: [Int]? = nil) throws {
    func shape(_ key: String, _ rank: Int) throws -> [Int] {
      try WanTrunkConfiguration.shape(of: key, rank, in: weights)
    }
    let trunk = try WanTrunkConfiguration(readingFrom: weights, headDim: headDim)
    let encoder = "casual_audio_encoder"  // [sic]
    let local = try shape("\(encoder).encoder.conv1_local.conv.weight", 3)
    let injectors = weights.keys.count { $0.hasPrefix("audio_injector.injector.") && $0.hasSuffix(".q.weight") }
    let layers = audioLayers ?? Self.publishedAudioLayers
    guard layers.count == injectors else {
      throw TorchError(
        "The transformer's weights add sound after \(injectors) layers, and its config.json names \(layers.count).")
    }
    self.init(
      trunk: trunk, condDim: try shape("cond_encoder.weight", 5)[1],
      audioStates: try shape("\(encoder).weights", 4)[1], audioDim: local[1],
      audioTokens: local[0] / max(1, trunk.dim / 4), audioLayers: layers)
  }

  /// Why no model can have these sizes, or nil.
  package var problem: String? {
    if let problem = trunk.problem { return problem }
    if headDim % 2 != 0 || headDim < 6 {
      return "heads of width \(headDim) do not divide into even parts for time, height and width"
    }
    if trunk.dim % 4 != 0 || audioTokens <= 0 {
      return "a width of \(trunk.dim) does not divide into 4 parts for the sound"
    }
    if trunk.inDim != trunk.outDim { return "it takes \(trunk.inDim) channels and gives \(trunk.outDim)" }
    if Set(audioLayers).count != audioLayers.count || !audioLayers.allSatisfy((0..<trunk.numLayers).contains) {
      return "sound cannot be added after the layers \(audioLayers) of \(trunk.numLayers)"
    }
    return nil
  }
}
