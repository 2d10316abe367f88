import Foundation
import Torch

/// The checkpoints of one run: folders `step-00000120` beside each other.
///
/// A checkpoint is written into `step-00000120.partial`, every file flushed to the disk, and the folder is renamed when all ranks
/// are done: what has its final name is whole. The last one stays until the next one is whole.
public struct CheckpointFolders: Sendable {
  public let folder: URL
  /// How many checkpoints to keep, at least one.
  public let kept: Int

  public init(_ folder: URL, keeping kept: Int = 3) {
    self.folder = folder
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

  /// Writes the checkpoint of a step and removes those that are too old.
  ///
  /// - Parameter state: counters, generators, settings: what else the run needs to go on.
  /// - Returns: the checkpoint's folder.
  /// - Throws: `FileError` for a full disk and the like; the partial folder is removed then, and the earlier checkpoints stay.
  @discardableResult
  public func save(step: Int, state: some Encodable, _ files: [TensorFile]) throws -> URL {
    let done = folder.appendingPathComponent(CheckpointFolders.name(step))
    let partial = URL(fileURLWithPath: done.path + CheckpointFolders.partial)
    do {
      try begin(partial)
      try write(step: step, state: state, files, rank: 0, ranks: 1, to: partial)
      try finish(partial, as: done, step: step)
    } catch {
      try? FileManager.default.removeItem(at: partial)
      throw error
    }
    removeOld()
    return done
  }

  private func begin(_ partial: URL) throws {
    if FileManager.default.fileExists(atPath: partial.path) { try FileManager.default.removeItem(at: partial) }
    try FileManager.default.createDirectory(at: partial, withIntermediateDirectories: true)
  }

  private func write(
    step: Int, state: some Encodable, _ files: [TensorFile], rank: Int, ranks: Int, to partial: URL
  ) throws {
    var manifest = CheckpointManifest(step: step, rank: rank, ranks: ranks)
    for file in files where file.isShard || rank == 0 {
      let name = file.fileName(rank: rank, ranks: ranks)
      try writeSafetensors(
        file.layout, metadata: file.metadata, to: partial.appendingPathComponent(name), tensor: file.tensor)
      try manifest.add(name, in: partial)
    }
    let stateName = TrainingCheckpoint.stateName(rank: rank, ranks: ranks)
    try writeJSON(state, to: partial.appendingPathComponent(stateName))
    try manifest.add(stateName, in: partial)
    try writeJSON(manifest, to: partial.appendingPathComponent(CheckpointManifest.name(rank: rank, ranks: ranks)))
  }

  private func writeJSON(_ value: some Encodable, to url: URL) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try writeAtomically(encoder.encode(value), to: url)
  }

  private func finish(_ partial: URL, as done: URL, step: Int) throws {
    try flush(partial)
    let aside = URL(fileURLWithPath: done.path + CheckpointFolders.replaced)
    let isReplacing = FileManager.default.fileExists(atPath: done.path)
    if isReplacing {
      try? FileManager.default.removeItem(at: aside)
      try move(done, to: aside)
    }
    try move(partial, to: done)
    try flush(folder)
    if isReplacing { try? FileManager.default.removeItem(at: aside) }
  }

  private func move(_ url: URL, to other: URL) throws {
    guard rename(url.path, other.path) == 0 else { throw FileError(other, String(cString: strerror(errno))) }
  }

  /// Brings the names in a folder to the disk.
  private func flush(_ folder: URL) throws {
    let descriptor = open(folder.path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError(folder, String(cString: strerror(errno))) }
    defer { close(descriptor) }
    // Some network file systems cannot flush folders, and say so.
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw FileError(folder, String(cString: strerror(errno))) }
  }

  private func removeOld() {
    for entry in entries().dropLast(kept) { try? FileManager.default.removeItem(at: entry.url) }
  }

  // MARK: - Reading

  private struct Entry {
    let step: Int
    let url: URL
    let isReplaced: Bool
  }

  /// What has a checkpoint's name, oldest first.
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

  /// The newest whole checkpoint; nil where there is none at all. Folders that an interrupted run left unfinished are removed.
  ///
  /// - Parameter report: is told of every damaged checkpoint that is passed over, in one sentence.
  /// - Throws: `TrainingError` where there are checkpoints, but no whole one.
  public func newest(report: (String) -> Void) throws -> TrainingCheckpoint? {
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
    guard entries.isEmpty else { throw TrainingError("None of the checkpoints in \(folder.path) is whole.") }
    return nil
  }

  private func removeUnfinished() {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    for name in names where name.hasPrefix("step-") && name.hasSuffix(CheckpointFolders.partial) {
      try? FileManager.default.removeItem(at: folder.appendingPathComponent(name))
    }
  }
}
