import Basics
package import Foundation
import Torch

/// What the tensors of a folder of shards are. Clips of drawn people also have `FaceTruth`.
package enum ShardKind: String, Codable, Sendable, CaseIterable {
  /// `video` uint8 `[3, T, H, W]` and `sound` float32 `[samples]`.
  case media
  /// `latents` `[C, F, h, w]`, `referenceLatent` `[C, 1, h, w]`, `audioFeatures` `[4F-3, audioInputDim]`,
  /// `text` `[L, textDim]`; shared: `negativeText` `[L, textDim]`.
  case latents
  /// As `latents`, and `trajectory` `[S+1, C, F, h, w]`: the state before each step of the student, and the clean end.
  case trajectories
}

/// One speech sound and when it is heard, in seconds from the clip's start. Silence is "_".
package struct ShardPhoneme: Codable, Equatable, Sendable {
  package var symbol: String
  package var start: Double
  package var end: Double

  package init(symbol: String, start: Double, end: Double) {
    (self.symbol, self.start, self.end) = (symbol, start, end)
  }
}

/// What the index says of one tensor.
package struct TensorRecord: Codable, Equatable, Sendable {
  /// As Swift spells it: "float32", "bfloat16", "uint8".
  package let dtype: String
  package let shape: [Int]

  init(_ dtype: DType, _ shape: [Int]) { (self.dtype, self.shape) = ("\(dtype)", shape) }
}

/// What is known of a clip besides its tensors.
package struct ClipMetadata: Equatable, Sendable {
  package var caption: String
  package var speaker: String?
  package var phonemes: [ShardPhoneme]?

  package init(caption: String, speaker: String? = nil, phonemes: [ShardPhoneme]? = nil) {
    (self.caption, self.speaker, self.phonemes) = (caption, speaker, phonemes)
  }
}

/// What the index says of one clip.
package struct ClipRecord: Codable, Equatable, Sendable {
  package let id: String
  /// The name of the file with its tensors, whose keys are "<id>/<name>".
  package let shard: String
  package let tensors: [String: TensorRecord]
  package let caption: String
  package let speaker: String?
  package let phonemes: [ShardPhoneme]?
}

/// A clip that could not be used.
package struct RejectedClip: Codable, Equatable, Sendable {
  package let id: String
  package let reason: String
}

/// What holds for a whole folder of shards.
package struct ShardDescription: Equatable, Sendable {
  package var kind: ShardKind
  /// Video frames a second.
  package var fps: Int
  /// Samples a second.
  package var sampleRate: Int
  /// Pixels of the video.
  package var width: Int
  package var height: Int
  /// Where the tensors come from: settings, fingerprints of encoders. A folder is continued under equal ones only.
  package var origin: [String: String]

  package init(
    kind: ShardKind, fps: Int = 16, sampleRate: Int = 16_000, width: Int, height: Int, origin: [String: String] = [:]
  ) {
    (self.kind, self.fps, self.sampleRate) = (kind, fps, sampleRate)
    (self.width, self.height, self.origin) = (width, height, origin)
  }
}

/// `index.json` of a folder of shards.
package struct ShardIndex: Codable, Equatable, Sendable {
  package static let version = 1
  static let fileName = "index.json"
  static let sharedName = "shared.safetensors"

  package let version: Int
  package let kind: ShardKind
  package let fps: Int
  package let sampleRate: Int
  package let width: Int
  package let height: Int
  package let origin: [String: String]
  /// The name of the file with the tensors of all clips together.
  package internal(set) var shared: String?
  package internal(set) var clips: [ClipRecord]
  package internal(set) var rejected: [RejectedClip]

  init(_ description: ShardDescription) {
    version = ShardIndex.version
    (kind, fps, sampleRate) = (description.kind, description.fps, description.sampleRate)
    (width, height, origin) = (description.width, description.height, description.origin)
    (clips, rejected) = ([], [])
  }

  package var description: ShardDescription {
    ShardDescription(kind: kind, fps: fps, sampleRate: sampleRate, width: width, height: height, origin: origin)
  }

  /// Whether a folder has an index.
  package static func exists(in folder: URL) -> Bool {
    FileManager.default.fileExists(atPath: folder.appendingPathComponent(fileName).path)
  }

  /// Reads and checks the index of a folder; the shards are not looked at.
  ///
  /// - Throws: `LiveTalkError` for a folder or an index that is not there, not whole, or of another version.
  package init(readingFrom folder: URL) throws {
    let url = folder.appendingPathComponent(ShardIndex.fileName)
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: folder.path, isDirectory: &isFolder) else {
      throw LiveTalkError("There is no folder of prepared clips \(folder.path).")
    }
    guard isFolder.boolValue else { throw LiveTalkError("\(folder.path) is a file, not a folder of prepared clips.") }
    guard FileManager.default.fileExists(atPath: url.path) else {
      throw LiveTalkError("The folder \(folder.path) holds no prepared clips: it has no \(ShardIndex.fileName).")
    }
    let data: Data
    do { data = try readFile(url) } catch let error as FileError {
      throw LiveTalkError("The index \(url.path) cannot be read: \(error.reason).")
    }
    guard let fields = (try? JSONSerialization.jsonObject(with: data)) as? [String: Any] else {
      throw LiveTalkError("The index \(url.path) is not JSON, or it is truncated.")
    }
    guard let version = (fields["version"] as? NSNumber)?.intValue else {
      throw LiveTalkError("The index \(url.path) names no version.")
    }
    guard version == ShardIndex.version else {
      throw LiveTalkError(
        "The index \(url.path) is of version \(version), and this program reads version \(ShardIndex.version).")
    }
    if let kind = fields["kind"] as? String, ShardKind(rawValue: kind) == nil {
      throw LiveTalkError("The index \(url.path) is of the unknown kind '\(kind)'.")
    }
    do { self = try JSONDecoder().decode(ShardIndex.self, from: data) } catch {
      throw LiveTalkError("The index \(url.path) is malformed: \(jsonReason(error)).")
    }
    var ids: Set<String> = []
    for clip in clips where !ids.insert(clip.id).inserted {
      throw LiveTalkError("The index \(url.path) lists the clip '\(clip.id)' twice.")
    }
    for name in Set(clips.map(\.shard) + [shared].compactMap(\.self)) where !isPlainName(name) {
      throw LiveTalkError("The index \(url.path) names the shard '\(name)', which is not a file of its folder.")
    }
  }

  /// Writes the index whole or not at all.
  func write(to folder: URL) throws {
    try writeAtomically(Data(try "\(jsonText())\n".utf8), to: folder.appendingPathComponent(ShardIndex.fileName))
  }
}

private func isPlainName(_ name: String) -> Bool {
  !name.isEmpty && !name.contains("/") && !name.contains("\0") && name != "." && name != ".."
}
