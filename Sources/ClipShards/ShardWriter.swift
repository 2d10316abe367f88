import Basics
package import Foundation
package import Torch

/// Writes prepared clips into a folder, in shards of a bounded size, and goes on with a folder that was left unfinished.
///
/// Clips are kept in memory until their shard is full or `flush` is called; the shard is then written whole or not at all, and
/// the index after it. A folder that is continued gets the very shards that it would have got without a stop: the last one is
/// written again as long as it is not full. It may be used from several threads.
// Unchecked for what the lock guards.
package final class ShardWriter: @unchecked Sendable {
  package let folder: URL
  /// Bytes of tensors after which a shard is full.
  package let shardLimit: Int
  private let lock = NSLock()
  // All that follows is touched with the lock held.
  private var state: ShardIndex
  private var done: Set<String>
  /// The tensors of the shard that is not full, by clip and name.
  private var open: [(id: String, tensors: [(name: String, tensor: Tensor)])] = []
  private var openBytes = 0
  private var openNumber = 0
  private var isChanged = false
  private let guardian: Int32

  /// Makes the folder, or opens it to go on with it.
  ///
  /// - Parameters:
  ///   - shardLimit: bytes of a shard; a single clip may be larger.
  /// - Throws: `LiveTalkError` for a folder of other clips or settings, one in which another program writes, or one that holds
  ///   something else; `FileError` where it cannot be written.
  package init(_ folder: URL, _ description: ShardDescription, shardLimit: Int = 256 << 20) throws {
    self.folder = folder
    self.shardLimit = max(shardLimit, 1)
    guardian = try ShardWriter.claim(folder)
    do {
      let isNew = !ShardIndex.exists(in: folder)
      if isNew {
        try ShardWriter.requireEmpty(folder)
        state = ShardIndex(description)
      } else {
        // Every shard is looked at: to go on behind a damaged one would hide it.
        let clips = try PreparedClips(folder)
        try ShardWriter.requireSame(clips.index.description, description, folder)
        state = clips.index
      }
      done = Set(state.clips.map(\.id) + state.rejected.map(\.id))
      ShardWriter.removePartialFiles(folder)
      if isNew { try state.write(to: folder) } else { try reopen() }
    } catch {
      close(guardian)
      throw error
    }
  }

  deinit { close(guardian) }

  package var index: ShardIndex { lock.withLock { state } }

  /// Whether a clip is in the folder, or was rejected.
  package func isDone(_ id: String) -> Bool { lock.withLock { done.contains(id) } }

  /// Adds a clip.
  ///
  /// - Throws: `LiveTalkError` for an id that is there already, `FileError` for a full disk: the folder is then as it was after the
  ///   last whole shard.
  package func append(_ id: String, _ metadata: ClipMetadata, _ tensors: [String: Tensor]) throws {
    // Without the lock: a failed operation may end the program, and what then saves the clips takes it.
    let kept = tensors.sorted { $0.key < $1.key }.map { ($0.key, $0.value.detach().to(.cpu).contiguous()) }
    try lock.withLock {
      guard !id.isEmpty, !done.contains(id) else {
        throw LiveTalkError(id.isEmpty ? "A clip has no id." : "The clip '\(id)' is in \(folder.path) already.")
      }
      guard !tensors.isEmpty else { throw LiveTalkError("The clip '\(id)' has no tensors.") }
      let bytes = kept.map { $0.1.byteCount }.reduce(0, +)
      if !open.isEmpty, openBytes + bytes > shardLimit { try endShard() }
      let record = ClipRecord(
        id: id, shard: ShardWriter.name(openNumber), tensors: tensors.mapValues { TensorRecord($0.dtype, $0.shape) },
        caption: metadata.caption, speaker: metadata.speaker, phonemes: metadata.phonemes)
      open.append((id, kept))
      openBytes += bytes
      state.clips.append(record)
      done.insert(id)
      isChanged = true
      if openBytes >= shardLimit { try endShard() }
    }
  }

  /// Notes a clip that cannot be used.
  package func reject(_ id: String, _ reason: String) {
    lock.withLock {
      guard done.insert(id).inserted else { return }
      state.rejected.append(RejectedClip(id: id, reason: reason))
      isChanged = true
    }
  }

  /// Forgets that these clips were rejected, so that they can be tried again.
  package func forgetRejected(where isForgotten: (String) -> Bool) {
    lock.withLock {
      let forgotten = Set(state.rejected.map(\.id).filter(isForgotten))
      guard !forgotten.isEmpty else { return }
      done.subtract(forgotten)
      state.rejected.removeAll { forgotten.contains($0.id) }
      isChanged = true
    }
  }

  /// Writes the tensors of all clips together, in place of those that are there.
  package func writeShared(_ tensors: [String: Tensor]) throws {
    let kept = tensors.mapValues { $0.detach().to(.cpu).contiguous() }
    try lock.withLock {
      try writeSafetensors(kept, to: folder.appendingPathComponent(ShardIndex.sharedName))
      state.shared = ShardIndex.sharedName
      isChanged = true
      try save()
    }
  }

  /// Writes what is in memory: after it nothing is lost if the program ends.
  package func flush() throws { try lock.withLock { try save() } }

  // MARK: - With the lock held

  /// The open shard first, the index after it: what the index names is always there.
  private func save() throws {
    guard isChanged else { return }
    if !open.isEmpty {
      var tensors: [String: Tensor] = [:]
      var layout: [(name: String, dtype: DType, shape: [Int])] = []
      for clip in open {
        for (name, tensor) in clip.tensors {
          tensors["\(clip.id)/\(name)"] = tensor
          layout.append(("\(clip.id)/\(name)", tensor.dtype, tensor.shape))
        }
      }
      // The widest types first: every tensor is then aligned in the file, and is read without a copy.
      let ordered = layout.enumerated().sorted {
        ($1.element.dtype.size, $0.offset) < ($0.element.dtype.size, $1.offset)
      }
      let url = folder.appendingPathComponent(ShardWriter.name(openNumber))
      try writeSafetensors(ordered.map(\.element), to: url) { name in
        guard let tensor = tensors[name] else { throw FileError(url, "no tensor '\(name)'") }
        return tensor
      }
    }
    try state.write(to: folder)
    isChanged = false
  }

  private func endShard() throws {
    try save()
    open = []
    openBytes = 0
    openNumber += 1
  }

  /// Takes up the last shard where it was left.
  private func reopen() throws {
    guard let last = state.clips.last?.shard else { return }
    guard let number = ShardWriter.number(last) else {
      throw LiveTalkError("The folder \(folder.path) was not made by this program: it has a shard '\(last)'.")
    }
    openNumber = number
    let file = try openShard(last, in: folder)
    for clip in state.clips where clip.shard == last {
      // They stay in the mapped file, which lives on when its name is given to the next one.
      let tensors = try clip.tensors.keys.sorted().map { ($0, try file.tensor("\(clip.id)/\($0)")) }
      open.append((clip.id, tensors))
      openBytes += tensors.map { $0.1.byteCount }.reduce(0, +)
    }
    if openBytes >= shardLimit {
      open = []
      openBytes = 0
      openNumber += 1
    }
  }

  // MARK: - The folder

  private static func name(_ number: Int) -> String { String(format: "shard-%05d.safetensors", number) }

  private static func number(_ name: String) -> Int? {
    guard name.hasPrefix("shard-"), name.hasSuffix(".safetensors") else { return nil }
    return Int(name.dropFirst(6).dropLast(12))
  }

  /// Makes the folder where there is none and locks it, until the descriptor is closed or the program ends.
  private static func claim(_ folder: URL) throws -> Int32 {
    if mkdir(folder.path, 0o777) != 0, errno != EEXIST { throw FileError(folder) }
    let descriptor = Foundation.open(folder.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw FileError(folder, errno == ENOTDIR ? "a file of that name is in the way" : systemReason())
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let reason = errno
      Foundation.close(descriptor)
      throw reason == EWOULDBLOCK
        ? LiveTalkError("Another program is writing into \(folder.path).")
        : FileError(folder, systemReason(reason))
    }
    return descriptor
  }

  private static func requireEmpty(_ folder: URL) throws {
    let content = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    guard content.allSatisfy({ isPartial($0) || $0 == ShardIndex.sharedName || number($0) != nil }) else {
      throw LiveTalkError("The folder \(folder.path) holds something else: give a new or an empty one.")
    }
  }

  private static func requireSame(_ old: ShardDescription, _ new: ShardDescription, _ folder: URL) throws {
    var differences: [String] = []
    func compare(_ name: String, _ old: String?, _ new: String?) {
      if old != new { differences.append("\(name): \(old ?? "none") there, \(new ?? "none") now") }
    }
    compare("kind", old.kind.rawValue, new.kind.rawValue)
    compare("frames a second", "\(old.fps)", "\(new.fps)")
    compare("sample rate", "\(old.sampleRate)", "\(new.sampleRate)")
    compare("size", "\(old.width)x\(old.height)", "\(new.width)x\(new.height)")
    for key in Set(old.origin.keys).union(new.origin.keys).sorted() { compare(key, old.origin[key], new.origin[key]) }
    guard differences.isEmpty else {
      throw LiveTalkError(
        "The folder \(folder.path) was prepared with other settings (\(differences.joined(separator: "; "))): give another "
          + "folder, or the same settings.")
    }
  }

  /// Files that a program was writing when it was killed.
  private static func isPartial(_ name: String) -> Bool {
    name.contains(".partial-") && (name.hasPrefix(".shard-") || name.hasPrefix(".index.") || name.hasPrefix(".shared."))
  }

  private static func removePartialFiles(_ folder: URL) {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? [] where isPartial(name) {
      unlink(folder.appendingPathComponent(name).path)
    }
  }
}
