import Basics
import Foundation
import Torch

/// The sizes and checksums of the files that one rank wrote into a checkpoint folder.
///
/// A folder is complete when it has every rank's manifest, and every file matches.
struct CheckpointManifest: Codable, Equatable {
  struct File: Codable, Equatable {
    let name: String
    let bytes: Int
    let crc32c: UInt32
  }

  var version = 1
  let step: Int
  let rank: Int
  let ranks: Int
  var files: [File] = []

  static func name(rank: Int, ranks: Int) -> String {
    ranks == 1 ? "manifest.json" : "manifest.rank\(rank)of\(ranks).json"
  }

  /// Adds a file of the folder.
  mutating func add(_ name: String, in folder: URL) throws {
    let (bytes, sum) = try Checksum.ofFile(folder.appendingPathComponent(name))
    files.append(File(name: name, bytes: bytes, crc32c: sum))
  }

  /// Verifies the folder and returns the number of ranks that wrote it.
  ///
  /// - Throws: `LiveTalkError` with what is damaged, as a clause that does not name the folder.
  static func check(_ folder: URL, step: Int) throws -> Int {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    let manifests = names.filter { $0.hasPrefix("manifest.") && $0.hasSuffix(".json") }
    guard let first = manifests.first else { throw LiveTalkError("it has no manifest") }
    let ranks = try read(folder, first).ranks
    guard ranks > 0 else { throw LiveTalkError("\(first) names no rank") }
    for rank in 0..<ranks {
      let name = name(rank: rank, ranks: ranks)
      guard manifests.contains(name) else { throw LiveTalkError("\(name) is missing") }
      let manifest = try read(folder, name)
      guard manifest.step == step, manifest.rank == rank, manifest.ranks == ranks else {
        throw LiveTalkError("\(name) belongs to another checkpoint")
      }
      for file in manifest.files {
        guard names.contains(file.name) else { throw LiveTalkError("\(file.name) is missing") }
        let (bytes, sum) = try Checksum.ofFile(folder.appendingPathComponent(file.name))
        guard bytes == file.bytes else {
          throw LiveTalkError("\(file.name) has \(bytes) bytes in place of \(file.bytes)")
        }
        guard sum == file.crc32c else { throw LiveTalkError("the checksum of \(file.name) is wrong") }
      }
    }
    return ranks
  }

  private static func read(_ folder: URL, _ name: String) throws -> CheckpointManifest {
    do {
      let data = try Data(contentsOf: folder.appendingPathComponent(name))
      let manifest = try JSONDecoder().decode(CheckpointManifest.self, from: data)
      guard manifest.version == 1 else { throw LiveTalkError("") }
      return manifest
    } catch {
      throw LiveTalkError("\(name) is not a manifest")
    }
  }
}
