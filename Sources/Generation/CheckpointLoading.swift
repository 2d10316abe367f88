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
  /// The weights of a part under our keys, whatever file they are in.
  package func weights(_ part: Part) throws -> [String: Tensor] {
    try readWeights(try require(part), of: part.keys)
  }

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

  /// The transformer that serves, with the folder's adapters merged into it.
  ///
  /// - Parameter layerDevices: where its layers lie, from `device` on; nil for all on that.
  package func loadTransformer(
    device: Device = .cpu, dtype: DType? = nil, layerDevices: LayerDevices? = nil, checksValues: Bool = true
  ) throws -> WanTransformer {
    try loadTransformer { weights, name in
      let merging = try merge(adapters, into: weights)
      return ParameterStore(
        weights: weights, name: name, device: device, dtype: dtype, isFrozen: true, layerDevices: layerDevices,
        transform: merging.map { merging in { try merging.tensor($0, on: $2) ?? $1 } }, checksValues: checksValues)
    }.model
  }

  /// What adapters do to the weights of a model; nil for none.
  ///
  /// - Throws: `FileError` for one that does not fit, that changes nothing, or that makes another model of it.
  private func merge(_ adapters: [LoRAAdapter], into weights: [String: Tensor]) throws -> LoRAAdapter.Merging? {
    guard !adapters.isEmpty else { return nil }
    for adapter in adapters {
      let merging = try LoRAAdapter.Merging([adapter], into: weights)
      try merging.requireLayout(of: weights, adapter.url)
    }
    return try LoRAAdapter.Merging(adapters, into: weights)
  }

  /// Live Avatar's transformer without its adapter, over a store that the caller makes of the file's weights.
  package func loadS2VTransformer(
    _ makeStore: (_ weights: [String: Tensor], _ name: String) throws -> ParameterStore
  ) throws -> (model: WanS2VTransformer, store: ParameterStore) {
    let file = try require(.transformer)
    let weights = try self.weights(.transformer)
    let configuration = try s2vConfiguration(weights)
    let store = try makeStore(weights, file.path)
    let model = try WanS2VTransformer(configuration, store.root)
    try store.finish()
    return (model, store)
  }

  /// Live Avatar's transformer, its adapter merged into it while it is read.
  ///
  /// - Parameter options: how its weights are kept.
  /// - Throws: `LiveTalkError` too, for devices that are not there.
  package func loadS2VTransformer(
    device: Device = .cpu, dtype: DType? = nil, _ options: WeightOptions = WeightOptions()
  ) throws -> WanS2VTransformer {
    let layerDevices = try layerDevices(options, from: device)
    return try loadS2VTransformer { weights, name in
      let merging = try merge([try ownAdapter(of: weights)] + adapters, into: weights)
      return ParameterStore(
        weights: weights, name: name, device: device, dtype: dtype, isFrozen: true,
        float8: options.float8 ? WanS2VTransformer.float8Layers : nil, offloadsLayers: options.offload,
        layerDevices: layerDevices,
        transform: { key, tensor, device in try merging?.tensor(key, on: device) ?? tensor })
    }.model
  }

  /// Where the layers of the transformer lie under these options, its first ones on `device`.
  ///
  /// - Throws: `LiveTalkError` for a number of layers that it does not have, or devices that are not there.
  package func layerDevices(_ options: WeightOptions, from device: Device) throws -> LayerDevices {
    try options.layerDevices(try transformerSizes().trunk.numLayers, from: device)
  }

  /// How many devices the layers take.
  ///
  /// - Throws: as above.
  package func devicesPerProcess(_ options: WeightOptions) throws -> Int {
    options.layersPerDevice == nil ? 1 : try options.groups(of: try transformerSizes().trunk.numLayers).count
  }

  /// The adapter that makes Live Avatar of its base.
  ///
  /// The published code lets an adapter whose keys name no layer pass, and goes on with the base.
  package func ownAdapter(of base: [String: Tensor]) throws -> LoRAAdapter {
    let (file, adapter) = (try require(.adapter), try ownAdapter())
    let merging = try LoRAAdapter.Merging([adapter], into: base)
    guard merging.layers > 0 else { throw FileError(file, "it names no layer, so that merging it changes nothing") }
    try merging.requireLayout(of: base, file)
    return adapter
  }

  /// The same, not compared with the base. Its scale is the published one, unless settings beside it say another: training writes them.
  package func ownAdapter() throws -> LoRAAdapter {
    let file = try require(.adapter)
    let settings = try LoRASettings(of: file)
    return try LoRAAdapter(
      try readWeights(file), file: file, settings: settings,
      alpha: settings?.alpha == nil ? LoRAAdapter.publishedAlpha : nil)
  }

  /// The video autoencoder, with the statistics of its latents that the settings state.
  package func loadVAE(device: Device = .cpu, dtype: DType? = nil, checksValues: Bool = true) throws -> WanVAE {
    let (file, weights, configuration) = try vaeWeights()
    let store = ParameterStore(
      weights: weights, name: file.path, device: device, dtype: dtype, checksValues: checksValues)
    let vae = WanVAE(configuration, store.root)
    try store.finish()
    return vae
  }

  package func loadAudioEncoder(device: Device = .cpu, dtype: DType? = nil, checksValues: Bool = true) throws
    -> Wav2Vec2
  {
    let file = try require(.audioEncoder)
    let weights = try self.weights(.audioEncoder)
    return try Wav2Vec2(
      try audioConfiguration(of: weights), weights: weights, name: file.path, device: device, dtype: dtype,
      isFrozen: true, checksValues: checksValues)
  }

  package func loadTextEncoder(device: Device = .cpu, dtype: DType? = nil, checksValues: Bool = true) throws
    -> UMT5Encoder
  {
    let file = try require(.textEncoder)
    return try UMT5Encoder(
      weights: try weights(.textEncoder), name: file.path, device: device, dtype: dtype, checksValues: checksValues)
  }

  package func loadTokenizer() throws -> Tokenizer { try Tokenizer(contentsOf: try require(.tokenizer)) }

  /// The network that reads faces off frames.
  package func loadFaceReader(device: Device = .cpu) throws -> FaceReader {
    let file = try require(.faceReader)
    return try FaceReader(weights: try weights(.faceReader), name: file.path, device: device)
  }

  // MARK: - Sizes

  /// What shapes tell, with the file's name where they tell nothing that can be.
  private func sizes<Sizes>(of file: URL, _ read: () throws -> Sizes) throws -> Sizes {
    do { return try read() } catch let error as TorchError {
      throw FileError(file, error.description.hasSuffix(".") ? String(error.description.dropLast()) : error.description)
    }
  }

  private func transformerWeights() throws -> (file: URL, [String: Tensor], WanTransformerConfiguration) {
    let taken = ModelFamily.liveTalk
    guard family.kind == taken.kind else {
      throw FileError(root, "it is a checkpoint of \(family.name), and this takes one of \(taken.name)")
    }
    let file = try require(.transformer)
    let weights = try self.weights(.transformer)
    guard weights["audio_proj.proj.weight"] != nil else {
      throw FileError(
        file,
        "it is a Wan transformer without LiveTalk's layers for sound ('audio_proj'); merge OmniAvatar's adapter into it "
          + "('livetalk checkpoint merge'), or take LiveTalk's own")
    }
    let configuration = try sizes(of: file) {
      try WanTransformerConfiguration(readingFrom: weights, headDim: settings.headDim)
    }
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
    let configuration = try sizes(of: try require(.transformer)) {
      try WanS2VConfiguration(readingFrom: weights, headDim: headDim, audioLayers: stated.audio_inject_layers)
    }
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
      let sizes = try s2vConfiguration(try weights(.transformer))
      return (sizes.trunk, sizes.audioInputDim, \Wav2Vec2Configuration.statesWidth)
    }
  }

  func vaeWeights() throws -> (file: URL, [String: Tensor], WanVAEConfiguration) {
    let file = try require(.vae)
    let weights = try self.weights(.vae)
    let configuration = try sizes(of: file) {
      try WanVAEConfiguration(readingFrom: weights, statistics: settings.latentStatistics)
    }
    guard configuration.temporalStride == geometry.temporalStride else {
      throw FileError(
        file,
        "it makes one latent frame of \(configuration.temporalStride) video frames, and not of \(geometry.temporalStride)"
      )
    }
    return (file, weights, configuration)
  }

  /// The sizes of the speech encoder, as its configuration says; its weights must have as many layers.
  package func audioConfiguration(of weights: [String: Tensor]) throws -> Wav2Vec2Configuration {
    let file = try require(.audioConfiguration)
    let sizes = try Wav2Vec2Configuration(contentsOf: file)
    if let problem = sizes.contradiction(of: weights) { throw FileError(file, problem) }
    return sizes
  }

  // MARK: - Checks

  /// Compares every key and shape of a part with the model that its sizes make. Nothing is converted or moved: what a mapped
  /// file holds stays there, so that gigabytes are judged in a moment.
  ///
  /// - Parameter values: whether all values are read too, and must be finite; else loading finds those that are not.
  package func verify(_ part: Part, values: Bool = false) throws {
    switch part {
    case .transformer:
      switch family.kind {
      case .liveTalk: _ = try loadTransformer(checksValues: values)
      case .liveAvatar: try verifyS2VTransformer(checksValues: values)
      }
    case .transformerConfiguration: _ = try s2vConfiguration(try weights(.transformer))
    case .adapter: _ = try ownAdapter(of: try weights(.transformer))
    case .vae: _ = try loadVAE(checksValues: values)
    case .textEncoder: _ = try loadTextEncoder(checksValues: values)
    case .audioEncoder: _ = try loadAudioEncoder(checksValues: values)
    case .audioConfiguration: _ = try Wav2Vec2Configuration(contentsOf: try require(.audioConfiguration))
    case .tokenizer: _ = try loadTokenizer()
    case .faceReader: _ = try loadFaceReader()
    }
  }

  /// As `loadS2VTransformer`, without the adapter: what is mapped stays where it is.
  private func verifyS2VTransformer(checksValues: Bool) throws {
    let file = try require(.transformer)
    let weights = try self.weights(.transformer)
    // Not frozen: layers of a frozen model may copy their weights.
    let store = ParameterStore(weights: weights, name: file.path, checksValues: checksValues)
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
      .audioEncoder, { try audioConfiguration(of: try weights(.audioEncoder))[keyPath: sizes.audioWidth] },
      sizes.audioInputDim, "features a frame")
    try check(
      .textEncoder, { try UMT5Configuration(readingFrom: try weights(.textEncoder), name: "").width },
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
