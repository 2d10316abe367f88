import Basics
import Foundation
import Models
import NN
import Testing
import Torch

@testable import Generation

/// A checkpoint of the published size on a disk that could not hold it.
@Suite struct LargeCheckpointTests {
  /// Writes a file of weights that takes almost no room: its data are a hole of the file system, but for the tensors that are given.
  private func writeSparse(_ entries: [RandomCheckpoint.Layout.Entry], _ given: [String: Tensor], to url: URL) throws {
    var header: [String: Any] = [:]
    var places: [String: Int] = [:]
    var end = 0
    for entry in entries {
      #expect(entry.dtype == .bfloat16)
      header[entry.name] = [
        "dtype": "BF16", "shape": entry.shape, "data_offsets": [end, end + entry.byteCount],
      ]
      places[entry.name] = end
      end += entry.byteCount
    }
    var text = try JSONSerialization.data(withJSONObject: header)
    text.append(Data(repeating: UInt8(ascii: " "), count: (8 - text.count % 8) % 8))
    try (withUnsafeBytes(of: UInt64(text.count).littleEndian) { Data($0) } + text).write(to: url)
    let file = try FileHandle(forWritingTo: url)
    for (name, place) in places {
      guard let tensor = given[name] else { continue }
      try file.seek(toOffset: UInt64(8 + text.count + place))
      try file.write(contentsOf: Data(tensor.bytes()))
    }
    try file.truncate(atOffset: UInt64(8 + text.count + end))
    try file.close()
  }

  @Test func `weights of 14B are mapped from their parts, and little of them is read`() throws {
    let folder = try TemporaryFolder()
    let index = ModelFamily.liveAvatar.place(of: .transformer, in: folder.url)
    try FileManager.default.createDirectory(at: index.deletingLastPathComponent(), withIntermediateDirectories: true)
    let layout = try #require(try RandomCheckpoint(LiveAvatarPreset.liveAvatar14B).layouts[.transformer])
    let part = (layout.entries.count + 3) / 4
    let generator = RandomGenerator(seed: 1)
    var (names, given, disk) = ([String: String](), [String: Tensor](), 0)
    for number in 0..<4 {
      let entries = Array(layout.entries[number * part..<min((number + 1) * part, layout.entries.count)])
      for entry in entries where entry.name.hasSuffix(".modulation") {
        given[entry.name] = generator.normal(entry.shape, .bfloat16)
      }
      let name = "diffusion_pytorch_model-0000\(number + 1)-of-00004.safetensors"
      let file = index.deletingLastPathComponent().appendingPathComponent(name)
      try writeSparse(entries, given, to: file)
      var status = stat()
      #expect(stat(file.path, &status) == 0)
      disk += Int(status.st_blocks) * 512
      for entry in entries { names[entry.name] = name }
    }
    try JSONSerialization.data(withJSONObject: ["weight_map": names]).write(to: index)
    // Which layers add sound, no shape tells.
    let sizes = LiveAvatarPreset.liveAvatar14B.transformer
    try JSONSerialization.data(withJSONObject: ["audio_inject_layers": sizes.audioLayers])
      .write(to: ModelFamily.liveAvatar.place(of: .transformerConfiguration, in: folder.url))
    try #require(disk < 100 << 20, "this file system has no holes")

    let before = residentBytes()
    let checkpoint = try CheckpointFolder(folder.url)
    let weights = try checkpoint.weights(.transformer)
    let (model, store) = try checkpoint.loadS2VTransformer { weights, name in
      // Every value would be read to be checked.
      ParameterStore(weights: weights, name: name, isFrozen: true, checksValues: false)
    }
    #expect(model.config == sizes)
    #expect(store.layout.map { $0.shape.reduce(1, *) }.reduce(0, +) == 16_295_755_609)
    #expect(given.count == 40 + 1)
    for (name, tensor) in given { #expect(try #require(weights[name]).equals(tensor), "\(name)") }
    // What reads timesteps and sound is copied, in fp32: 1.0 of 32.6 GB.
    let grown = residentBytes() - before
    #expect(grown < 3 << 30, "\(grown) of \(layout.byteCount) bytes are in memory")
  }
}
