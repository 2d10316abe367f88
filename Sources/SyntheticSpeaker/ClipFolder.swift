import Basics
package import Foundation
import Media
import Synchronization

/// A folder of synthetic clips that is a data set at every moment: `metadata.jsonl` lists clips that are whole.
///
/// ```
/// synthesis.json        what all clips have in common
/// metadata.jsonl        a line for each clip, in order
/// clips/clip-00000.mp4  pictures with the sound; or clips/clip-00000/, a folder of PNG pictures
/// clips/clip-00000.wav  the sound
/// clips/clip-00000.png  the person at rest
/// clips/clip-00000.json the truth
/// ```
package final class ClipFolder: Sendable {
  /// How pictures are kept.
  package enum Format: String, Codable, Sendable { case video, frames }

  /// What must not change while a folder grows.
  private struct Kind: Codable, Equatable {
    var version = 2
    var settings: ClipSettings
    var format: Format
  }

  package let url: URL
  package let settings: ClipSettings
  package let format: Format
  /// Lines of `metadata.jsonl`.
  private let lines = Mutex<[Int: String]>([:])
  let stopping = Atomic<Bool>(false)
  /// Threads that make clips now.
  let active = Atomic<Int>(0)

  private var kindFile: URL { url.appendingPathComponent("synthesis.json") }
  private var metadataFile: URL { url.appendingPathComponent("metadata.jsonl") }

  /// Opens a folder to go on with, or makes one.
  ///
  /// - Throws: `LiveTalkError` when the folder holds something else or clips of other settings, or cannot be written.
  package init(_ url: URL, _ settings: ClipSettings, format: Format = .video) throws {
    self.url = url
    self.settings = settings
    self.format = format
    let kind = Kind(settings: settings, format: format)
    if let data = try? Data(contentsOf: kindFile) {
      guard let found = try? JSONDecoder().decode(Kind.self, from: data) else {
        throw LiveTalkError("The folder \(url.path) cannot be gone on with: its synthesis.json is of another version.")
      }
      guard found == kind else {
        throw LiveTalkError(
          "The folder \(url.path) holds clips with other settings (\(Self.difference(found, kind))): choose another folder "
            + "or the same settings.")
      }
    } else {
      try begin(kind)
    }
    removePartialFiles(abandoned: true)
    try readMetadata()
  }

  private func begin(_ kind: Kind) throws {
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) {
      let content = try? FileManager.default.contentsOfDirectory(atPath: url.path)
      guard isFolder.boolValue, let content, content.allSatisfy({ $0.contains(".partial-") || $0 == "clips" }) else {
        throw LiveTalkError(
          "The output \(url.path) cannot be used: it is \(isFolder.boolValue ? "a folder with other files" : "a file")."
        )
      }
    }
    do {
      try FileManager.default.createDirectory(
        at: url.appendingPathComponent("clips"), withIntermediateDirectories: true)
    } catch {
      throw LiveTalkError("The folder \(url.path) cannot be made: \(userSentence(error))")
    }
    try writingOutput(kindFile.path) {
      try writeAtomically(Data("\(kind.jsonText(indented: true))\n".utf8), to: kindFile)
    }
  }

  private static func difference(_ found: Kind, _ wanted: Kind) -> String {
    let (old, new) = (found.settings, wanted.settings)
    var parts: [String] = []
    if old.seed != new.seed { parts.append("seed \(old.seed), not \(new.seed)") }
    if (old.width, old.height) != (new.width, new.height) {
      parts.append("\(old.width)×\(old.height) pixels, not \(new.width)×\(new.height)")
    }
    if old.frames != new.frames { parts.append("\(old.frames) pictures a clip, not \(new.frames)") }
    if old.languages != new.languages {
      let names = [old, new].map { $0.languages.map(\.rawValue).joined(separator: ",") }
      parts.append("languages \(names[0]), not \(names[1])")
    }
    if old.voices != new.voices {
      let names = [old, new].map { $0.voices.map(\.rawValue).joined(separator: ",") }
      parts.append("voices \(names[0]), not \(names[1])")
    }
    if old.augments != new.augments { parts.append("sounds \(old.augments ? "" : "not ")worked on") }
    if old.speakers != new.speakers {
      parts.append("\(old.speakers.map(String.init) ?? "any number of") speakers")
    }
    if found.format != wanted.format { parts.append("pictures as \(found.format.rawValue)") }
    return parts.isEmpty ? "another version" : parts.joined(separator: "; ")
  }

  // MARK: Clips

  package static func name(_ number: Int) -> String {
    let digits = String(number)
    return "clip-" + String(repeating: "0", count: max(0, 5 - digits.count)) + digits
  }

  /// Files of a clip from the folder; the truth, written last, comes last.
  private func files(_ number: Int) -> [String] {
    let stem = "clips/\(Self.name(number))"
    return [format == .video ? "\(stem).mp4" : stem, "\(stem).wav", "\(stem).png", "\(stem).json"]
  }

  /// Whether all files of a clip are there.
  func isWhole(_ number: Int) -> Bool {
    files(number).allSatisfy { FileManager.default.fileExists(atPath: url.appendingPathComponent($0).path) }
  }

  /// Makes a clip.
  ///
  /// - Returns: seconds that went into drawing, and the clip's line.
  func make(_ number: Int) throws -> (drawing: Double, line: String) {
    let clip = try SyntheticClip(settings, number: number)
    let portrait = try clip.portrait()
    let paths = files(number).map { url.appendingPathComponent($0).path }
    let rate = format == .video ? clip.sound.sampleRate : nil
    var video = VideoFormat(
      width: settings.width, height: settings.height, framesPerSecond: ClipSettings.framesPerSecond,
      soundSampleRate: rate)
    video.isRepeatable = true
    // What a run that was killed left there is not whole.
    if format == .frames { try? FileManager.default.removeItem(atPath: paths[0]) }
    let sink: any VideoSink =
      switch format {
      case .video: try VideoWriter(path: paths[0], format: video)
      case .frames: try FrameDirectoryWriter(path: paths[0], format: video)
      }
    defer { sink.cancel() }
    if rate != nil { try sink.append(sound: clip.sound.samples) }
    var drawing = 0.0
    for state in clip.states {
      guard !stopping.load(ordering: .relaxed) else { throw CancellationError() }
      let start = ContinuousClock.now
      let picture = try portrait.render(state)
      drawing += (ContinuousClock.now - start) / .seconds(1)
      try sink.append(frame: picture.bytes)
    }
    try sink.finish()
    try clip.sound.writeWAV(to: paths[1])
    try portrait.render(Speaker.rest).writePNG(to: paths[2])
    let truth = clip.truth(portrait)
    try writingOutput(paths[3]) { try writeAtomically(truth.encoded(), to: URL(fileURLWithPath: paths[3])) }
    return (drawing, try line(number, caption: truth.caption, speaker: truth.speaker))
  }

  // MARK: Metadata

  private struct Entry: Codable {
    var id: String
    var video: String?
    var frames: String?
    var fps: Int?
    var sound: String
    var caption: String
    var reference: String
    var truth: String
    var speaker: String
  }

  private func line(_ number: Int, caption: String, speaker: String) throws -> String {
    let files = files(number)
    return try Entry(
      id: Self.name(number), video: format == .video ? files[0] : nil, frames: format == .frames ? files[0] : nil,
      fps: format == .frames ? ClipSettings.framesPerSecond : nil, sound: files[1], caption: caption,
      reference: files[2],
      truth: files[3], speaker: speaker
    ).jsonText()
  }

  /// Takes the lines whose clips are whole; a line that a killed run cut short is none.
  private func readMetadata() throws {
    guard let data = try? Data(contentsOf: metadataFile) else { return }
    for text in data.split(separator: UInt8(ascii: "\n")) {
      guard let entry = try? JSONDecoder().decode(Entry.self, from: text), entry.id.hasPrefix("clip-"),
        let number = Int(entry.id.dropFirst(5)), isWhole(number)
      else { continue }
      lines.withLock { $0[number] = String(decoding: text, as: UTF8.self) }
    }
  }

  /// Lists what is whole of the first `count` clips, and writes the list anew.
  ///
  /// - Returns: the clips that are still to be made.
  func missing(of count: Int) throws -> [Int] {
    var missing: [Int] = []
    for number in 0..<count where lines.withLock({ $0[number] }) == nil {
      if isWhole(number),
        let truth = try? Truth(contentsOf: url.appendingPathComponent(files(number)[3]))
      {
        let line = try line(number, caption: truth.caption, speaker: truth.speaker)
        lines.withLock { $0[number] = line }
      } else {
        missing.append(number)
      }
    }
    try writeMetadata()
    return missing
  }

  /// Adds a clip's line at the end of the list.
  func list(_ number: Int, _ line: String) throws {
    lines.withLock { $0[number] = line }
    try writingOutput(metadataFile.path) {
      let descriptor = open(metadataFile.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
      guard descriptor >= 0 else { throw FileError(metadataFile) }
      defer { close(descriptor) }
      try Data((line + "\n").utf8).withUnsafeBytes { try writeAll($0, to: descriptor, metadataFile) }
    }
  }

  /// Writes the whole list in order.
  func writeMetadata() throws {
    let text = lines.withLock { $0.sorted { $0.key < $1.key }.map { $0.value + "\n" }.joined() }
    try writingOutput(metadataFile.path) { try writeAtomically(Data(text.utf8), to: metadataFile) }
  }

  /// Clips that are listed.
  package var count: Int { lines.withLock { $0.count } }

  /// Removes what this process has begun and not finished; or what processes have that are no more.
  func removePartialFiles(abandoned: Bool = false) {
    for folder in [url, url.appendingPathComponent("clips")] {
      for name in (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? [] {
        guard let process = writerOfPartialFile(name) else { continue }
        let partial = folder.appendingPathComponent(name)
        let isOurs = process == ProcessInfo.processInfo.processIdentifier
        if abandoned ? isAbandoned(partial.path, by: process) : isOurs {
          try? FileManager.default.removeItem(at: partial)
        }
      }
    }
  }
}
