package import Torch

/// Sizes of a Wan diffusion transformer in the OmniAvatar layout.
///
/// Source: LiveTalk's and OmniAvatar's published checkpoints; the names are those of their configuration.
package struct WanTransformerConfiguration: Codable, Hashable, Sendable {
  /// Width of a token.
  package var dim: Int
  /// Channels of the model's input: noisy latent, reference latent and mask.
  package var inDim: Int
  package var ffnDim: Int
  /// Channels of the predicted flow.
  package var outDim: Int
  /// Width of the text encoder's output.
  package var textDim: Int
  /// Width of the sinusoidal timestep embedding.
  package var freqDim: Int
  package var numHeads: Int
  package var numLayers: Int
  /// Time, height and width of a patch, in latent frames and latent pixels.
  package var patchSize: [Int]
  package var eps: Double
  /// Width of one row of audio features (one video frame): 14 hidden states of the speech encoder.
  package var audioInputDim: Int
  /// Width of the packed audio of one latent frame.
  package var audioHiddenSize: Int

  package var headDim: Int { dim / numHeads }
  /// The sizes that other Wan transformers have too.
  package var trunk: WanTrunkConfiguration {
    WanTrunkConfiguration(
      dim: dim, inDim: inDim, ffnDim: ffnDim, outDim: outDim, textDim: textDim, freqDim: freqDim, numHeads: numHeads,
      numLayers: numLayers, patchSize: patchSize, eps: eps)
  }
  /// Layers `2 ... numLayers/2` add audio to their tokens.
  package var audioLayers: Range<Int> { 2..<max(2, numLayers / 2 + 1) }

  /// LiveTalk and OmniAvatar 1.3B.
  package static let livetalk1_3B = WanTransformerConfiguration(
    dim: 1536, inDim: 33, ffnDim: 8960, outDim: 16, textDim: 4096, freqDim: 256, numHeads: 12, numLayers: 30,
    patchSize: [1, 2, 2], eps: 1e-6, audioInputDim: 14 * 768, audioHiddenSize: 32)

  /// OmniAvatar 14B, the teacher.
  package static let omniAvatar14B = WanTransformerConfiguration(
    dim: 5120, inDim: 33, ffnDim: 13824, outDim: 16, textDim: 4096, freqDim: 256, numHeads: 40, numLayers: 40,
    patchSize: [1, 2, 2], eps: 1e-6, audioInputDim: 14 * 768, audioHiddenSize: 32)

  package init(
    dim: Int, inDim: Int, ffnDim: Int, outDim: Int, textDim: Int, freqDim: Int, numHeads: Int, numLayers: Int,
    patchSize: [Int], eps: Double, audioInputDim: Int, audioHiddenSize: Int
  ) {
    self.dim = dim
    self.inDim = inDim
    self.ffnDim = ffnDim
    self.outDim = outDim
    self.textDim = textDim
    self.freqDim = freqDim
    self.numHeads = numHeads
    self.numLayers = numLayers
    self.patchSize = patchSize
    self.eps = eps
    self.audioInputDim = audioInputDim
    self.audioHiddenSize = audioHiddenSize
  }

  /// Reads every size that the shapes of a checkpoint tell.
  ///
  /// - Parameter headDim: the one size that no shape tells; 128 in every published model.
  /// - Throws: `TorchError` naming the key that is missing or has an impossible shape.
  package init(readingFrom weights: [String: Tensor], headDim: Int = 128) throws {
    func shape(_ key: String, _ rank: Int) throws -> [Int] {
      guard let tensor = weights[key] else { throw TorchError("The transformer's weights have no '\(key)'.") }
      guard tensor.rank == rank else {
        throw TorchError("'\(key)' has the shape \(tensor.shape), not \(rank) dimensions.")
      }
      return tensor.shape
    }
    let patch = try shape("patch_embedding.weight", 5)
    let layers = weights.keys.filter { $0.hasPrefix("blocks.") && $0.hasSuffix(".modulation") }.count
    let packed = try shape("audio_proj.proj.weight", 2)
    guard headDim > 0, patch[0] % headDim == 0 else {
      throw TorchError("A width of \(patch[0]) does not divide into heads of \(headDim).")
    }
    self.init(
      dim: patch[0], inDim: patch[1], ffnDim: try shape("blocks.0.ffn.0.weight", 2)[0],
      outDim: try shape("head.head.weight", 2)[0] / (patch[2] * patch[3] * patch[4]),
      textDim: try shape("text_embedding.0.weight", 2)[1], freqDim: try shape("time_embedding.0.weight", 2)[1],
      numHeads: patch[0] / headDim, numLayers: layers, patchSize: Array(patch[2...]), eps: 1e-6,
      audioInputDim: packed[1] / LatentGeometry.livetalk.audioRowsPerLatentFrame, audioHiddenSize: packed[0])
  }

  /// Why no model can have these sizes, or nil.
  package var problem: String? {
    if dim <= 0 || numHeads <= 0 || dim % numHeads != 0 {
      return "a width of \(dim) does not divide into \(numHeads) heads"
    }
    let third = headDim / 3
    if third % 2 != 0 || (headDim - 2 * third) % 2 != 0 {
      return "heads of width \(headDim) do not divide into even parts for time, height and width"
    }
    if inDim != 2 * outDim + 1 {
      return "it takes \(inDim) channels, not \(2 * outDim + 1): \(outDim) of noise, as many of the picture, and a mask"
    }
    if patchSize.count != 3 || patchSize[0] != 1 { return "patches of \(patchSize) are not [1, height, width]" }
    return nil
  }

  /// Tokens of one latent frame of the given height and width in latent pixels.
  package func tokensPerFrame(height: Int, width: Int) -> Int { (height / patchSize[1]) * (width / patchSize[2]) }
}
