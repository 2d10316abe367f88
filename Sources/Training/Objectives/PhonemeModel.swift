import Basics
package import Foundation
import Generation
package import Models
import NN
package import Torch

/// A linear phoneme classifier over the encoder's hidden states, for each moment about a row.
package struct PhonemeHead: Sendable {
  let output: Linear
  /// One per hidden state; their softmax weighs the states. Nil for the last state alone.
  let stateWeights: Tensor?  // [layers + 1]

  init(_ configuration: Wav2Vec2Configuration, outputs: Int, weighsStates: Bool, _ path: ParameterPath) {
    output = Linear(configuration.width, outputs, path / "output")
    stateWeights = weighsStates ? path.parameter("state_weights", [configuration.layers + 1], .zeros) : nil
  }

  /// states, each `[B, N, C]` → logits `[B, N, moments · symbols]`.
  func callAsFunction(_ states: [Tensor]) -> Tensor {
    guard let stateWeights else { return output(states[states.count - 1]) }
    return output((Tensor.stack(states, -1) * stateWeights.softmax(0)).sum(-1))
  }
}

/// The speech encoder with a phoneme classifier, which only its training needs.
package struct PhonemeModel: Sendable {
  package let encoder: Wav2Vec2
  package let head: PhonemeHead
  package let symbols: PhonemeSymbols
  /// Every parameter by its key: the encoder's as in the files of the avatar, "wav2vec2.…", and "phoneme_head.…".
  package let parameters: [(name: String, tensor: Tensor)]

  package static let headFile = "phoneme-head.safetensors"
  private static let headPrefix = "phoneme_head."

  /// - Parameters:
  ///   - weights: of a pretrained encoder; nil for random ones.
  ///   - generator: of random weights; the model is on its device.
  ///   - moments: how many about each row the head tells the phonemes of.
  ///   - weighsStates: whether the head gets a weighted sum of all hidden states, which are what the avatar gets, or the last one.
  /// - Throws: `CheckpointMismatch` with every key of the weights that is wrong.
  package init(
    _ configuration: Wav2Vec2Configuration, _ symbols: PhonemeSymbols, weights: [String: Tensor]? = nil,
    name: String = "the weights", moments: Int = 1, weighsStates: Bool = false, dtype: DType = .float32,
    _ generator: RandomGenerator
  ) throws {
    let store =
      weights.map {
        // Weights of a mapped file are trained in memory of their own.
        let own = $0.mapValues { $0.copied(to: generator.device, dtype) }
        return ParameterStore(weights: own, name: name, device: generator.device, dtype: dtype)
      } ?? ParameterStore(random: generator, dtype: dtype)
    let headStore = ParameterStore(random: generator, dtype: dtype)
    encoder = Wav2Vec2(configuration, store.root)
    try store.finish(ignoring: Wav2Vec2Keys.ignored)
    head = PhonemeHead(
      configuration, outputs: moments * symbols.count, weighsStates: weighsStates, headStore.root)
    self.symbols = symbols
    parameters =
      store.parameters.map { (Wav2Vec2Keys.prefix + $0.name, $0.tensor) }
      + headStore.parameters.map { (Self.headPrefix + $0.name, $0.tensor) }
  }

  /// Writes the encoder into a checkpoint folder, and the head beside it.
  ///
  /// - Parameter values: by key, in place of parameters, such as their EMA.
  /// - Throws: `FileError`. Files are replaced atomically, the encoder's last.
  package func write(to root: URL, values: [String: Tensor] = [:]) throws {
    let file = ModelFamily.liveTalk.place(of: .audioEncoder, in: root)
    let folder = file.deletingLastPathComponent()
    do { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) } catch {
      throw FileError(folder, "it cannot be made")
    }
    let tensors = Dictionary(
      uniqueKeysWithValues: parameters.map { ($0.name, (values[$0.name] ?? $0.tensor).detach()) })
    let isHead = { (key: String) in key.hasPrefix(Self.headPrefix) }
    let names = String(decoding: try JSONEncoder().encode(symbols.names), as: UTF8.self)
    try writeSafetensors(
      tensors.filter { isHead($0.key) }, metadata: ["symbols": names], to: folder.appendingPathComponent(Self.headFile))
    let configuration = try encoder.configuration.fileContents(architecture: "Wav2Vec2Model")
    try writeAtomically(configuration, to: ModelFamily.liveTalk.place(of: .audioConfiguration, in: root))
    try writeSafetensors(tensors.filter { !isHead($0.key) }, metadata: ["format": "pt"], to: file)
  }
}
