import Basics
import Foundation
import Generation
import Torch

/// Completes a checkpoint folder of which a stage trained one part with the other parts of the base checkpoint.
enum CheckpointCompletion {
  /// Links the files of all but the given parts from `base` into `folder`.
  ///
  /// Hard links where both lie on one file system, else symbolic ones: encoders of many gigabytes are not copied.
  /// - Throws: `FileError`.
  static func link(_ base: URL, to folder: URL, without parts: [CheckpointFolder.Part]) throws {
    let base = base.resolvingSymlinksInPath()
    let family = ModelFamily(of: base)
    let left = Set(parts.flatMap { family.file($0).names })
    for part in CheckpointFolder.Part.allCases where !parts.contains(part) {
      for name in family.file(part).names where !left.contains(name) {
        let file = base.appendingPathComponent(name)
        guard FileManager.default.fileExists(atPath: file.path) else { continue }
        try link(file, to: folder.appendingPathComponent(name))
      }
    }
    // Weights in several files stand beside their list.
    let index = base.appendingPathComponent(family.file(.transformer).names[1])
    if !parts.contains(.transformer), FileManager.default.fileExists(atPath: index.path) {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: index.deletingLastPathComponent().path)) ?? []
      for name in names where name.hasSuffix(".safetensors") {
        let file = index.deletingLastPathComponent().appendingPathComponent(name)
        let place = "\(index.deletingLastPathComponent().lastPathComponent)/\(name)"
        guard !left.contains(place) else { continue }
        try link(file, to: folder.appendingPathComponent(place))
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
