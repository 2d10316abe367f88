import Basics
import Foundation
package import Models
package import NN
package import TextTokenizer
package import Torch

/// The models of a checkpoint, each loaded in one place: serving, preparation, training and inspection read them by these.
///
/// Without a type the weights stay as they are stored, where the file is mapped even in its pages. All throw `FileError`, `TorchError`, or
/// `CheckpointMismatch` with all keys that are wrong.
extension CheckpointFolder {
  /// The transformer over a store that the caller makes of the file's weights: frozen, trained, or with LoRA factors.
  ///
  /// - Parameter makeStore: given the weights and the name that errors call them.
  package func loadTransformer(
    _ makeStore: (_ weights: [String: Tensor], _ name: String) throws -> ParameterStore
  ) throws -> (model: WanTransformer, store: ParameterStore) {
    let (file, weights, configuration) = try transformerWeights()
    let store = try makeStore(weights, file.path)
    let model = try WanTransformer(configuration, store.root)
    try store.finish()
    return (model, store)
  }

  /// The transformer that serves.
  package func loadTransformer(device: Device = .cpu, dtype: DType? = nil) throws -> WanTransformer {
    try loadTransformer { ParameterStore(weights: $0, name: $1, device: device, dtype: dtype, isFrozen: true) }.model
  }

  /// Live Avatar's transformer, its adapter merged into it while it is read.
  ///
  /// - Parameter float8: which linear layers are kept in 8 bits; nil for none.
  package func loadS2VTransformer(device: Device = .cpu, dtype: DType? = nil, float8: Float8Layers? = nil) throws
    -> WanS2VTransformer
  {
    let file = try require(.transformer)
    let weights = try readWeights(file)
    let configuration = try s2vConfiguration(weights)
    let merging = try adapter(of: weights)
    let store = ParameterStore(
      weights: weights, name: file.path, device: device, dtype: dtype, isFrozen: true, float8: float8,
      transform: { key, tensor, device in try merging.tensor(key, on: device) ?? tensor })
    let model = try WanS2VTransformer(configuration, store.root)
    try store.finish()
    return model
  }

  /// What the adapter does to the weights of its base.
  ///
  /// The published code lets an adapter whose keys name no layer pass, and goes on with the base.
  private func adapter(of base: [String: Tensor]) throws -> LoRAAdapter.Merging {
    let file = try require(.adapter)
    do {
      let merging = try LoRAAdapter.Merging(
        try readWeights(file), into: base, alpha: LoRAAdapter.publishedAlpha)
      guard merging.layers > 0 else { throw FileError(file, "it names no layer, so that merging it changes nothing") }
      guard merging.layout.count == base.count else {
        throw FileError(file, "it holds \(merging.layout.count - base.count) tensors that are no factors of a layer")
      }
      return merging
    } catch let error as TorchError { throw FileError(file, error.sentence) }
  }

  /// The video autoencoder, with the statistics of its latents that the settings state.
  package func loadVAE(device: Device = .cpu, dtype: DType? = nil) throws -> WanVAE {
    let (file, weights, configuration) = try vaeWeights()
    let store = ParameterStore(weights: weights, name: file.path, device: device, dtype: dtype)
    let vae = WanVAE(configuration, store.root)
    try store.finish()
    return vae
  }

  package func loadAudioEncoder(device: Device = .cpu, dtype: DType? = nil) throws -> Wav2Vec2 {
    let file = try require(.audioEncoder)
    return try Wav2Vec2(
      try audioConfiguration(), weights: try readWeights(file), name: file.path, device: device, dtype: dtype,
      isFrozen: true)
  }

  package func loadTextEncoder(device: Device = .cpu, dtype: DType? = nil) throws -> UMT5Encoder {
    let file = try require(.textEncoder)
    return try UMT5Encoder(weights: try readWeights(file), name: file.path, device: device, dtype: dtype)
  }

  package func loadTokenizer() throws -> Tokenizer { try Tokenizer(contentsOf: try require(.tokenizer)) }

  /// The network that reads faces off frames.
  package func loadFaceReader(device: Device = .cpu) throws -> FaceReader {
    let file = try require(.faceReader)
    return try FaceReader(weights: try readWeights(file), name: file.path, device: device)
  }

  // MARK: - Sizes

  private func transformerWeights() throws -> (file: URL, [String: Tensor], WanTransformerConfiguration) {
    let taken = ModelFamily.liveTalk
    guard family.kind == taken.kind else {
      throw FileError(root, "it is a checkpoint of \(family.name), and this takes one of \(taken.name)")
    }
    let file = try require(.transformer)
    let weights = try readWeights(file)
    let configuration = try WanTransformerConfiguration(readingFrom: weights, headDim: settings.headDim)
    if let problem = configuration.problem { throw FileError(file, problem) }
    return (file, weights, configuration)
  }

  /// The sizes of Live Avatar's transformer: those that shapes tell, and what its published configuration names besides.
  func s2vConfiguration(_ weights: [String: Tensor]) throws -> WanS2VConfiguration {
    struct Published: Decodable {
      let audio_inject_layers: [Int]?
      let num_heads: Int?
      let dim: Int?
    }
    let file = try require(.transformerConfiguration)
    let data = try readFile(file)
    guard let stated = try? JSONDecoder().decode(Published.self, from: data)
    else { throw FileError(file, "it is not a configuration of a diffusion transformer") }
    let headDim = stated.dim.flatMap { dim in stated.num_heads.map { dim / max(1, $0) } } ?? settings.headDim
    let configuration = try WanS2VConfiguration(
      readingFrom: weights, headDim: headDim, audioLayers: stated.audio_inject_layers)
    if let problem = configuration.problem { throw FileError(file, problem) }
    return configuration
  }

  /// The sizes of the transformer, whichever family it is of, and which width of the speech encoder its audio features have.
  private func transformerSizes() throws -> (
    trunk: WanTrunkConfiguration, audioInputDim: Int, audioWidth: KeyPath<Wav2Vec2Configuration, Int>
  ) {
    switch family.kind {
    case .liveTalk:
      let sizes = try transformerWeights().2
      return (sizes.trunk, sizes.audioInputDim, \Wav2Vec2Configuration.featureWidth)
    case .liveAvatar:
      let sizes = try s2vConfiguration(try readWeights(try require(.transformer)))
      return (sizes.trunk, sizes.audioInputDim, \Wav2Vec2Configuration.statesWidth)
    }
  }

  private func vaeWeights() throws -> (file: URL, [String: Tensor], WanVAEConfiguration) {
    let file = try require(.vae)
    let weights = try readWeights(file)
    let configuration = try WanVAEConfiguration(readingFrom: weights, statistics: settings.latentStatistics)
    guard configuration.temporalStride == geometry.temporalStride else {
      throw FileError(
        file,
        "it makes one latent frame of \(configuration.temporalStride) video frames, and not of \(geometry.temporalStride)"
      )
    }
    return (file, weights, configuration)
  }

  private func audioConfiguration() throws -> Wav2Vec2Configuration {
    try Wav2Vec2Configuration(contentsOf: try require(.audioConfiguration))
  }

  // MARK: - Checks

  /// Compares every key and shape of a part with the model that its sizes make. Nothing is converted or moved: what a mapped
  /// file holds stays there, so that gigabytes are judged in a moment.
  package func verify(_ part: Part) throws {
    switch part {
    case .transformer:
      switch family.kind {
      case .liveTalk: _ = try loadTransformer()
      case .liveAvatar: try verifyS2VTransformer()
      }
    case .transformerConfiguration: _ = try s2vConfiguration(try readWeights(try require(.transformer)))
    case .adapter: _ = try adapter(of: try readWeights(try require(.transformer)))
    case .vae: _ = try loadVAE()
    case .textEncoder: _ = try loadTextEncoder()
    case .audioEncoder: _ = try loadAudioEncoder()
    case .audioConfiguration: _ = try audioConfiguration()
    case .tokenizer: _ = try loadTokenizer()
    case .faceReader: _ = try loadFaceReader()
    }
  }

  /// As `loadS2VTransformer`, without the adapter: what is mapped stays where it is.
  private func verifyS2VTransformer() throws {
    let file = try require(.transformer)
    let weights = try readWeights(file)
    // Not frozen: layers of a frozen model may copy their weights.
    let store = ParameterStore(weights: weights, name: file.path)
    _ = try WanS2VTransformer(try s2vConfiguration(weights), store.root, keepsTypes: true)
    try store.finish()
  }

  /// Checks that the transformer fits the models around it. Parts that are missing are left out.
  package func verifyFit() throws {
    let sizes = try transformerSizes()
    func check(_ part: Part, _ gives: () throws -> Int, _ takes: Int, _ what: String) throws {
      guard file(part) != nil else { return }
      let given = try gives()
      guard given == takes else {
        throw FileError(root, "its \(part.title) gives \(given) \(what) but the transformer takes \(takes)")
      }
    }
    try check(.vae, { try vaeWeights().2.latentChannels }, sizes.trunk.outDim, "latent channels")
    try check(
      .audioEncoder, { try audioConfiguration()[keyPath: sizes.audioWidth] }, sizes.audioInputDim, "features a frame")
    try check(
      .textEncoder, { try UMT5Configuration(readingFrom: try readWeights(try require(.textEncoder)), name: "").width },
      sizes.trunk.textDim, "values a word")
  }

  /// Checks the weights of every part that generation needs and that they fit each other. The tokenizer takes seconds to read and is
  /// left to its use.
  package func verifyWeights() throws {
    try withTorchErrors {
      for part in family.parts where part != .tokenizer && !part.isOptional { try verify(part) }
      try verifyFit()
    }
  }
}
