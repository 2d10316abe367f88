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
  guard let data = try? Data(contentsOf: url) else { throw FileError(url, "it cannot be read") }
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
