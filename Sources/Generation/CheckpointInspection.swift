import Basics
import Foundation
import Models
import Torch

/// What a checkpoint folder holds.
package struct CheckpointInspection: Sendable, Codable {
  /// One file of a checkpoint, or one that is missing.
  package struct Item: Sendable, Codable {
    package var part: String
    package var title: String
    /// The file, or where it would be.
    package var path: String
    /// "safetensors", "safetensors in 3 parts", "PyTorch", "JSON"; nil where it is missing.
    package var format: String?
    /// Bytes on disk, parts included.
    package var bytes: Int?
    package var tensors: Int?
    package var parameters: Int?
    /// Element types with the number of parameters of each.
    package var types: [String: Int]?
    /// The published model that has these numbers.
    package var model: String?
    /// Sizes that its shapes tell.
    package var sizes: String?
    /// The Hugging Face repository that the published file is in.
    package var source: String
    /// Why it cannot be used, or nil.
    package var problem: String?
  }

  package let folder: String
  package let items: [Item]
  /// Where the weights come from, as the folder says.
  package let provenance: String?
  package let imageSizes: [ReferencePicture.Size]
  /// Whether every part is there and fits.
  package let complete: Bool

  /// Looks at every part, those that are optional only where they are there; nothing is thrown for one that is missing or damaged.
  ///
  /// - Parameter values: whether every value is read, to find those that are not finite; else headers alone are, which is quick for any size.
  package init(of folder: CheckpointFolder, values: Bool = true) {
    self.folder = folder.root.path
    let parts = folder.family.parts.filter { !$0.isOptional || folder.file($0) != nil }
    items = parts.map { CheckpointInspection.item($0, folder, values) }
    provenance = folder.settings.provenance
    imageSizes = folder.settings.imageSizes
    complete = items.allSatisfy { $0.problem == nil }
  }

  private static func item(_ part: CheckpointFolder.Part, _ folder: CheckpointFolder, _ values: Bool) -> Item {
    var item = Item(
      part: part.rawValue, title: part.title, path: folder.family.place(of: part, in: folder.root).path,
      source: folder.family.file(part).source)
    guard let file = folder.file(part) else {
      item.problem = "missing"
      return item
    }
    item.path = file.path
    do {
      item.bytes = try size(file)
      item.format = "JSON"
      if part.isWeights {
        item.format = file.pathExtension == "safetensors" ? "safetensors" : "PyTorch"
        let weights = try folder.weights(part)
        if item.format == "PyTorch", let name = try? nameOfPickledWeights(file), !name.isEmpty {
          item.format = "PyTorch, its '\(name)'"
        }
        if file.pathExtension == "json" {
          let shards = try weightShards(of: file)
          item.format = "safetensors in \(shards.count) parts"
          item.bytes = try shards.map(size).reduce(0, +)
        }
        item.tensors = weights.count
        item.parameters = weights.values.map(\.count).reduce(0, +)
        item.types = weights.values.reduce(into: [:]) { $0["\($1.dtype)", default: 0] += $1.count }
        item.model = published.first { $0.tensors == item.tensors && $0.parameters == item.parameters }?.name
        item.sizes = sizes(part, weights, folder)
      }
      try withTorchErrors {
        try folder.verify(part, values: values)
        if part == .transformer { try folder.verifyFit() }
      }
    } catch {
      item.problem = userSentence(error)
    }
    return item
  }

  /// The published models by what tells them apart.
  private static let published: [(name: String, tensors: Int, parameters: Int)] = [
    ("LiveTalk 1.3B", 857, 1_421_187_232), ("OmniAvatar 14B, merged", 1137, 14_293_426_336),
    ("Wan 2.1 VAE", 194, 126_892_531), ("Wan 2.2 VAE", 196, 704_688_668), ("umT5-xxl encoder", 242, 5_680_910_336),
    ("wav2vec2-base-960h", 212, 94_395_552), ("Wan2.2-S2V-14B", 1260, 16_295_755_609),
    ("Live Avatar's adapter", 896, 676_331_520), ("wav2vec2-large-xlsr-53-english", 424, 315_472_545),
  ]

  private static func sizes(
    _ part: CheckpointFolder.Part, _ weights: [String: Tensor], _ folder: CheckpointFolder
  ) -> String? {
    switch part {
    case .transformer:
      func text(_ sizes: WanTrunkConfiguration) -> String {
        "width \(sizes.dim), \(sizes.numLayers) layers, \(sizes.numHeads) heads of \(sizes.headDim), "
          + "feed-forward \(sizes.ffnDim), text \(sizes.textDim)"
      }
      switch folder.family.kind {
      case .liveTalk:
        let sizes = try? WanTransformerConfiguration(readingFrom: weights, headDim: folder.settings.headDim)
        return sizes.map { text($0.trunk) }
      case .liveAvatar:
        let sizes = try? folder.s2vConfiguration(weights)
        return sizes.map { text($0.trunk) + ", sound after \($0.audioLayers.count) layers" }
      }
    case .textEncoder:
      guard let sizes = try? UMT5Configuration(readingFrom: weights, name: "") else { return nil }
      return "width \(sizes.width), \(sizes.layers) layers, \(sizes.heads) heads, \(sizes.vocabulary) words"
    case .vae:
      guard let sizes = try? WanVAEConfiguration(readingFrom: weights) else { return nil }
      let decoder = sizes.decoderWidth == sizes.width ? "" : " (decoder \(sizes.decoderWidth))"
      return "width \(sizes.width)\(decoder), \(sizes.latentChannels) latent channels, "
        + "\(sizes.spatialStride)×\(sizes.spatialStride) pixels each"
    default: return nil
    }
  }

  private static func size(_ file: URL) throws -> Int {
    // Downloads of the Hugging Face tools are links into a cache.
    let attributes = try FileManager.default.attributesOfItem(atPath: file.resolvingSymlinksInPath().path)
    return (attributes[.size] as? NSNumber)?.intValue ?? 0
  }
}
