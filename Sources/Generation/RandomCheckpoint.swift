import Basics
package import Foundation
import Models
import NN
package import Torch

/// Writes a checkpoint of random weights in the layout of the published files, for benchmarks and tests.
///
/// One tensor is in memory at a time.
package struct RandomCheckpoint: Sendable {
  /// The names, types and shapes of one file's tensors, and how they start.
  package struct Layout: Sendable {
    package struct Entry: Sendable {
      package let name: String
      package let shape: [Int]
      package let dtype: DType
      let initial: ParameterStore.Initial
      package var byteCount: Int { shape.reduce(1, *) * dtype.size }
    }

    package let entries: [Entry]
    package var byteCount: Int { entries.map(\.byteCount).reduce(0, +) }
    package var parameterCount: Int { entries.map { $0.shape.reduce(1, *) }.reduce(0, +) }

    init(_ dtype: DType, _ build: (ParameterPath) throws -> Void) rethrows {
      let store = ParameterStore.shapes()
      try build(store.root)
      entries = store.layout.map { Entry(name: $0.name, shape: $0.shape, dtype: dtype, initial: $0.initial) }
    }

    var announced: [(name: String, dtype: DType, shape: [Int])] { entries.map { ($0.name, $0.dtype, $0.shape) } }
  }

  package let seed: UInt64
  /// The files with tensors.
  package let layouts: [CheckpointFolder.Part: Layout]
  private let family: ModelFamily
  private let audioEncoder: Wav2Vec2Configuration
  private let vocabulary: Int
  private let settings: CheckpointSettings
  /// The published configuration beside the transformer, where the family has one.
  private var transformerConfiguration: [String: any Sendable] = [:]

  /// Parts with tensors, in the order in which they are written.
  package static let parts: [CheckpointFolder.Part] = [.transformer, .vae, .audioEncoder, .textEncoder, .adapter]

  /// - Parameter dtype: of all weights; nil for the published types: bf16 for the text encoder, fp32 for the rest.
  /// - Throws: `TorchError` for a preset whose sizes cannot be.
  package init(_ preset: ModelPreset, seed: UInt64 = 0, dtype: DType? = nil) throws {
    family = .liveTalk
    self.seed = seed
    (audioEncoder, vocabulary) = (preset.audioEncoder, preset.textEncoder.vocabulary)
    settings = preset.settings(provenance: Self.provenance(preset.name, seed))
    layouts = [
      .transformer: try Layout(dtype ?? .float32) { _ = try WanTransformer(preset.transformer, $0) },
      .vae: Layout(dtype ?? .float32) { _ = WanVAE(preset.vae, $0) },
      .textEncoder: Layout(dtype ?? .bfloat16) { _ = UMT5Encoder(preset.textEncoder, $0) },
      // The published file is one of a recogniser of 32 letters.
      .audioEncoder: Self.audioLayout(preset.audioEncoder, letters: 32, dtype),
    ]
  }

  /// The same in the layout of Live Avatar, with an adapter beside its base.
  package init(_ preset: LiveAvatarPreset, seed: UInt64 = 0, dtype: DType? = nil) throws {
    family = .liveAvatar
    self.seed = seed
    (audioEncoder, vocabulary) = (preset.audioEncoder, preset.textEncoder.vocabulary)
    settings = preset.settings(provenance: Self.provenance(preset.name, seed))
    let transformer = try Layout(dtype ?? .bfloat16) { _ = try WanS2VTransformer(preset.transformer, $0) }
    layouts = [
      .transformer: transformer,
      .adapter: Layout(dtype ?? .bfloat16) { root in
        for entry in transformer.entries where Self.isAdapted(entry.name) {
          let layer = root / String(entry.name.dropLast(".weight".count))
          _ = (layer / "lora_A" / "default").parameter(
            "weight", [preset.rank, entry.shape[1]], .uniform(fanIn: entry.shape[1]))
          _ = (layer / "lora_B" / "default").parameter(
            "weight", [entry.shape[0], preset.rank], .normal(deviation: 0.01))
        }
      },
      .vae: Layout(dtype ?? .float32) { _ = WanVAE(preset.vae, $0) },
      .textEncoder: Layout(dtype ?? .bfloat16) { _ = UMT5Encoder(preset.textEncoder, $0) },
      .audioEncoder: Self.audioLayout(preset.audioEncoder, letters: 33, dtype),
    ]
    let (sizes, trunk) = (preset.transformer, preset.transformer.trunk)
    transformerConfiguration = [
      "_class_name": "WanModel_S2V", "model_type": "s2v", "dim": trunk.dim, "ffn_dim": trunk.ffnDim,
      "freq_dim": trunk.freqDim, "in_dim": trunk.inDim, "out_dim": trunk.outDim, "cond_dim": sizes.condDim,
      "num_heads": trunk.numHeads, "num_layers": trunk.numLayers, "audio_dim": sizes.audioDim,
      "audio_inject_layers": sizes.audioLayers, "num_audio_token": sizes.audioTokens, "eps": trunk.eps,
      "enable_adain": true, "adain_mode": "attn_norm", "enable_framepack": true, "zero_timestep": true,
    ]
  }

  private static func provenance(_ preset: String, _ seed: UInt64) -> String {
    "random weights made by livetalk checkpoint init --preset \(preset) --seed \(seed)"
  }

  private static func audioLayout(_ sizes: Wav2Vec2Configuration, letters: Int, _ dtype: DType?) -> Layout {
    Layout(dtype ?? .float32) { root in
      _ = Wav2Vec2(sizes, root / "wav2vec2")
      _ = Linear(sizes.width, letters, root / "lm_head")
    }
  }

  /// Whether Live Avatar's adapter has factors for this weight.
  private static func isAdapted(_ key: String) -> Bool {
    ["q", "k", "v", "o", "ffn.0", "ffn.2"].contains { key.hasSuffix(".\($0).weight") }
  }

  /// Bytes that the folder takes.
  package var byteCount: Int {
    // The headers of the files, the tokenizer and the settings are small.
    layouts.values.map { $0.byteCount + 256 * $0.entries.count }.reduce(0, +) + 1 << 20
  }

  /// Writes the folder, whose parent must exist.
  ///
  /// It is filled under another name beside its place and renamed when whole.
  /// - Parameters:
  ///   - started: told the name under which it is filled.
  ///   - progress: told the bytes that are written, now and then.
  /// - Throws: `FileError` for a place that is taken or cannot be written, or that lacks room.
  package func write(to root: URL, started: (URL) -> Void = { _ in }, progress: (Int) -> Void = { _ in }) throws {
    let manager = FileManager.default
    if let content = try? manager.contentsOfDirectory(atPath: root.path) {
      guard content.isEmpty else { throw FileError(root, "the folder is not empty") }
    } else if manager.fileExists(atPath: root.path) {
      throw FileError(root, "a file of that name is in the way")
    }
    let parent = root.standardizedFileURL.deletingLastPathComponent()
    try requireRoom(in: parent, for: root)
    let folder = try PartialFolder(linkTarget(root.standardizedFileURL))
    let partial = folder.url
    started(partial)
    do {
      try fill(partial, progress)
      try folder.commit()
    } catch {
      folder.discard()
      // The sentence names the place that was asked for.
      if let error = error as? FileError, error.path.hasPrefix(partial.path) {
        throw FileError(root.appendingPathComponent(String(error.path.dropFirst(partial.path.count))), error.reason)
      }
      throw error
    }
  }

  private func requireRoom(in parent: URL, for root: URL) throws {
    var status = statvfs()
    guard statvfs(parent.path, &status) == 0 else {
      throw FileError(root, errno == ENOENT ? "there is no folder \(parent.path)" : systemReason())
    }
    let free = Int(status.f_bavail) * Int(status.f_frsize)
    guard free >= byteCount else {
      throw FileError(root, "it takes \(byteText(byteCount)) and the disk has \(byteText(free)) left")
    }
  }

  private func fill(_ root: URL, _ progress: (Int) -> Void) throws {
    var written = 0
    for (number, part) in Self.parts.enumerated() {
      guard let layout = layouts[part] else { continue }
      let file = family.place(of: part, in: root)
      try makeFolder(file.deletingLastPathComponent())
      // Each file has numbers of its own, so that none depends on the sizes of another.
      let generator = RandomGenerator(seed: seed &* 31 &+ UInt64(number))
      var entries = layout.entries.makeIterator()
      let next: (String) throws -> Tensor = { name in
        guard let entry = entries.next(), entry.name == name else { throw FileError(file, "'\(name)' is out of order") }
        progress(written)
        written += entry.byteCount
        return entry.initial.tensor(entry.shape, entry.dtype, generator)
      }
      if file.pathExtension == "pth" {
        try writePickle(layout.announced, to: file, tensor: next)
      } else if file.pathExtension == "json" {
        try writeShardedSafetensors(layout.announced, metadata: ["format": "pt"], to: file, tensor: next)
      } else {
        try writeSafetensors(layout.announced, metadata: ["format": "pt"], to: file, tensor: next)
      }
    }
    progress(written)
    try writeText(
      try audioEncoder.fileContents(
        architecture: "Wav2Vec2ForCTC", vocabulary: layouts[.audioEncoder]?.entries.last?.shape[0]),
      to: family.place(of: .audioConfiguration, in: root))
    let tokenizer = family.place(of: .tokenizer, in: root)
    try writeText(try SmallTokenizer.json(vocabulary: vocabulary), to: tokenizer)
    if !transformerConfiguration.isEmpty {
      try writeText(
        try JSONSerialization.data(withJSONObject: transformerConfiguration, options: [.prettyPrinted, .sortedKeys]),
        to: family.place(of: .transformerConfiguration, in: root))
    }
    try settings.write(to: root)
  }

  private func makeFolder(_ url: URL) throws {
    do { try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) } catch {
      throw FileError(url, "it cannot be made")
    }
  }

  private func writeText(_ data: Data, to url: URL) throws {
    try makeFolder(url.deletingLastPathComponent())
    do { try data.write(to: url) } catch { throw FileError(url, "it cannot be written") }
  }
}
