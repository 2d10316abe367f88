import Basics
package import Foundation

/// Reads the tensors of a checkpoint file, whichever of the published formats it has; nothing in it is executed.
///
/// - `.safetensors`: one file.
/// - `.safetensors.index.json`: its shards, which must all be there and hold what the index promises.
/// - `.pth`, `.pt`, `.bin`: a zip archive of `torch.save`, through `Unpickler`, which knows plain data only.
///
/// Tensors share the mapped file's pages.
/// - Throws: `FileError` with one sentence.
package func readWeights(_ url: URL) throws -> [String: Tensor] {
  switch url.pathExtension.lowercased() {
  case "safetensors": try SafetensorsFile(url).tensors()
  case "json": try readSharded(url)
  case "pth", "pt", "bin": try readPickle(url).tensors
  case let other:
    throw FileError(url, "'.\(other)' is not a format of weights (.safetensors, .index.json, .pth, .pt, .bin)")
  }
}

/// Which dictionary of a `.pth` file its weights are, such as `generator_ema`; empty for the outermost.
///
/// - Throws: as `readWeights`.
package func nameOfPickledWeights(_ url: URL) throws -> String { try readPickle(url).name }

private struct ShardIndex: Decodable {
  let weight_map: [String: String]
}

/// The files that an index names, each with the tensors that it promises there.
private func shards(of url: URL) throws -> [URL: [String]] {
  let data = try readFile(url)
  guard let index = try? JSONDecoder().decode(ShardIndex.self, from: data) else {
    throw FileError(url, "it is not a safetensors index (no 'weight_map')")
  }
  let folder = url.deletingLastPathComponent()
  return try index.weight_map.reduce(into: [:]) { shards, entry in
    guard !entry.value.contains("/"), entry.value != ".." else {
      throw FileError(url, "it names the shard '\(entry.value)' outside its folder")
    }
    shards[folder.appendingPathComponent(entry.value), default: []].append(entry.key)
  }
}

/// The files of a `.safetensors.index.json`, by name.
///
/// - Throws: `FileError` for a file that is none.
package func weightShards(of index: URL) throws -> [URL] { try shards(of: index).keys.sorted { $0.path < $1.path } }

private func readSharded(_ url: URL) throws -> [String: Tensor] {
  var tensors: [String: Tensor] = [:]
  for (shard, names) in try shards(of: url) {
    let file = try SafetensorsFile(shard)
    for name in names { tensors[name] = try file.tensor(name) }
  }
  return tensors
}

/// Writes tensors as safetensors files of limited size with an index, `NAME.safetensors.index.json`: in the order given, one tensor in
/// memory at a time. The index is written last.
///
/// - Parameters:
///   - url: the index; the files are `NAME-00001-of-0000N.safetensors` beside it.
///   - shardBytes: what a file holds at most, but for a tensor that is larger.
/// - Throws: as `writeSafetensors`.
package func writeShardedSafetensors(
  _ layout: [(name: String, dtype: DType, shape: [Int])], metadata: [String: String] = [:], shardBytes: Int = 10 << 30,
  to url: URL, tensor: (String) throws -> Tensor
) throws {
  let ending = ".safetensors.index.json"
  guard url.lastPathComponent.hasSuffix(ending) else { throw FileError(url, "an index ends in \(ending)") }
  var (shards, held, total) = ([layout.prefix(0)], 0, 0)
  for (index, entry) in layout.enumerated() {
    let bytes = entry.shape.reduce(entry.dtype.size, *)
    if held > 0, held + bytes > shardBytes { (held, shards) = (0, shards + [layout[index..<index]]) }
    shards[shards.count - 1] = layout[shards[shards.count - 1].startIndex...index]
    (held, total) = (held + bytes, total + bytes)
  }
  let stem = url.lastPathComponent.dropLast(ending.count)
  var places: [String: String] = [:]
  for (number, shard) in shards.enumerated() {
    let name = String(format: "%@-%05d-of-%05d.safetensors", String(stem), number + 1, shards.count)
    try writeSafetensors(
      Array(shard), metadata: metadata, to: url.deletingLastPathComponent().appendingPathComponent(name), tensor: tensor
    )
    for entry in shard { places[entry.name] = name }
  }
  let index: [String: Any] = ["metadata": ["total_size": total], "weight_map": places]
  let data = try JSONSerialization.data(withJSONObject: index, options: [.prettyPrinted, .sortedKeys])
  try writeAtomically(to: url) { try $0.write(data) }
}
