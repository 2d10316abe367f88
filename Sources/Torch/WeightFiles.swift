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
  case "pth", "pt", "bin": try readPickle(url)
  case let other:
    throw FileError(url, "'.\(other)' is not a format of weights (.safetensors, .index.json, .pth, .pt, .bin)")
  }
}

private struct ShardIndex: Decodable {
  let weight_map: [String: String]
}

private func readSharded(_ url: URL) throws -> [String: Tensor] {
  let data = try readFile(url)
  guard let index = try? JSONDecoder().decode(ShardIndex.self, from: data) else {
    throw FileError(url, "it is not a safetensors index (no 'weight_map')")
  }
  let folder = url.deletingLastPathComponent()
  var tensors: [String: Tensor] = [:]
  for (shard, names) in Dictionary(grouping: index.weight_map.keys, by: { index.weight_map[$0] ?? "" }) {
    guard !shard.contains("/"), shard != ".." else {
      throw FileError(url, "it names the shard '\(shard)' outside its folder")
    }
    let file = try SafetensorsFile(folder.appendingPathComponent(shard))
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
