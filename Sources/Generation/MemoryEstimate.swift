import Models
import NN
package import Torch

/// The memory that a session takes, by arithmetic, before anything is loaded.
///
/// It is that of tensors. Not counted are the text encoder, which is gone before the other models come, the runtime (a CUDA context takes
/// half a gigabyte), and what libraries take for themselves: a memory allocator that keeps freed memory (the C library's by default), buffers of
/// convolutions, and on a processor, in fp32, the copies that make small convolutions quick (`conv3d_in_halves`). Weights and caches are exact.
/// Activations are the tensors that are alive at the widest moment of each kind of work, and on a processor attention's buffers: within 10% of
/// the peak of resident memory where the C library gives freed memory back at once.
package struct MemoryEstimate: Sendable, Codable {
  package struct Item: Sendable, Codable, Hashable {
    package var name: String
    package var bytes: Int

    package init(name: String, bytes: Int) { (self.name, self.bytes) = (name, bytes) }
  }

  package var weights: [Item] = []
  /// Weights that stay in host memory beside the device.
  package var host: [Item] = []
  /// What a session keeps from block to block.
  package var caches: [Item] = []
  /// The most that each kind of work takes beside those while it lasts; there is one at a time.
  package var activations: [Item] = []

  package var weightBytes: Int { weights.map(\.bytes).reduce(0, +) }
  package var hostBytes: Int { host.map(\.bytes).reduce(0, +) }
  package var cacheBytes: Int { caches.map(\.bytes).reduce(0, +) }
  /// Of the device.
  package var total: Int { weightBytes + cacheBytes + activationBytes }
  package var activationBytes: Int { activations.map(\.bytes).max() ?? 0 }

  package init(weights: [Item], caches: [Item], activations: [Item]) {
    (self.weights, self.caches, self.activations) = (weights, caches, activations)
  }

  /// What a session's models and options are, for the arithmetic.
  private struct Sizes {
    let vae: WanVAEConfiguration
    let trunk: WanTrunkConfiguration
    /// Those that the device holds.
    let layers: Range<Int>
    let dtype: DType
    let height, width, framesPerBlock: Int  // latent pixels, latent frames

    init(
      _ vae: WanVAEConfiguration, _ trunk: WanTrunkConfiguration, _ layers: Range<Int>?, _ size: ReferencePicture.Size,
      _ dtype: DType, _ framesPerBlock: Int
    ) {
      (self.vae, self.trunk, self.dtype, self.framesPerBlock) = (vae, trunk, dtype, framesPerBlock)
      self.layers = layers ?? 0..<trunk.numLayers
      (height, width) = (size.height / vae.spatialStride, size.width / vae.spatialStride)
    }

    var memory: MemoryShape {
      MemoryShape(
        devices: layers.map { _ in .cpu }, heads: trunk.numHeads, headDim: trunk.headDim, tokensPerFrame: tokens,
        dtype: dtype)
    }
    /// Whether the device has what stands before the layers, and the autoencoder.
    var isFirst: Bool { trunk.isFirst(layers) }
    var tokens: Int { trunk.tokensPerFrame(height: height, width: width) }

    func bytes(_ values: Int) -> Int { values * dtype.size }
  }

  /// A device of one process of Live Avatar.
  ///
  /// - Parameters:
  ///   - weights: how the transformer's are kept.
  ///   - stage: what the process does in a pipeline; nil for all.
  ///   - layers: those that this device holds, beside what stands before the first and the head behind the last; nil for all, on one device.
  ///   - onProcessor: whether the device is this processor and not a GPU: its kernels hold less, and attention has buffers.
  package init(
    _ preset: LiveAvatarPreset, size: ReferencePicture.Size? = nil, dtype: DType,
    weights: WeightOptions = WeightOptions(), options: LiveAvatarOptions = LiveAvatarOptions(),
    stage: (steps: Range<Int>, decodes: Bool)? = nil, layers: Range<Int>? = nil, onProcessor: Bool = false
  ) throws {
    let stage = stage ?? (0..<options.steps, true)
    self.init(
      sessionOf: preset.transformer, preset.vae, size ?? preset.size, dtype, float8: weights.float8,
      textRows: preset.settings(provenance: "").textRows, options: options, stage: stage, layers: layers,
      onProcessor: onProcessor)
    let trunk = preset.transformer.trunk
    let held = layers ?? 0..<trunk.numLayers
    if !stage.steps.isEmpty {
      try addWeights(
        "diffusion transformer", dtype, weights.float8 ? WanS2VTransformer.float8Layers : nil, held, of: trunk,
        offloads: weights.offload
      ) { _ = try WanS2VTransformer(preset.transformer, $0) }
    }
    guard trunk.isFirst(held) else { return }
    try addWeights("video autoencoder", dtype) { _ = WanVAE(preset.vae, $0) }
    if !stage.steps.isEmpty {
      try addWeights("speech encoder", dtype) { _ = Wav2Vec2(preset.audioEncoder, $0) }
    }
  }

  /// What a session of Live Avatar takes beside weights.
  init(
    sessionOf model: WanS2VConfiguration, _ vae: WanVAEConfiguration, _ size: ReferencePicture.Size, _ dtype: DType,
    float8: Bool, textRows: Int, options: LiveAvatarOptions, stage: (steps: Range<Int>, decodes: Bool),
    layers: Range<Int>? = nil, onProcessor: Bool
  ) {
    let sizes = Sizes(vae, model.trunk, layers, size, dtype, options.framesPerBlock)
    if !stage.steps.isEmpty {
      let window = options.windowBlocks * options.framesPerBlock
      let condition = model.conditionTokens(height: sizes.height, width: sizes.width)
      caches = [
        Item(
          name: "blocks, \(stage.steps.count) × \(options.windowBlocks)",
          bytes: stage.steps.count * sizes.memory.byteCount(frames: window)),
        Item(name: "picture and motion", bytes: sizes.bytes(2 * sizes.layers.count * condition * model.dim)),
      ]
      addConditions(sizes, rows: textRows, steps: options.steps, timeType: .float32)
      let sound = model.soundContext(framesPerBlock: options.framesPerBlock, sizes.layers)
      activations.append(
        Item(
          name: "denoising step",
          bytes: model.trunk.passActivations(
            tokens: options.framesPerBlock * sizes.tokens, memory: window * sizes.tokens, beside: condition,
            dtype: dtype, float8: float8, onProcessor: onProcessor)
            + sizes.bytes(sound.modelType) + sound.wide * DType.float32.size))
    }
    addPictures(
      sizes, decodes: stage.decodes, still: WanS2VTransformer.motionVideoFrames, onProcessor: onProcessor)
  }

  /// A session of LiveTalk in one process.
  ///
  /// - Parameters:
  ///   - layers: those that this device holds, as above.
  ///   - onProcessor: as above.
  /// - Throws: `TorchError` for a policy whose window is as long as the clip.
  package init(
    _ preset: ModelPreset, size: ReferencePicture.Size? = nil, dtype: DType, options: SessionOptions = SessionOptions(),
    layers: Range<Int>? = nil, onProcessor: Bool = false
  ) throws {
    try self.init(
      sessionOf: preset.transformer, preset.vae, size ?? preset.size, dtype,
      textRows: preset.settings(provenance: "").textRows, options: options, layers: layers, onProcessor: onProcessor)
    let trunk = preset.transformer.trunk
    let held = layers ?? 0..<trunk.numLayers
    try addWeights("diffusion transformer", dtype, nil, held, of: trunk) {
      _ = try WanTransformer(preset.transformer, $0)
    }
    guard trunk.isFirst(held) else { return }
    try addWeights("video autoencoder", dtype) { _ = WanVAE(preset.vae, $0) }
    try addWeights("speech encoder", dtype) { _ = Wav2Vec2(preset.audioEncoder, $0) }
  }

  /// What a session of LiveTalk takes beside weights.
  ///
  /// - Throws: as the initialiser above.
  init(
    sessionOf model: WanTransformerConfiguration, _ vae: WanVAEConfiguration, _ size: ReferencePicture.Size,
    _ dtype: DType, textRows: Int, options: SessionOptions, layers: Range<Int>? = nil, onProcessor: Bool
  ) throws {
    let sizes = Sizes(vae, model.trunk, layers, size, dtype, options.framesPerBlock)
    guard let window = options.policy.window(clipFrames: options.clipFrames) else {
      throw TorchError("The cache policy 'full' grows with the clip: give a window to count its memory.")
    }
    caches = [Item(name: "blocks, \(window) latent frames", bytes: sizes.memory.byteCount(frames: window))]
    addConditions(sizes, rows: textRows, steps: options.steps, timeType: dtype)
    activations.append(
      Item(
        name: "denoising step",
        bytes: model.trunk.passActivations(
          tokens: options.framesPerBlock * sizes.tokens, memory: window * sizes.tokens, beside: 0, dtype: dtype,
          float8: false, onProcessor: onProcessor)))
    addPictures(sizes, decodes: true, still: 1, onProcessor: onProcessor)
  }

  /// Counts a model's parameters in the types in which they are kept.
  ///
  /// - Parameters:
  ///   - held: the layers of a transformer that the device holds; nil for a model that is on one device.
  ///   - offloads: whether they stay in host memory: two of them at a time are on the device too.
  private mutating func addWeights(
    _ name: String, _ dtype: DType, _ float8: Float8Layers? = nil, _ held: Range<Int>? = nil,
    of trunk: WanTrunkConfiguration? = nil, offloads: Bool = false, _ build: (ParameterPath) throws -> Void
  ) throws {
    // What is counted is on the CPU, whatever the device is; what others hold is nowhere.
    let devices = held.map { held in
      LayerDevices(
        [(0..<held.lowerBound, .meta), (held, .cpu), (held.upperBound..<(trunk?.numLayers ?? 0), .meta)]
          .filter { !$0.layers.isEmpty })
    }
    let store = ParameterStore.shapes(dtype: dtype, float8: float8, layerDevices: devices)
    try build(store.root)
    let bytes = store.byteCount(where: { $1 == .cpu })
    guard offloads, let layers = trunk?.numLayers else { return weights.append(Item(name: name, bytes: bytes)) }
    // A layer's modulation is read with the timesteps, and stays on the device.
    let inHost = store.byteCount(where: { key, _ in key.hasPrefix("blocks.") && !key.hasSuffix(".modulation") })
    weights.append(Item(name: "\(name), without layers", bytes: bytes - inHost))
    weights.append(Item(name: "two of its layers", bytes: 2 * inHost / layers))
    host.append(Item(name: "\(layers) layers", bytes: inHost))
  }

  private mutating func addConditions(_ sizes: Sizes, rows: Int, steps: Int, timeType: DType) {
    let (own, times) = sizes.trunk.timestepContext(sizes.layers)
    let given = sizes.isFirst ? rows * sizes.trunk.textDim : 0
    caches.append(
      Item(
        name: "text, \(rows) rows",
        bytes: sizes.bytes(sizes.trunk.textContext(rows: rows, sizes.layers) + given)))
    caches.append(Item(name: "timesteps", bytes: (steps + 1) * (sizes.bytes(own) + times * timeType.size)))
  }

  /// - Parameter still: video frames for which the picture is encoded.
  private mutating func addPictures(_ sizes: Sizes, decodes: Bool, still: Int, onProcessor: Bool) {
    guard sizes.isFirst else { return }
    let (vae, height, width) = (sizes.vae, sizes.height, sizes.width)
    if decodes {
      caches.append(Item(name: "decoder", bytes: sizes.bytes(vae.decoderHistory(height: height, width: width))))
      activations.append(
        Item(
          name: "decoding of a block",
          bytes: sizes.bytes(
            vae.decodingActivations(
              framesPerBlock: sizes.framesPerBlock, height: height, width: width, dtype: sizes.dtype,
              onProcessor: onProcessor))))
    }
    activations.append(
      Item(
        name: "encoding of the picture, once",
        bytes: sizes.bytes(
          vae.encodingActivations(
            frames: still, height: height, width: width, dtype: sizes.dtype, onProcessor: onProcessor))))
  }
}

extension AvatarModels {
  package func memory(_ size: ReferencePicture.Size, options: SessionOptions) throws -> [MemoryEstimate] {
    try transformer.layerDevices.held.map {
      try MemoryEstimate(
        sessionOf: transformer.config, vae.configuration, size, dtype, textRows: settings.textRows, options: options,
        layers: $0.layers, onProcessor: $0.device.isCPU)
    }
  }
}

extension LiveAvatarModels {
  package func memory(_ size: ReferencePicture.Size, options: SessionOptions) -> [MemoryEstimate] {
    memory(size, options: options, stage: nil)
  }

  /// - Parameter stage: what a process does in a pipeline; nil for all.
  func memory(
    _ size: ReferencePicture.Size, options: SessionOptions, stage: (steps: Range<Int>, decodes: Bool)?
  ) -> [MemoryEstimate] {
    transformer.layerDevices.held.map {
      MemoryEstimate(
        sessionOf: transformer.config, vae.configuration, size, dtype, float8: isFloat8, textRows: settings.textRows,
        options: LiveAvatarOptions(options), stage: stage ?? (0..<options.steps, true), layers: $0.layers,
        onProcessor: $0.device.isCPU)
    }
  }
}
