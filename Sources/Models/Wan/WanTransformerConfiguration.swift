package import Torch

/// Sizes of a Wan diffusion transformer in the OmniAvatar layout.
///
/// Source: LiveTalk's and OmniAvatar's published checkpoints; the names are those of their configuration.
@dynamicMemberLookup
package struct WanTransformerConfiguration: Hashable, Sendable {
  /// The sizes that other Wan transformers have too. Its input is noisy latent, reference latent and mask.
  package var trunk: WanTrunkConfiguration
  /// Width of one row of audio features (one video frame): 14 hidden states of the speech encoder.
  package var audioInputDim: Int
  /// Width of the packed audio of one latent frame.
  package var audioHiddenSize: Int

  package var headDim: Int { trunk.headDim }
  /// Layers `2 ... numLayers/2` add audio to their tokens.
  package var audioLayers: Range<Int> { 2..<max(2, trunk.numLayers / 2 + 1) }

  /// LiveTalk and OmniAvatar 1.3B.
  package static let livetalk1_3B = WanTransformerConfiguration(
    trunk: WanTrunkConfiguration(
      dim: 1536, inDim: 33, ffnDim: 8960, textDim: 4096, freqDim: 256, numHeads: 12, numLayers: 30),
    audioInputDim: 14 * 768, audioHiddenSize: 32)

  /// OmniAvatar 14B, the teacher.
  package static let omniAvatar14B = WanTransformerConfiguration(
    trunk: WanTrunkConfiguration(
      dim: 5120, inDim: 33, ffnDim: 13824, textDim: 4096, freqDim: 256, numHeads: 40, numLayers: 40),
    audioInputDim: 14 * 768, audioHiddenSize: 32)

  package init(trunk: WanTrunkConfiguration, audioInputDim: Int, audioHiddenSize: Int) {
    self.trunk = trunk
    self.audioInputDim = audioInputDim
    self.audioHiddenSize = audioHiddenSize
  }

  package subscript<Value>(dynamicMember size: WritableKeyPath<WanTrunkConfiguration, Value>) -> Value {
    get { trunk[keyPath: size] }
    set { trunk[keyPath: size] = newValue }
  }

  /// Reads every size that the shapes of a checkpoint tell.
  ///
  /// - Parameter headDim: the one size that no shape tells; 128 in every published model.
  /// - Throws: `TorchError` naming the key that is missing or has an impossible shape.
  package init(readingFrom weights: [String: Tensor], headDim: Int = 128) throws {
    let packed = try WanTrunkConfiguration.shape(of: "audio_proj.proj.weight", 2, in: weights)
    self.init(
      trunk: try WanTrunkConfiguration(readingFrom: weights, headDim: headDim),
      audioInputDim: packed[1] / LatentGeometry.livetalk.audioRowsPerLatentFrame, audioHiddenSize: packed[0])
  }

  /// Why no model can have these sizes, or nil.
  package var problem: String? {
    if let problem = trunk.problem { return problem }
    let third = headDim / 3
    if third % 2 != 0 || (headDim - 2 * third) % 2 != 0 {
      return "heads of width \(headDim) do not divide into even parts for time, height and width"
    }
    let (given, predicted) = (trunk.inDim, trunk.outDim)
    if given != 2 * predicted + 1 {
      return "it takes \(given) channels, not \(2 * predicted + 1): \(predicted) of noise, as many of the picture, "
        + "and a mask"
    }
    return nil
  }

  /// Tokens of one latent frame of the given height and width in latent pixels.
  package func tokensPerFrame(height: Int, width: Int) -> Int { trunk.tokensPerFrame(height: height, width: width) }
}
