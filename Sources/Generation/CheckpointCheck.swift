import Foundation
import Models
import NN
import TextTokenizer
import Torch

extension CheckpointFolder {
  /// Compares every key and shape of a part with the model that its sizes make. Nothing is converted or moved: what a mapped
  /// file holds stays there, so that gigabytes are judged in a moment.
  ///
  /// - Throws: `CheckpointMismatch` with all keys that are wrong, or `FileError`.
  public func verify(_ part: Part) throws {
    let file = try require(part)
    switch part {
    case .transformer:
      let weights = try readWeights(file)
      let configuration = try WanTransformerConfiguration(readingFrom: weights, headDim: settings.headDim)
      if let problem = configuration.problem { throw FileError(file, problem) }
      let store = ParameterStore(weights: weights, name: file.path)
      _ = try WanTransformer(configuration, store.root)
      try store.finish()
    case .vae: _ = try loadVAE()
    case .textEncoder: _ = try UMT5Encoder(weights: try readWeights(file), name: file.path)
    case .audioEncoder:
      let configuration = try Wav2Vec2Configuration(contentsOf: try require(.audioConfiguration))
      _ = try Wav2Vec2(configuration, weights: try readWeights(file), name: file.path)
    case .audioConfiguration: _ = try Wav2Vec2Configuration(contentsOf: file)
    case .tokenizer: _ = try Tokenizer(contentsOf: file)
    case .faceReader: _ = try loadFaceReader()
    }
  }

  /// Checks the weights of every part that generation needs; see `verify(_:)`. The tokenizer takes seconds to read and is left to its use.
  public func verifyWeights() throws {
    try withTorchErrors { for part in Part.allCases where part != .tokenizer && !part.isOptional { try verify(part) } }
  }
}
