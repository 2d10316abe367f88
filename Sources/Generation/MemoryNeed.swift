import Basics
import Models
package import Torch

extension CheckpointFolder {
  /// Bytes of the device that generating a clip takes at least: what `MemoryEstimate` counts of a session, and the transformer's and the
  /// autoencoder's weights where they do not stay in their files. What else is needed is small beside these, or depends on the device; so
  /// this is no promise, but less is not enough. Nothing is allocated for it.
  ///
  /// - Parameters:
  ///   - options: with the latent frames of the clip, for a policy that keeps them all.
  ///   - float8: whether most linear layers are kept in 8 bits.
  ///   - offload: whether the transformer's layers stay in host memory.
  ///   - stage: what this process does in a pipeline; nil for all.
  /// - Throws: `FileError` and the like where sizes cannot be read.
  package func leastMemory(
    _ size: ReferencePicture.Size, _ options: SessionOptions, device: Device, dtype: DType, float8: Bool = false,
    offload: Bool = false, stage: (steps: Range<Int>, decodes: Bool)? = nil
  ) throws -> Int {
    let session = try sessionMemory(size, options, dtype: dtype, float8: float8, stage: stage)
    var transformer = try weights(.transformer)
    let (_, autoencoder, _) = try vaeWeights()
    if stage?.steps.isEmpty == true { transformer = [:] }
    if offload, !device.isCPU { transformer = transformer.filter { !$0.key.hasPrefix("blocks.") } }
    return session.cacheBytes + session.activationBytes
      + copied(transformer, device, dtype, bytes: float8 ? 1 : dtype.size)
      + copied(autoencoder, device, dtype, bytes: dtype.size)
  }

  /// What a session takes beside the weights; parameters and errors as above.
  package func sessionMemory(
    _ size: ReferencePicture.Size, _ options: SessionOptions, dtype: DType, float8: Bool = false,
    stage: (steps: Range<Int>, decodes: Bool)? = nil
  ) throws -> MemoryEstimate {
    let transformer = try weights(.transformer)
    let (_, _, vae) = try vaeWeights()
    return switch family.kind {
    case .liveTalk:
      try MemoryEstimate(
        sessionOf: WanTransformerConfiguration(readingFrom: transformer, headDim: settings.headDim), vae, size, dtype,
        textRows: settings.textRows, options: options)
    case .liveAvatar:
      try MemoryEstimate(
        sessionOf: s2vConfiguration(transformer), vae, size, dtype, float8: float8, textRows: settings.textRows,
        options: LiveAvatarOptions(options), stage: stage ?? (0..<options.steps, true))
    }
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
