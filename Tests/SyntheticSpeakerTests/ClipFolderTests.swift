import Basics
import Foundation
import Media
import Testing

@testable import SyntheticSpeaker

@Suite struct ClipFolderTests {
  private let root: URL

  init() throws {
    root = FileManager.default.temporaryDirectory.appendingPathComponent("clips-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
  }

  private func settings(seed: UInt64 = 7) throws -> ClipSettings {
    try ClipSettings(seed: seed, width: 64, height: 64, seconds: 0.5)
  }

  /// All files with their bytes.
  private func content(_ folder: URL) throws -> [String: Data] {
    var files: [String: Data] = [:]
    for path in try FileManager.default.subpathsOfDirectory(atPath: folder.path) {
      let url = folder.appendingPathComponent(path)
      if (try? url.resourceValues(forKeys: [.isRegularFileKey]).isRegularFile) == true {
        files[path] = try Data(contentsOf: url)
      }
    }
    return files
  }

  private func pictures(_ video: URL) throws -> [Picture] {
    let reader = try VideoReader(path: video.path)
    var pictures: [Picture] = []
    while let picture = try reader.next() { pictures.append(picture) }
    return pictures
  }

  @Test(arguments: [ClipFolder.Format.video, .frames]) func `A run that was cut is gone on with to the same folder`(
    format: ClipFolder.Format
  ) throws {
    defer { try? FileManager.default.removeItem(at: root) }
    let (whole, cut) = (root.appendingPathComponent("whole"), root.appendingPathComponent("cut"))
    #expect(try ClipFolder(whole, settings(), format: format).fill(5, threads: 2).made == 5)
    #expect(try ClipFolder(cut, settings(), format: format).fill(3, threads: 1).made == 3)
    // As if killed: a clip without its truth, a line cut short, files begun, a clip that is not listed.
    let clips = cut.appendingPathComponent("clips")
    try FileManager.default.removeItem(at: clips.appendingPathComponent("clip-00002.json"))
    let list = cut.appendingPathComponent("metadata.jsonl")
    let lines = try String(contentsOf: list, encoding: .utf8).split(separator: "\n")
    try Data("\(lines[0])\n\(lines[1].prefix(40))".utf8).write(to: list)
    try Data([1, 2]).write(to: clips.appendingPathComponent(".clip-00003.partial-99999999-1.mp4"))
    #expect(try ClipFolder(cut, settings(), format: format).fill(5, threads: 2).made == 3)
    let (expected, found) = (try content(whole), try content(cut))
    #expect(expected.keys.sorted() == found.keys.sorted())
    for (path, data) in expected where !path.hasSuffix(".mp4") { #expect(found[path] == data, "\(path)") }
    // An encoder on several threads may write the same pictures in other bits.
    for path in expected.keys where path.hasSuffix(".mp4") {
      #expect(try pictures(whole.appendingPathComponent(path)) == pictures(cut.appendingPathComponent(path)))
    }
    #expect(try ClipFolder(cut, settings(), format: format).fill(5).made == 0)
  }

  @Test func `The list names files that are there and can be read`() throws {
    defer { try? FileManager.default.removeItem(at: root) }
    let folder = root.appendingPathComponent("clips")
    _ = try ClipFolder(folder, settings()).fill(3, threads: 2)
    let lines = try String(contentsOf: folder.appendingPathComponent("metadata.jsonl"), encoding: .utf8)
      .split(separator: "\n")
    #expect(lines.count == 3)
    for (number, line) in lines.enumerated() {
      let entry = try JSONDecoder().decode([String: String].self, from: Data(line.utf8))
      #expect(entry["id"] == ClipFolder.name(number) && entry["caption"]?.hasSuffix(".") == true)
      func path(_ key: String) -> String { folder.appendingPathComponent(entry[key] ?? "").path }
      let reader = try VideoReader(path: path("video"))
      var frames = 0
      while try reader.next() != nil { frames += 1 }
      #expect(frames == 8 && reader.frameRate == 16)
      #expect(try Sound(contentsOf: path("sound"), sampleRate: 16_000).samples.count == 8_000)
      #expect(try Picture(contentsOf: path("reference")).width == 64)
      let truth = try Truth(contentsOf: URL(fileURLWithPath: path("truth")))
      #expect(truth.frames.count == 8 && truth.caption == entry["caption"] && truth.speaker == entry["speaker"])
    }
  }

  @Test func `Frames are kept without loss`() throws {
    defer { try? FileManager.default.removeItem(at: root) }
    let folder = root.appendingPathComponent("clips")
    _ = try ClipFolder(folder, settings(), format: .frames).fill(1)
    let clip = try SyntheticClip(settings(), number: 0)
    let picture = try Picture(contentsOf: folder.appendingPathComponent("clips/clip-00000/frame_000005.png").path)
    #expect(try picture == clip.render(5))
    #expect(!FileManager.default.fileExists(atPath: folder.appendingPathComponent("clips/clip-00000/sound.wav").path))
  }

  @Test func `Folders of something else are refused`() throws {
    defer { try? FileManager.default.removeItem(at: root) }
    let folder = root.appendingPathComponent("clips")
    _ = try ClipFolder(folder, settings()).fill(1)
    let other = #expect(throws: LiveTalkError.self) { try ClipFolder(folder, settings(seed: 8)) }
    #expect(other?.description.contains("seed 7, not 8") == true)
    #expect(throws: LiveTalkError.self) { try ClipFolder(folder, settings(), format: .frames) }
    let foreign = root.appendingPathComponent("foreign")
    try FileManager.default.createDirectory(at: foreign, withIntermediateDirectories: true)
    try Data().write(to: foreign.appendingPathComponent("holiday.jpg"))
    #expect(throws: LiveTalkError.self) { try ClipFolder(foreign, settings()) }
    #expect(throws: LiveTalkError.self) { try ClipFolder(foreign.appendingPathComponent("holiday.jpg"), settings()) }
  }

  @Test func `Stopping leaves whole clips and nothing half done`() throws {
    defer { try? FileManager.default.removeItem(at: root) }
    let url = root.appendingPathComponent("clips")
    let folder = try ClipFolder(url, settings())
    #expect(throws: CancellationError.self) {
      // The second clip may be made before the first, and is listed after it.
      try folder.fill(500, threads: 2) { _ in if folder.count >= 1 { folder.stop() } }
    }
    let names = try FileManager.default.contentsOfDirectory(atPath: url.appendingPathComponent("clips").path)
    #expect(!names.contains { $0.contains("partial") })
    #expect(folder.count >= 1 && folder.count < 500)
    let lines = try String(contentsOf: url.appendingPathComponent("metadata.jsonl"), encoding: .utf8)
    #expect(lines.split(separator: "\n").count == folder.count)
  }
}
