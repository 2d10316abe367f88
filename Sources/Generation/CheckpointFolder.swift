import Basics
package import Foundation
package import Models
import Torch

/// A checkpoint: a folder with the files of a model family, as they were published.
package struct CheckpointFolder: Sendable {
  /// A file of a checkpoint: all that generation needs, and what measures its results.
  package enum Part: String, CaseIterable, Sendable {
    case transformer, transformerConfiguration, adapter, vae, textEncoder, tokenizer, audioEncoder, audioConfiguration
    case faceReader

    /// Whether generation works without it.
    package var isOptional: Bool { self == .faceReader }
    /// Whether it is a file of tensors.
    package var isWeights: Bool {
      switch self {
      case .transformer, .adapter, .vae, .textEncoder, .audioEncoder, .faceReader: true
      case .transformerConfiguration, .tokenizer, .audioConfiguration: false
      }
    }

    /// Which other spellings its keys may have.
    package var keys: ModelKeys {
      switch self {
      case .transformer: .transformer
      case .vae: .vae
      case .textEncoder: .textEncoder
      case .audioEncoder: .audioEncoder
      case .adapter, .faceReader, .transformerConfiguration, .tokenizer, .audioConfiguration: .own
      }
    }

    /// What it is called in messages.
    package var title: String {
      switch self {
      case .transformer: "diffusion transformer"
      case .transformerConfiguration: "diffusion transformer's configuration"
      case .adapter: "adapter of the diffusion transformer"
      case .vae: "video autoencoder"
      case .textEncoder: "text encoder"
      case .tokenizer: "tokenizer"
      case .audioEncoder: "speech encoder"
      case .audioConfiguration: "speech encoder's configuration"
      case .faceReader: "face reader"
      }
    }
  }

  package let root: URL
  package let family: ModelFamily
  package let settings: CheckpointSettings
  /// What is merged into the transformer that serves while it is read, in this order.
  package var adapters: [LoRAAdapter] = []

  /// - Parameter headDim: overrides what the settings say.
  /// - Throws: `FileError` if there is no such folder or its `livetalk.json` is not right.
  package init(_ root: URL, headDim: Int? = nil) throws {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: root.path, isDirectory: &isFolder) else {
      throw FileError(root, "there is no such checkpoint folder")
    }
    guard isFolder.boolValue else { throw FileError(root, "a checkpoint is a folder, not a file") }
    self.root = root
    family = ModelFamily(of: root)
    var settings = try CheckpointSettings(in: root, published: family.settings)
    if let headDim { settings.headDim = headDim }
    self.settings = settings
  }

  /// What its models' video, latents and sound have in common.
  package var geometry: LatentGeometry { family.geometry }

  /// The file of a part, or nil where none of its names is there.
  package func file(_ part: Part) -> URL? {
    let places = family.file(part).allNames.map { root.appendingPathComponent($0) }
    return places.first { FileManager.default.fileExists(atPath: $0.path) }
  }

  /// The file of a part.
  ///
  /// - Throws: `FileError` that names where it was looked for.
  package func require(_ part: Part) throws -> URL {
    guard family.parts.contains(part) else { throw FileError(root, "\(family.name) has no \(part.title)") }
    guard let url = file(part) else {
      throw FileError(root, "the \(part.title) is missing (\(family.file(part).names.joined(separator: " or ")))")
    }
    return url
  }

  /// Checks that every file is there that generation needs.
  ///
  /// - Throws: one `FileError` that lists all missing parts.
  package func requireAll() throws {
    let missing = family.parts.filter { !$0.isOptional && file($0) == nil }
    guard !missing.isEmpty else { return }
    let list = missing.map { "\($0.title) (\(family.file($0).names[0]))" }.joined(separator: ", ")
    throw FileError(root, "the checkpoint lacks the \(list)")
  }
}

/// What no published file of a checkpoint says: `livetalk.json` at its root. Without one the published values hold.
package struct CheckpointSettings: Codable, Equatable, Sendable {
  /// Width of an attention head of the transformer.
  package var headDim: Int
  /// Sizes of video that the model was trained for, height and width in pixels.
  package var imageSizes: [ReferencePicture.Size]
  /// Where the weights come from, in a sentence; shown to users.
  package var provenance: String?
  /// Of the autoencoder's latents; nil for the published ones.
  package var latentStatistics: LatentStatistics?
  /// Rows of encoded text that the transformer reads; nil for the published 512.
  package var textLength: Int?

  /// What the cache keeps where nothing else is asked for, as `KVCachePolicy` spells it; nil for the published policy.
  package var cachePolicy: String?
  /// Where time positions stop growing where nothing else is asked for; nil for the published limit.
  package var positionLimit: Int?

  /// Rows of encoded text that the transformer reads, those past the prompt 0.
  package var textRows: Int { textLength ?? 512 }

  package static let published = CheckpointSettings(
    headDim: 128, imageSizes: [ReferencePicture.Size(height: 512, width: 512)], provenance: nil)

  /// Live Avatar's: about 704×384 pixels in multiples of 64.
  package static let publishedLiveAvatar = CheckpointSettings(
    headDim: 128,
    imageSizes: [(704, 384), (640, 448), (512, 512), (448, 640), (384, 704)].map {
      ReferencePicture.Size(height: $0, width: $1)
    }, provenance: nil)

  static let fileName = "livetalk.json"

  /// What the cache keeps where nothing else is asked for.
  package var policy: KVCachePolicy { cachePolicy.flatMap(KVCachePolicy.init) ?? .livetalk }

  package init(
    headDim: Int, imageSizes: [ReferencePicture.Size], provenance: String?, latentStatistics: LatentStatistics? = nil,
    textLength: Int? = nil
  ) {
    self.textLength = textLength
    self.latentStatistics = latentStatistics
    self.headDim = headDim
    self.imageSizes = imageSizes
    self.provenance = provenance
  }

  /// - Parameter published: what holds where there is no file.
  init(in root: URL, published: CheckpointSettings = .published) throws {
    let url = root.appendingPathComponent(CheckpointSettings.fileName)
    guard FileManager.default.fileExists(atPath: url.path) else {
      self = published
      return
    }
    do {
      let data = try readFile(url)
      let known: Set<String> = [
        "headDim", "imageSizes", "provenance", "latentStatistics", "textLength", "cachePolicy", "positionLimit",
      ]
      let keys = (try JSONSerialization.jsonObject(with: data) as? [String: Any])?.keys.sorted() ?? []
      if let unknown = unknownKeyText(in: keys, known: known) { throw FileError(url, "it has the \(unknown)") }
      self = try JSONDecoder().decode(CheckpointSettings.self, from: data)
    } catch let error as FileError {
      throw error
    } catch {
      throw FileError(url, "it is not a settings file: \(jsonReason(error))")
    }
    let sides = 1...8192
    guard (1...65_536).contains(headDim), (1...512).contains(textRows), !imageSizes.isEmpty,
      imageSizes.allSatisfy({ sides.contains($0.height) && sides.contains($0.width) }),
      (1...(1 << 20)).contains(positionLimit ?? 1)
    else {
      throw FileError(url, "it states an impossible size")
    }
    if let problem = latentStatistics?.problem { throw FileError(url, problem) }
    if let cachePolicy {
      guard let policy = KVCachePolicy(cachePolicy) else {
        throw FileError(url, "its 'cachePolicy' is '\(cachePolicy)', not full, rolling:W or anchor:S/W")
      }
      if let problem = policy.problem(framesPerBlock: LatentGeometry.livetalk.framesPerBlock) {
        throw FileError(url, problem)
      }
    }
    guard (positionLimit ?? TimePositions.publishedLimit) >= (policy.window(clipFrames: nil) ?? 1) else {
      throw FileError(url, "its 'positionLimit' is less than the window of its cache")
    }
  }

  /// Writes `livetalk.json` into a checkpoint folder.
  package func write(to root: URL) throws {
    let url = root.appendingPathComponent(CheckpointSettings.fileName)
    try writeAtomically(Data(try jsonText(indented: true).utf8), to: url)
  }
}
