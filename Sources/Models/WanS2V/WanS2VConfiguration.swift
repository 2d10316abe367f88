package import Torch

/// Sizes of a Wan2.2-S2V diffusion transformer, the model behind Live Avatar.
///
/// Source: the published checkpoint of Wan2.2-S2V-14B and its `config.json`, whose active options these are: AdaLN before the audio's
/// cross-attention, motion tokens in three buckets, a timestep of zero for picture and motion.
package struct WanS2VConfiguration: Codable, Hashable, Sendable {
  package var dim: Int
  package var inDim: Int
  package var outDim: Int
  /// Channels of the pose latents.
  package var condDim: Int
  package var ffnDim: Int
  package var textDim: Int
  package var freqDim: Int
  package var numHeads: Int
  package var numLayers: Int
  /// Time, height and width of a patch, in latent frames and latent pixels.
  package var patchSize: [Int]
  package var eps: Double
  /// Hidden states of the speech encoder that the audio encoder weighs, and the width of each.
  package var audioStates: Int
  package var audioDim: Int
  /// Tokens that a latent frame's sound becomes, besides a learned one.
  package var audioTokens: Int
  /// The layers after which sound is added.
  package var audioLayers: [Int]

  package var headDim: Int { dim / numHeads }
  /// Width of one row of audio features (one video frame): every hidden state.
  package var audioInputDim: Int { audioStates * audioDim }

  /// Wan2.2-S2V-14B: 16,295,755,609 parameters.
  package static let wan22S2V14B = WanS2VConfiguration(
    dim: 5120, ffnDim: 13824, textDim: 4096, freqDim: 256, numHeads: 40, numLayers: 40, audioStates: 25, audioDim: 1024,
    audioLayers: publishedAudioLayers)
  private static let publishedAudioLayers = [0, 4, 8, 12, 16, 20, 24, 27, 30, 33, 36, 39]

  package init(
    dim: Int, inDim: Int = 16, outDim: Int = 16, condDim: Int = 16, ffnDim: Int, textDim: Int, freqDim: Int,
    numHeads: Int, numLayers: Int, patchSize: [Int] = [1, 2, 2], eps: Double = 1e-6, audioStates: Int, audioDim: Int,
    audioTokens: Int = 4, audioLayers: [Int]
  ) {
    self.dim = dim
    self.inDim = inDim
    self.outDim = outDim
    self.condDim = condDim
    self.ffnDim = ffnDim
    self.textDim = textDim
    self.freqDim = freqDim
    self.numHeads = numHeads
    self.numLayers = numLayers
    self.patchSize = patchSize
    self.eps = eps
    self.audioStates = audioStates
    self.audioDim = audioDim
    self.audioTokens = audioTokens
    self.audioLayers = audioLayers
  }

  /// Reads every size that the shapes of a checkpoint tell.
  ///
  /// - Parameters:
  ///   - headDim: which no shape tells; 128 in the published model.
  ///   - audioLayers: which no shape tells either; nil for those of the published model, where there are as many.
  /// - Throws: `TorchError` naming what is missing or impossible.
  package init(readingFrom weights: [String: Tensor], headDim: Int = 128, audioLayers: [Int]? = nil) throws {
    func shape(_ key: String, _ rank: Int) throws -> [Int] {
      guard let tensor = weights[key] else { throw TorchError("The transformer's weights have no '\(key)'.") }
      guard tensor.rank == rank, tensor.shape.allSatisfy({ $0 > 0 }) else {
        throw TorchError("'\(key)' has the shape \(tensor.shape), not \(rank) dimensions.")
      }
      return tensor.shape
    }
    let patch = try shape("patch_embedding.weight", 5)
    let dim = patch[0]
    guard headDim > 0, dim % headDim == 0 else {
      throw TorchError("A width of \(dim) does not divide into heads of \(headDim).")
    }
    func count(_ prefix: String, _ ending: String) -> Int {
      weights.keys.count { $0.hasPrefix(prefix) && $0.hasSuffix(ending) }
    }
    let encoder = "casual_audio_encoder"  // [sic]
    let local = try shape("\(encoder).encoder.conv1_local.conv.weight", 3)
    let injectors = count("audio_injector.injector.", ".q.weight")
    let layers = audioLayers ?? Self.publishedAudioLayers
    guard layers.count == injectors else {
      throw TorchError(
        "The transformer's weights add sound after \(injectors) layers, and its config.json names \(layers.count).")
    }
    self.init(
      dim: dim, inDim: patch[1], outDim: try shape("head.head.weight", 2)[0] / patch[2...].reduce(1, *),
      condDim: try shape("cond_encoder.weight", 5)[1], ffnDim: try shape("blocks.0.ffn.0.weight", 2)[0],
      textDim: try shape("text_embedding.0.weight", 2)[1], freqDim: try shape("time_embedding.0.weight", 2)[1],
      numHeads: dim / headDim, numLayers: count("blocks.", ".modulation"), patchSize: Array(patch[2...]),
      audioStates: try shape("\(encoder).weights", 4)[1], audioDim: local[1], audioTokens: local[0] / max(1, dim / 4),
      audioLayers: layers)
  }

  /// Why no model can have these sizes, or nil.
  package var problem: String? {
    if dim <= 0 || numHeads <= 0 || dim % numHeads != 0 {
      return "a width of \(dim) does not divide into \(numHeads) heads"
    }
    if headDim % 2 != 0 || headDim < 6 {
      return "heads of width \(headDim) do not divide into even parts for time, height and width"
    }
    if dim % 4 != 0 || audioTokens <= 0 { return "a width of \(dim) does not divide into 4 parts for the sound" }
    if inDim != outDim { return "it takes \(inDim) channels and gives \(outDim)" }
    if patchSize.count != 3 || patchSize[0] != 1 { return "patches of \(patchSize) are not [1, height, width]" }
    if Set(audioLayers).count != audioLayers.count || !audioLayers.allSatisfy((0..<numLayers).contains) {
      return "sound cannot be added after the layers \(audioLayers) of \(numLayers)"
    }
    return nil
  }

  /// The sizes that other Wan transformers have too.
  var trunk: WanTrunkConfiguration {
    WanTrunkConfiguration(
      dim: dim, inDim: inDim, ffnDim: ffnDim, outDim: outDim, textDim: textDim, freqDim: freqDim, numHeads: numHeads,
      numLayers: numLayers, patchSize: patchSize, eps: eps)
  }
}
