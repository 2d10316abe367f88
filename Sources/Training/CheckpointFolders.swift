import Basics
package import Distributed
package import Foundation
import Torch

/// The checkpoints of one run: folders `step-00000120` beside each other.
///
/// A checkpoint is written to `step-00000120.partial` and synced; the folder is renamed when all ranks are done. So a folder with its
/// final name is complete, and the last one is kept until the next one is.
package struct CheckpointFolders: Sendable {
  package let folder: URL
  /// At least one.
  package let kept: Int
  private let group: ProcessGroup?
  private var rank: Int { group?.rank ?? 0 }
  private var ranks: Int { group?.size ?? 1 }

  /// - Parameter group: ranks with a shared file system; nil for one process.
  package init(_ folder: URL, keeping kept: Int = 3, group: ProcessGroup? = nil) {
    self.folder = folder
    self.group = group
    self.kept = max(kept, 1)
  }

  private static let partial = ".partial"
  /// A checkpoint of the same step, while the new one takes its place.
  private static let replaced = ".replaced"

  private static func name(_ step: Int) -> String {
    let digits = String(step)
    return "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
  }

  // MARK: - Writing

  /// Writes a checkpoint and removes old ones. A collective call: all ranks make it, each with its own state.
  ///
  /// - Parameter state: what else the run needs to resume: counters, settings.
  /// - Returns: the checkpoint's folder.
  /// - Throws: `FileError` for a full disk and the like, on every rank if on one. The partial folder is removed then, earlier
  ///   checkpoints stay.
  @discardableResult
  package func save(step: Int, state: some Encodable, _ files: [TensorFile]) throws -> URL {
    let done = folder.appendingPathComponent(CheckpointFolders.name(step))
    let partial = URL(fileURLWithPath: done.path + CheckpointFolders.partial)
    do {
      try together(onlyFirst: true) { try begin(partial) }
      try together { try write(step: step, state: state, files, to: partial) }
      try together(onlyFirst: true) { try finish(partial, as: done) }
    } catch {
      if rank == 0 { try? FileManager.default.removeItem(at: partial) }
      throw error
    }
    if rank == 0 { removeOld() }
    return done
  }

  /// Runs `body` on all ranks, or on rank 0; throws on all if it failed on one.
  private func together(onlyFirst: Bool = false, _ body: () throws -> Void) throws {
    let result = Result { if !onlyFirst || rank == 0 { try body() } }
    if let group {
      var failed = false
      if case .failure = result { failed = true }
      if try group.any(failed), !failed {
        throw LiveTalkError("The checkpoints in \(folder.path) failed another rank, which says why.")
      }
    }
    try result.get()
  }

  private func begin(_ partial: URL) throws {
    if FileManager.default.fileExists(atPath: partial.path) { try FileManager.default.removeItem(at: partial) }
    try FileManager.default.createDirectory(at: partial, withIntermediateDirectories: true)
  }

  private func write(step: Int, state: some Encodable, _ files: [TensorFile], to partial: URL) throws {
    var manifest = CheckpointManifest(step: step, rank: rank, ranks: ranks)
    for file in files where file.isShard || rank == 0 {
      let name = file.fileName(rank: rank, ranks: ranks)
      try writeSafetensors(
        file.layout, metadata: file.metadata, to: partial.appendingPathComponent(name), tensor: file.tensor)
      try manifest.add(name, in: partial)
    }
    let stateName = TrainingCheckpoint.stateName(rank: rank, ranks: ranks)
    try write(state, to: partial.appendingPathComponent(stateName))
    try manifest.add(stateName, in: partial)
    try write(manifest, to: partial.appendingPathComponent(CheckpointManifest.name(rank: rank, ranks: ranks)))
  }

  private func write(_ value: some Encodable, to url: URL) throws {
    try writeAtomically(Data(value.jsonText(indented: true).utf8), to: url)
  }

  private func finish(_ partial: URL, as done: URL) throws {
    for rank in 0..<ranks {
      let name = CheckpointManifest.name(rank: rank, ranks: ranks)
      guard FileManager.default.fileExists(atPath: partial.appendingPathComponent(name).path) else {
        throw LiveTalkError(
          "Rank \(rank) sees another folder than rank 0 at \(partial.path): all ranks need the same disk.")
      }
    }
    try CheckpointFolders.flush(partial)
    try CheckpointFolders.replace(done, by: partial)
  }

  /// Replaces a folder; should the process be killed in between, the old one is still there under another name.
  ///
  /// - Throws: `FileError`.
  static func replace(_ folder: URL, by whole: URL) throws {
    let aside = URL(fileURLWithPath: folder.path + CheckpointFolders.replaced)
    if FileManager.default.fileExists(atPath: folder.path) {
      try? FileManager.default.removeItem(at: aside)
      try move(folder, to: aside)
    }
    try move(whole, to: folder)
    try flush(folder.deletingLastPathComponent())
    try? FileManager.default.removeItem(at: aside)
  }

  private static func move(_ url: URL, to other: URL) throws {
    guard rename(url.path, other.path) == 0 else { throw FileError(other) }
  }

  /// Syncs a directory.
  private static func flush(_ folder: URL) throws {
    let descriptor = open(folder.path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError(folder) }
    defer { close(descriptor) }
    // Some network file systems cannot flush folders, and say so.
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw FileError(folder) }
  }

  private func removeOld() {
    for entry in entries().dropLast(kept) {
      // An interrupted removal must not look like a damaged checkpoint.
      let unfinished = URL(fileURLWithPath: entry.url.path + CheckpointFolders.partial)
      try? CheckpointFolders.move(entry.url, to: unfinished)
      try? FileManager.default.removeItem(at: unfinished)
    }
  }

  // MARK: - Reading

  private struct Entry {
    let step: Int
    let url: URL
    let isReplaced: Bool
  }

  /// Folders with a checkpoint's name, oldest first.
  private func entries() -> [Entry] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    let found = names.compactMap { name -> Entry? in
      let isReplaced = name.hasSuffix(CheckpointFolders.replaced)
      let stem = isReplaced ? String(name.dropLast(CheckpointFolders.replaced.count)) : name
      guard stem.hasPrefix("step-"), let step = Int(stem.dropFirst(5)), CheckpointFolders.name(step) == stem else {
        return nil
      }
      return Entry(step: step, url: folder.appendingPathComponent(name), isReplaced: isReplaced)
    }
    return found.sorted { ($0.step, $0.isReplaced ? 0 : 1) < ($1.step, $1.isReplaced ? 0 : 1) }
  }

  /// The newest complete checkpoint, the same on all ranks (a collective call); nil without any. Removes partial folders.
  ///
  /// - Parameter report: gets a sentence, on rank 0, for every damaged checkpoint that is skipped.
  /// - Throws: `LiveTalkError` where all checkpoints are damaged.
  package func newest(report: (String) -> Void) throws -> TrainingCheckpoint? {
    var found: TrainingCheckpoint?
    try together(onlyFirst: true) { found = try findNewest(report) }
    guard let group else { return found }
    let isReplaced = found?.folder.lastPathComponent.hasSuffix(CheckpointFolders.replaced) ?? false
    let numbers = Tensor(
      [found == nil ? 0 : 1, found?.step ?? 0, found?.ranks ?? 0, isReplaced ? 1 : 0].map { Int64($0) },
      device: group.device)
    try group.broadcast(numbers)
    let told = numbers.array(Int64.self).map { Int($0) }
    guard told[0] == 1 else { return nil }
    let name = CheckpointFolders.name(told[1]) + (told[3] == 1 ? CheckpointFolders.replaced : "")
    return TrainingCheckpoint(step: told[1], folder: folder.appendingPathComponent(name), ranks: told[2])
  }

  private func findNewest(_ report: (String) -> Void) throws -> TrainingCheckpoint? {
    removeUnfinished()
    let entries = entries()
    for entry in entries.reversed() {
      do {
        let ranks = try CheckpointManifest.check(entry.url, step: entry.step)
        return TrainingCheckpoint(step: entry.step, folder: entry.url, ranks: ranks)
      } catch {
        var reason = "\(error)"
        if reason.hasSuffix(".") { reason.removeLast() }
        report("The checkpoint \(entry.url.path) is damaged and passed over: \(reason).")
      }
    }
    guard entries.isEmpty else { throw LiveTalkError("None of the checkpoints in \(folder.path) is whole.") }
    return nil
  }

  private func removeUnfinished() {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    for name in names where name.hasPrefix("step-") && name.hasSuffix(CheckpointFolders.partial) {
      try? FileManager.default.removeItem(at: folder.appendingPathComponent(name))
    }
  }
}
