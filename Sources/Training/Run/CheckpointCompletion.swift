import Basics
package import Foundation
package import Generation
import Torch

/// Completes a checkpoint folder of which a stage trained one part with the other parts of the base checkpoint.
package enum CheckpointCompletion {
  /// Links the files of all but the given parts from `base` into `folder`.
  ///
  /// Hard links where both lie on one file system, else symbolic ones: encoders of many gigabytes are not copied.
  /// - Throws: `FileError`.
  package static func link(_ base: URL, to folder: URL, without parts: [CheckpointFolder.Part]) throws {
    let base = base.resolvingSymlinksInPath()
    let family = ModelFamily(of: base)
    let left = Set(parts.flatMap { family.file($0).allNames })
    for part in CheckpointFolder.Part.allCases where !parts.contains(part) {
      for name in family.file(part).allNames where !left.contains(name) {
        let file = base.appendingPathComponent(name)
        guard FileManager.default.fileExists(atPath: file.path) else { continue }
        try link(file, to: folder.appendingPathComponent(name))
      }
    }
    // Weights in several files stand beside their list.
    for part in CheckpointFolder.Part.allCases where !parts.contains(part) {
      for name in family.file(part).allNames where name.hasSuffix(".index.json") {
        let index = base.appendingPathComponent(name)
        for shard in (try? weightShards(of: index)) ?? [] {
          let place = (name as NSString).deletingLastPathComponent + "/\(shard.lastPathComponent)"
          guard !left.contains(place) else { continue }
          try link(shard, to: folder.appendingPathComponent(place))
        }
      }
    }
  }

  private static func link(_ file: URL, to other: URL) throws {
    let manager = FileManager.default
    if manager.fileExists(atPath: other.path) { return }
    do {
      try manager.createDirectory(at: other.deletingLastPathComponent(), withIntermediateDirectories: true)
      let source = file.resolvingSymlinksInPath()
      if (try? manager.linkItem(at: source, to: other)) == nil {
        try manager.createSymbolicLink(at: other, withDestinationURL: source)
      }
    } catch { throw FileError(other, "it cannot be linked to \(file.path)") }
  }
}
