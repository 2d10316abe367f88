import Basics
import Models
package import Torch

extension CheckpointFolder {
  /// Bytes of the device that generating a clip takes at least: keys and values, what the autoencoder works on, and weights that do not
  /// stay in their files. What else is needed is small beside these, or depends on the device; so this is no promise, but less is not
  /// enough. Nothing is allocated for it.
  ///
  /// - Parameters:
  ///   - clipFrames: latent frames of the clip, for a policy that keeps them all.
  /// - Throws: `FileError` and the like where sizes cannot be read.
  package func leastMemory(
    _ size: ReferencePicture.Size, clipFrames: Int, policy: KVCachePolicy, steps: Int, device: Device, dtype: DType
  ) throws -> Int {
    let transformer = try readWeights(try require(.transformer))
    let autoencoder = try readWeights(try require(.vae))
    let trunk =
      switch family.kind {
      case .liveTalk: try WanTransformerConfiguration(readingFrom: transformer, headDim: settings.headDim).trunk
      case .liveAvatar: try s2vConfiguration(transformer).trunk
      }
    let vae = try WanVAEConfiguration(readingFrom: autoencoder)
    let patch = trunk.patchSize
    let rows =
      (size.height / vae.spatialStride / max(patch[1], 1)) * (size.width / vae.spatialStride / max(patch[2], 1))
    let frames = geometry.framesPerBlock
    let memory = MemoryShape(
      layers: trunk.numLayers, heads: trunk.numHeads, headDim: trunk.headDim, tokensPerFrame: rows, dtype: dtype,
      device: device)
    // Live Avatar has a memory for each step, of its window's blocks but the one in work.
    let cache =
      switch family.kind {
      case .liveTalk: memory.byteCount(frames: policy.window(clipFrames: clipFrames) ?? clipFrames)
      case .liveAvatar: steps * memory.byteCount(frames: 3 * frames)
      }
    // One layer's hidden features of a block, and a block's frames at the decoder's full resolution with those of one convolution.
    let feedForward = frames * rows * trunk.ffnDim * dtype.size
    let pixels = (size.height / vae.patchSize) * (size.width / vae.patchSize)
    let decoding =
      2 * frames * vae.temporalStride * pixels * vae.decoderWidth * (vae.widthMultipliers.first ?? 1) * dtype.size
    return cache + max(feedForward, decoding) + converted(transformer, device, dtype)
      + converted(autoencoder, device, dtype)
  }

  /// Bytes of the weights that are copied: on the CPU those of another type, elsewhere all.
  private func converted(_ weights: [String: Tensor], _ device: Device, _ dtype: DType) -> Int {
    weights.values.reduce(0) { $0 + ($1.dtype == dtype && device.isCPU ? 0 : $1.count * dtype.size) }
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
