import Basics
package import Foundation
package import Torch

/// The prepared clips of a folder, memory-mapped: tensors are read when they are used.
package struct PreparedClips: Sendable {
  package let folder: URL
  package let index: ShardIndex
  private let files: [String: SafetensorsFile]

  /// Opens a folder and checks that every tensor of the index is in its shard, whole.
  ///
  /// Only the headers of the shards are read.
  /// - Parameter kinds: those that will do.
  /// - Throws: `LiveTalkError` for a missing, damaged or truncated index or shard, another version, or another kind.
  package init(_ folder: URL, expecting kinds: [ShardKind] = ShardKind.allCases) throws {
    self.folder = folder
    index = try ShardIndex(readingFrom: folder)
    guard kinds.contains(index.kind) else {
      let wanted = kinds.map { "'\($0.rawValue)'" }.joined(separator: " or ")
      throw LiveTalkError(
        "The clips of \(folder.path) are prepared as '\(index.kind.rawValue)', and \(wanted) are needed here.")
    }
    var files: [String: SafetensorsFile] = [:]
    let clips = Dictionary(grouping: index.clips, by: \.shard)
    for name in index.files { files[name] = try checkedShard(name, clips[name] ?? [], folder) }
    self.files = files
  }

  package var count: Int { index.clips.count }

  /// The number of the clip of that id.
  package func number(of id: String) -> Int? { index.clips.firstIndex { $0.id == id } }

  /// A tensor of a clip, as it is in the mapped file; what is written to it stays in this process.
  ///
  /// - Throws: `LiveTalkError` if the clip has no tensor of that name.
  package func tensor(_ clip: Int, _ name: String) throws -> Tensor {
    guard index.clips.indices.contains(clip) else {
      throw LiveTalkError("There is no clip \(clip) in \(folder.path), which has \(count).")
    }
    let record = index.clips[clip]
    guard record.tensors[name] != nil, let file = files[record.shard] else {
      throw LiveTalkError(
        "The clip '\(record.id)' of \(folder.path) has no '\(name)': it was prepared as '\(index.kind.rawValue)'.")
    }
    return try file.tensor("\(record.id)/\(name)")
  }

  /// A tensor of all clips together.
  ///
  /// - Throws: `LiveTalkError` if the folder has none of that name.
  package func shared(_ name: String) throws -> Tensor {
    guard let file = index.shared.flatMap({ files[$0] }), file.entries[name] != nil else {
      throw LiveTalkError("The folder \(folder.path) has no shared '\(name)'.")
    }
    return try file.tensor(name)
  }

  /// The shared tensors.
  package var sharedTensors: [String: TensorRecord] {
    guard let file = index.shared.flatMap({ files[$0] }) else { return [:] }
    return file.entries.mapValues { TensorRecord($0.dtype, $0.shape) }
  }
}

extension ShardIndex {
  /// The names of all files with tensors.
  package var files: [String] { Set(clips.map(\.shard) + [shared].compactMap(\.self)).sorted() }

  /// What is wrong with each file of a folder, by name: it is missing or truncated, does not have what the index says, or holds
  /// values that are no numbers. Every byte is read.
  ///
  /// - Parameter progress: told how many files of how many are read.
  package func problems(in folder: URL, progress: (Int, Int) -> Void = { _, _ in }) -> [String: String] {
    var problems: [String: String] = [:]
    let clips = Dictionary(grouping: clips, by: \.shard)
    for (number, name) in files.enumerated() {
      do {
        let file = try checkedShard(name, clips[name] ?? [], folder)
        for (key, entry) in file.entries.sorted(by: { $0.key < $1.key }) where entry.count > 0 {
          let tensor = try file.tensor(key)
          let isSound = entry.dtype.isFloatingPoint ? tensor.isFinite().to(.uint8).min() : tensor.max() .== tensor.max()
          if try withTorchErrors({ isSound.to(.float32).item }) != 1 {
            problems[name] = "'\(key)' holds values that are no numbers."
            break
          }
        }
      } catch { problems[name] = userSentence(error) }
      progress(number + 1, files.count)
    }
    return problems
  }
}

/// Opens a file of a folder and compares it with the index.
///
/// - Throws: `LiveTalkError`.
private func checkedShard(_ name: String, _ clips: [ClipRecord], _ folder: URL) throws -> SafetensorsFile {
  let file = try openShard(name, in: folder)
  for clip in clips {
    for (name, record) in clip.tensors.sorted(by: { $0.key < $1.key }) {
      guard let entry = file.entries["\(clip.id)/\(name)"] else {
        throw LiveTalkError("The shard \(file.url.path) lacks '\(name)' of the clip '\(clip.id)'.")
      }
      guard TensorRecord(entry.dtype, entry.shape) == record else {
        throw LiveTalkError(
          "The shard \(file.url.path) has '\(name)' of the clip '\(clip.id)' as \(entry.dtype) \(entry.shape), and the "
            + "index as \(record.dtype) \(record.shape).")
      }
    }
  }
  return file
}

/// Opens a shard of a folder.
///
/// - Throws: `LiveTalkError` with the reason: it is missing, truncated, or no safetensors file.
func openShard(_ name: String, in folder: URL) throws -> SafetensorsFile {
  let url = folder.appendingPathComponent(name)
  guard FileManager.default.fileExists(atPath: url.path) else {
    throw LiveTalkError("The shard \(url.path) is missing.")
  }
  do { return try SafetensorsFile(url) } catch let error as FileError {
    throw LiveTalkError("The shard \(error.path) cannot be used: \(error.reason).")
  }
}
