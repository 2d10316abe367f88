import Basics
package import Foundation
package import Torch

/// The sizes of a wav2vec2 encoder: the keys of its `config.json` that matter here. Absent ones are those of the base model.
package struct Wav2Vec2Configuration: Codable, Hashable, Sendable {
  package let width: Int
  package let layers: Int
  package let heads: Int
  package let feedForwardWidth: Int
  /// Of the convolutions over samples, from the first to the last.
  package let convolutionWidths: [Int]
  package let convolutionKernels: [Int]
  package let convolutionStrides: [Int]
  package let convolutionBias: Bool
  package let positionKernel: Int
  package let positionGroups: Int
  package let eps: Double
  /// What the convolutions are normalised by.
  package let convolutionNorm: ConvolutionNorm
  /// Whether a layer normalises what enters its halves, and a last norm stands behind all layers (the large models); else what each
  /// half gives is normalised after it is added (the base model).
  package let normalizesInputs: Bool

  package enum ConvolutionNorm: String, Codable, Sendable {
    /// Each channel of the first convolution over the whole sound.
    case group
    /// All channels of each convolution at every place.
    case layer
  }

  enum CodingKeys: String, CodingKey {
    case width = "hidden_size"
    case layers = "num_hidden_layers"
    case heads = "num_attention_heads"
    case feedForwardWidth = "intermediate_size"
    case convolutionWidths = "conv_dim"
    case convolutionKernels = "conv_kernel"
    case convolutionStrides = "conv_stride"
    case convolutionBias = "conv_bias"
    case positionKernel = "num_conv_pos_embeddings"
    case positionGroups = "num_conv_pos_embedding_groups"
    case eps = "layer_norm_eps"
    case convolutionNorm = "feat_extract_norm"
    case normalizesInputs = "do_stable_layer_norm"
  }

  package init(
    width: Int, layers: Int, heads: Int, feedForwardWidth: Int, convolutionWidths: [Int],
    convolutionKernels: [Int] = [10, 3, 3, 3, 3, 2, 2], convolutionStrides: [Int] = [5, 2, 2, 2, 2, 2, 2],
    convolutionBias: Bool = false, positionKernel: Int = 128, positionGroups: Int = 16, eps: Double = 1e-5,
    convolutionNorm: ConvolutionNorm = .group, normalizesInputs: Bool = false
  ) {
    self.width = width
    self.layers = layers
    self.heads = heads
    self.feedForwardWidth = feedForwardWidth
    self.convolutionWidths = convolutionWidths
    self.convolutionKernels = convolutionKernels
    self.convolutionStrides = convolutionStrides
    self.convolutionBias = convolutionBias
    self.positionKernel = positionKernel
    self.positionGroups = positionGroups
    self.eps = eps
    self.convolutionNorm = convolutionNorm
    self.normalizesInputs = normalizesInputs
  }

  /// jonatasgrosman/wav2vec2-large-xlsr-53-english: 24 layers.
  package static let large = Wav2Vec2Configuration(
    width: 1024, layers: 24, heads: 16, feedForwardWidth: 4096, convolutionWidths: Array(repeating: 512, count: 7),
    convolutionBias: true, convolutionNorm: .layer, normalizesInputs: true)

  /// facebook/wav2vec2-base-960h.
  package static let base = Wav2Vec2Configuration(
    width: 768, layers: 12, heads: 12, feedForwardWidth: 3072, convolutionWidths: Array(repeating: 512, count: 7))

  package init(from decoder: any Decoder) throws {
    let base = Wav2Vec2Configuration.base
    let values = try decoder.container(keyedBy: CodingKeys.self)
    func read<T: Decodable>(_ key: CodingKeys, _ standard: T) throws -> T {
      try values.decodeIfPresent(T.self, forKey: key) ?? standard
    }
    self.init(
      width: try read(.width, base.width), layers: try read(.layers, base.layers),
      heads: try read(.heads, base.heads), feedForwardWidth: try read(.feedForwardWidth, base.feedForwardWidth),
      convolutionWidths: try read(.convolutionWidths, base.convolutionWidths),
      convolutionKernels: try read(.convolutionKernels, base.convolutionKernels),
      convolutionStrides: try read(.convolutionStrides, base.convolutionStrides),
      convolutionBias: try read(.convolutionBias, base.convolutionBias),
      positionKernel: try read(.positionKernel, base.positionKernel),
      positionGroups: try read(.positionGroups, base.positionGroups), eps: try read(.eps, base.eps),
      convolutionNorm: try read(.convolutionNorm, base.convolutionNorm),
      normalizesInputs: try read(.normalizesInputs, base.normalizesInputs))
  }

  /// Reads a `config.json`.
  ///
  /// - Throws: `LiveTalkError` for a file that is not one, sizes that do not fit together, or a variant of the architecture
  ///   that this encoder is not.
  package init(contentsOf url: URL) throws {
    let data: Data
    do { data = try readFile(url) } catch let error as FileError { throw LiveTalkError(error.description) }
    do {
      try JSONDecoder().decode(Variant.self, from: data).check()
      self = try JSONDecoder().decode(Wav2Vec2Configuration.self, from: data)
    } catch let error as LiveTalkError {
      throw LiveTalkError("\(url.path): \(error)")
    } catch {
      throw LiveTalkError("\(url.path): it is not a configuration of wav2vec2.")
    }
    if let problem { throw LiveTalkError("\(url.path): \(problem).") }
  }

  /// Why there can be no such encoder, or nil. What is computed with the sizes of one that can be does not overflow.
  package var problem: String? {
    let sizes: [(key: CodingKeys, values: [Int], most: Int)] = [
      (.width, [width], 1 << 20), (.layers, [layers], 1 << 10), (.heads, [heads], 1 << 20),
      (.feedForwardWidth, [feedForwardWidth], 1 << 20), (.convolutionWidths, convolutionWidths, 1 << 20),
      (.convolutionKernels, convolutionKernels, 1 << 10), (.convolutionStrides, convolutionStrides, 1 << 10),
      (.positionKernel, [positionKernel], 1 << 20), (.positionGroups, [positionGroups], 1 << 20),
    ]
    for (key, values, most) in sizes {
      if let wrong = values.first(where: { !(1...most).contains($0) }) {
        return "its '\(key.rawValue)' is \(wrong), not a number from 1 to \(most)"
      }
    }
    let count = convolutionWidths.count
    if !(1...16).contains(count) || convolutionKernels.count != count || convolutionStrides.count != count {
      return "its 'conv_dim', 'conv_kernel' and 'conv_stride' are not lists of one length up to 16"
    }
    if convolutionStrides.reduce(1.0, { $0 * Double($1) }) > 1_048_576 {
      return "its 'conv_stride' leave no rows of a sound"
    }
    if width % heads != 0 { return "its 'hidden_size' of \(width) does not divide into \(heads) heads" }
    if width % positionGroups != 0 {
      return "its 'hidden_size' of \(width) does not divide into \(positionGroups) groups"
    }
    return eps > 0 && eps < 1 ? nil : "its 'layer_norm_eps' is \(eps), not a number between 0 and 1"
  }

  /// How these sizes contradict the weights they are to be those of, in the number of their layers; nil where they do not. Loading says
  /// what else does.
  package func contradiction(of weights: [String: Tensor]) -> String? {
    func count(_ list: String) -> Int {
      Set(
        weights.keys.filter { $0.hasPrefix(list) }.compactMap { $0.dropFirst(list.count).split(separator: ".").first }
      ).count
    }
    let (found, convolutions) = (count("encoder.layers."), count("feature_extractor.conv_layers."))
    if found != layers { return "its 'num_hidden_layers' is \(layers), and the weights have \(found) layers" }
    return convolutions == convolutionWidths.count
      ? nil : "its 'conv_dim' lists \(convolutionWidths.count) convolutions, and the weights have \(convolutions)"
  }

  /// The choices of a `config.json` that select among architectures, and the ones that this encoder makes.
  private struct Variant: Decodable {
    private enum Key: String, CodingKey, CaseIterable {
      case model = "model_type"
      case featureActivation = "feat_extract_activation"
      case activation = "hidden_act"
      case adapter = "add_adapter"

      var needed: String {
        switch self {
        case .model: "wav2vec2"
        case .featureActivation, .activation: "gelu"
        case .adapter: "false"
        }
      }
    }

    private var refusal: LiveTalkError?

    init(from decoder: any Decoder) throws {
      let values = try decoder.container(keyedBy: Key.self)
      for key in Key.allCases where values.contains(key) {
        let text = try? values.decode(String.self, forKey: key)
        let flag = try? values.decode(Bool.self, forKey: key)
        let value = text ?? flag.map { "\($0)" } ?? "null"
        if value != key.needed {
          refusal = LiveTalkError("'\(key.rawValue)' is \(value), but only \(key.needed) is supported.")
          return
        }
      }
    }

    func check() throws {
      if let refusal { throw refusal }
    }
  }

  /// A `config.json` of these sizes, with the keys of the published one that say something about the architecture.
  ///
  /// - Parameter architecture: the class that the published tools make of it.
  package func fileContents(architecture: String, vocabulary: Int? = nil) throws -> Data {
    let sizes = try JSONSerialization.jsonObject(with: JSONEncoder().encode(self)) as? [String: Any] ?? [:]
    var kind: [String: Any] = [
      "model_type": "wav2vec2", "architectures": [architecture], "feat_extract_activation": "gelu",
      "hidden_act": "gelu",
    ]
    kind["vocab_size"] = vocabulary
    return try JSONSerialization.data(
      withJSONObject: sizes.merging(kind) { $1 }, options: [.prettyPrinted, .sortedKeys])
  }

  /// Width of all hidden states of one place: before the first layer and after each.
  package var statesWidth: Int { (layers + 1) * width }

  /// Width of the features of one video frame: the last hidden state, and every hidden state from the first.
  package var featureWidth: Int { (layers + 2) * width }

  /// Samples between the starts of neighbouring feature rows: 320, so 50 rows a second at 16 kHz.
  package var hop: Int { convolutionStrides.reduce(1, *) }

  /// Samples that one feature row sees, which is the least that a sound must have: 400.
  package var receptiveField: Int {
    zip(convolutionKernels, convolutionStrides).reversed().reduce(1) { ($0 - 1) * $1.1 + $1.0 }
  }

  /// Feature rows of so many samples.
  package func featureRows(samples: Int) -> Int {
    zip(convolutionKernels, convolutionStrides).reduce(samples) { length, layer in
      length < layer.0 ? 0 : (length - layer.0) / layer.1 + 1
    }
  }

  /// Numbers per video frame: the last hidden state, then all of them.
  package var outputWidth: Int { (layers + 2) * width }
}
