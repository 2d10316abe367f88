import Torch

/// Sizes of what every Wan transformer has; the names are those of the published configurations.
package struct WanTrunkConfiguration: Hashable, Sendable {
  /// Width of a token.
  package var dim: Int
  /// Channels of the model's input.
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

  package init(
    dim: Int, inDim: Int, ffnDim: Int, outDim: Int = 16, textDim: Int, freqDim: Int, numHeads: Int, numLayers: Int,
    patchSize: [Int] = [1, 2, 2], eps: Double = 1e-6
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
  }

  /// Reads every size that the shapes of a checkpoint tell.
  ///
  /// - Parameter headDim: the one size that no shape tells.
  /// - Throws: `TorchError` naming the key that is missing or has an impossible shape.
  init(readingFrom weights: [String: Tensor], headDim: Int) throws {
    func shape(_ key: String, _ rank: Int) throws -> [Int] { try Self.shape(of: key, rank, in: weights) }
    let patch = try shape("patch_embedding.weight", 5)
    guard headDim > 0, patch[0] % headDim == 0 else {
      throw TorchError("A width of \(patch[0]) does not divide into heads of \(headDim).")
    }
    self.init(
      dim: patch[0], inDim: patch[1], ffnDim: try shape("blocks.0.ffn.0.weight", 2)[0],
      outDim: try shape("head.head.weight", 2)[0] / patch[2...].reduce(1, *),
      textDim: try shape("text_embedding.0.weight", 2)[1], freqDim: try shape("time_embedding.0.weight", 2)[1],
      numHeads: patch[0] / headDim,
      numLayers: weights.keys.count { $0.hasPrefix("blocks.") && $0.hasSuffix(".modulation") },
      patchSize: Array(patch[2...]))
  }

  /// The shape of a tensor of a checkpoint.
  ///
  /// - Throws: `TorchError` where it is missing, empty, or has another number of dimensions.
  static func shape(of key: String, _ rank: Int, in weights: [String: Tensor]) throws -> [Int] {
    guard let tensor = weights[key] else { throw TorchError("The transformer's weights have no '\(key)'.") }
    guard tensor.rank == rank, tensor.shape.allSatisfy({ $0 > 0 }) else {
      throw TorchError("'\(key)' has the shape \(tensor.shape), not \(rank) dimensions.")
    }
    return tensor.shape
  }

  package var headDim: Int { dim / numHeads }

  /// Why no transformer can have these sizes, or nil.
  var problem: String? {
    if dim <= 0 || numHeads <= 0 || dim % numHeads != 0 {
      return "a width of \(dim) does not divide into \(numHeads) heads"
    }
    if patchSize.count != 3 || patchSize[0] != 1 { return "patches of \(patchSize) are not [1, height, width]" }
    return nil
  }

  /// Tokens of one latent frame of the given height and width in latent pixels.
  package func tokensPerFrame(height: Int, width: Int) -> Int { (height / patchSize[1]) * (width / patchSize[2]) }
}
