import Basics
package import Foundation

/// One clip of a dataset folder, as a line of `metadata.jsonl` names it.
package struct ClipSource: Sendable, Equatable {
  package enum Pictures: Sendable, Equatable {
    case video(URL)
    /// A folder of PNG or JPEG pictures, in the order of their names, shown so many a second.
    case frames(URL, framesPerSecond: Double)

    package var url: URL {
      switch self {
      case .video(let url), .frames(let url, _): url
      }
    }
  }

  package let id: String
  package let pictures: Pictures
  /// The sound's own file; nil where it is the video's track.
  package let sound: URL?
  package let caption: String?
  package let reference: URL?
  package let truth: URL?
  package let speaker: String?
  /// Where it stands in `metadata.jsonl`, from 1.
  package let line: Int
}

/// A folder with `metadata.jsonl`: one JSON object a line, whose paths are relative to the folder.
package struct DatasetFolder: Sendable {
  package static let fileName = "metadata.jsonl"

  package let root: URL
  package let clips: [ClipSource]

  package static func exists(at root: URL) -> Bool {
    FileManager.default.fileExists(atPath: root.appendingPathComponent(fileName).path)
  }

  /// - Throws: `LiveTalkError` that names the line: what is not JSON, lacks what it needs, or says what nobody reads.
  package init(_ root: URL) throws {
    self.root = root
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: root.path, isDirectory: &isFolder) else {
      throw LiveTalkError("There is no dataset folder \(root.path).")
    }
    guard isFolder.boolValue else { throw LiveTalkError("\(root.path) is a file, not a dataset folder.") }
    let url = root.appendingPathComponent(DatasetFolder.fileName)
    guard DatasetFolder.exists(at: root) else {
      throw LiveTalkError("The folder \(root.path) is no dataset: it has no \(DatasetFolder.fileName).")
    }
    let data = try readFile(url)
    var clips: [ClipSource] = []
    var lines: [String: Int] = [:]
    for (index, line) in data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
      guard !line.allSatisfy({ [0x20, 0x09, 0x0D].contains($0) }) else { continue }
      do {
        let clip = try ClipSource(line: line, number: index + 1, root: root)
        if let other = lines.updateValue(index + 1, forKey: clip.id) {
          throw Unfit("the id '\(clip.id)' is that of line \(other)")
        }
        clips.append(clip)
      } catch let unfit as Unfit {
        throw LiveTalkError("\(url.path), line \(index + 1): \(unfit.reason).")
      }
    }
    guard !clips.isEmpty else { throw LiveTalkError("\(url.path) is empty: it names no clip.") }
    // A long clip is cut into "<id>.0", "<id>.1", …
    for clip in clips {
      guard let dot = clip.id.lastIndex(of: "."), Int(clip.id[clip.id.index(after: dot)...]) != nil,
        lines[String(clip.id[..<dot])] != nil
      else { continue }
      throw LiveTalkError(
        "\(url.path), line \(clip.line): the id '\(clip.id)' could be that of a piece of '\(clip.id[..<dot])'.")
    }
    self.clips = clips
  }
}

/// Why a line cannot be used, before its place is known.
private struct Unfit: Error {
  let reason: String
  init(_ reason: String) { self.reason = reason }
}

extension ClipSource {
  private static let keys: Set<String> = [
    "id", "video", "frames", "fps", "sound", "caption", "reference", "truth", "speaker",
  ]

  fileprivate init(line: Data, number: Int, root: URL) throws {
    guard let fields = (try? JSONSerialization.jsonObject(with: line)) as? [String: Any] else {
      throw Unfit("it is not a JSON object")
    }
    if let unknown = unknownKeyText(in: fields.keys, known: ClipSource.keys) { throw Unfit("it has the \(unknown)") }
    func text(_ key: String) throws -> String? {
      guard let value = fields[key] else { return nil }
      guard let text = value as? String else { throw Unfit("'\(key)' is not a text") }
      guard !text.trimmingCharacters(in: .whitespacesAndNewlines).isEmpty else { throw Unfit("'\(key)' is empty") }
      return text
    }
    func file(_ key: String) throws -> URL? {
      guard let path = try text(key) else { return nil }
      guard !path.hasPrefix("/"), !path.hasPrefix("~") else {
        throw Unfit("'\(key)' is '\(path)', and paths are relative to the folder")
      }
      return root.appendingPathComponent(path)
    }
    guard let id = try text("id") else { throw Unfit("it has no 'id'") }
    guard id.count <= 200, id.unicodeScalars.allSatisfy({ $0.value >= 32 && $0.value != 127 }) else {
      throw Unfit("the id is longer than 200 characters or holds a control character")
    }
    let rate = fields["fps"].map { $0 as? NSNumber }
    if let rate, !((rate?.doubleValue ?? 0) > 0 && (rate?.doubleValue ?? 0) <= 1000) {
      throw Unfit("'fps' is not a number above 0 and up to 1000")
    }
    switch (try file("video"), try file("frames")) {
    case (let video?, nil):
      if rate != nil { throw Unfit("'fps' goes with 'frames': a video has its own") }
      pictures = .video(video)
    case (nil, let frames?): pictures = .frames(frames, framesPerSecond: rate??.doubleValue ?? 16)
    case (nil, nil): throw Unfit("it has neither 'video' nor 'frames'")
    default: throw Unfit("it has both 'video' and 'frames'")
    }
    self.id = id
    sound = try file("sound")
    reference = try file("reference")
    truth = try file("truth")
    caption = try text("caption")
    speaker = try text("speaker")
    self.line = number
  }
}
