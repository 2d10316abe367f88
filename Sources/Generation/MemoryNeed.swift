import Basics
import Models
package import NN
package import Torch

extension CheckpointFolder {
  /// Bytes of each device that generating a clip takes at least: what `MemoryEstimate` counts of a session, and the transformer's and the
  /// autoencoder's weights where they do not stay in their files. What else is needed is small beside these, or depends on the device; so
  /// this is no promise, but less is not enough. Nothing is allocated for it.
  ///
  /// - Parameters:
  ///   - options: with the latent frames of the clip, for a policy that keeps them all.
  ///   - devices: where the transformer's layers lie.
  ///   - weights: how they are kept.
  ///   - stage: what this process does in a pipeline; nil for all.
  /// - Throws: `FileError` and the like where sizes cannot be read.
  package func leastMemory(
    _ size: ReferencePicture.Size, _ options: SessionOptions, on devices: LayerDevices, dtype: DType,
    weights: WeightOptions = WeightOptions(), stage: (steps: Range<Int>, decodes: Bool)? = nil
  ) throws -> [(device: Device, bytes: Int)] {
    let sessions = try sessionMemory(size, options, on: devices, dtype: dtype, float8: weights.float8, stage: stage)
    var transformer = try self.weights(.transformer)
    let (_, autoencoder, _) = try vaeWeights()
    if stage?.steps.isEmpty == true { transformer = [:] }
    if weights.offload, !devices.first.isCPU { transformer = transformer.filter { !$0.key.hasPrefix("blocks.") } }
    let places = try parameterDevices(devices)
    return sessions.map { device, session in
      let own = transformer.filter { (places[$0.key] ?? devices.first) == device }
      let autoencoder = device == devices.first ? copied(autoencoder, device, dtype, bytes: dtype.size) : 0
      let weights = copied(own, device, dtype, bytes: weights.float8 ? 1 : dtype.size) + autoencoder
      return (device, session.cacheBytes + session.activationBytes + weights)
    }
  }

  /// What a session takes of each device beside the weights; parameters and errors as above.
  package func sessionMemory(
    _ size: ReferencePicture.Size, _ options: SessionOptions, on devices: LayerDevices, dtype: DType,
    float8: Bool = false, stage: (steps: Range<Int>, decodes: Bool)? = nil
  ) throws -> [(device: Device, memory: MemoryEstimate)] {
    let transformer = try weights(.transformer)
    let (_, _, vae) = try vaeWeights()
    return try devices.held.map { group in
      let memory =
        switch family.kind {
        case .liveTalk:
          try MemoryEstimate(
            sessionOf: WanTransformerConfiguration(readingFrom: transformer, headDim: settings.headDim), vae, size,
            dtype, textRows: settings.textRows, options: options, layers: group.layers, onProcessor: group.device.isCPU)
        case .liveAvatar:
          try MemoryEstimate(
            sessionOf: s2vConfiguration(transformer), vae, size, dtype, float8: float8, textRows: settings.textRows,
            options: LiveAvatarOptions(options), stage: stage ?? (0..<options.steps, true), layers: group.layers,
            onProcessor: group.device.isCPU)
        }
      return (group.device, memory)
    }
  }

  /// The device of each of the transformer's parameters.
  private func parameterDevices(_ devices: LayerDevices) throws -> [String: Device] {
    let store = ParameterStore.shapes(layerDevices: devices)
    let transformer = try weights(.transformer)
    switch family.kind {
    case .liveTalk:
      _ = try WanTransformer(
        WanTransformerConfiguration(readingFrom: transformer, headDim: settings.headDim), store.root)
    case .liveAvatar: _ = try WanS2VTransformer(s2vConfiguration(transformer), store.root)
    }
    return Dictionary(uniqueKeysWithValues: store.layout.map { ($0.name, $0.device) })
  }

  /// Bytes of the weights that are copied: on the CPU those of another type, elsewhere all.
  private func copied(_ weights: [String: Tensor], _ device: Device, _ dtype: DType, bytes: Int) -> Int {
    weights.values.reduce(0) { $0 + ($1.dtype == dtype && device.isCPU ? 0 : $1.count * bytes) }
  }
}

extension Device {
  /// Refuses work that takes more memory than the device has.
  ///
  /// - Parameters:
  ///   - what: the work, as the beginning of a sentence: "A video of 512x512".
  ///   - remedy: what takes less.
  /// - Returns: a sentence for the user, where it is a large part of what is there.
  /// - Throws: `LiveTalkError`.
  package func requireMemory(_ bytes: Int, for what: String, remedy: String) throws -> String? {
    guard let there = capacity else { return nil }
    guard bytes <= there else {
      throw LiveTalkError(
        "\(what) takes at least \(byteText(bytes)) of memory, and \(isCPU ? "this process may have" : "\(self) has") "
          + "\(byteText(there)): \(remedy).")
    }
    return bytes > there / 4 ? "\(what) takes at least \(byteText(bytes)) of \(byteText(there)) of memory." : nil
  }

  /// Bytes that work may take: what the process may have on the CPU, what is free on a GPU; nil where that is not known.
  private var capacity: Int? { isCPU ? memoryLimit() : freeMemory }
}
