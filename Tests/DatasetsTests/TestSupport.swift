import Basics
import Foundation
import Media
import Testing

/// A folder that is removed with its owner.
final class Scratch: Sendable {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("datasets-tests-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  subscript(name: String) -> URL { url.appendingPathComponent(name) }

  /// Names in a folder of it, hidden ones too.
  func content(_ name: String = "") -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: self[name].path)) ?? []).sorted()
  }
}

/// The sentence that `body` fails with; a failed expectation when it does not fail, or says no sentence.
func sentence<Result>(sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Result) -> String {
  do {
    _ = try body()
    Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    return ""
  } catch {
    let text = "\(error)"
    #expect(text.hasSuffix(".") && !text.contains("\n"), "\(text)", sourceLocation: sourceLocation)
    return text
  }
}

/// A dataset folder that a test fills.
struct DatasetFixture {
  let scratch: Scratch
  var root: URL { scratch["data"] }

  init() throws {
    scratch = try Scratch()
    try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
  }

  func path(_ name: String) -> String { root.appendingPathComponent(name).path }

  func metadata(_ lines: [String]) throws {
    try Data(lines.map { $0 + "\n" }.joined().utf8).write(to: root.appendingPathComponent("metadata.jsonl"))
  }

  /// A video whose frames are those of `picture`, with a tone or without sound.
  @discardableResult
  func video(
    _ name: String, frames: Int, fps: Int = 16, width: Int = 48, height: Int = 32, soundRate: Int? = 16_000,
    picture: (Int, Int, Int) -> [UInt8] = { index, x, y in face(index, x, y) }
  ) throws -> String {
    let format = VideoFormat(width: width, height: height, framesPerSecond: fps, soundSampleRate: soundRate)
    let writer = try VideoWriter(path: path(name), format: format)
    for index in 0..<frames {
      try writer.append(frame: pixels(width, height) { picture(index, $0, $1) })
    }
    if let soundRate { try writer.append(sound: tone(Double(frames) / Double(fps), soundRate)) }
    try writer.finish()
    return name
  }

  func wave(_ name: String, seconds: Double, rate: Int = 16_000) throws {
    try Sound(samples: tone(seconds, rate), sampleRate: rate).writeWAV(to: path(name))
  }

  func frames(_ name: String, count: Int, width: Int = 48, height: Int = 32) throws {
    try FileManager.default.createDirectory(atPath: path(name), withIntermediateDirectories: true)
    for index in 0..<count {
      let picture = Picture(width: width, height: height, bytes: pixels(width, height) { face(index, $0, $1) })
      try picture.writePNG(to: path("\(name)/\(String(format: "%04d", index)).png"))
    }
  }
}

/// Packed RGB8 from a function of the place.
func pixels(_ width: Int, _ height: Int, _ colour: (Int, Int) -> [UInt8]) -> [UInt8] {
  (0..<height).flatMap { y in (0..<width).flatMap { x in colour(x, y) } }
}

/// Something round that moves a little, so that clips have structure.
func face(_ index: Int, _ x: Int, _ y: Int) -> [UInt8] {
  let (dx, dy) = (x - 24 - index % 3, y - 16)
  return dx * dx + dy * dy < 100 ? [220, 170, 140] : [UInt8(20 + 2 * x), 60, UInt8(100 + y)]
}

func tone(_ seconds: Double, _ rate: Int) -> [Float] {
  (0..<Int((seconds * Double(rate)).rounded())).map { Float(0.3 * sin(2 * .pi * 220 * Double($0) / Double(rate))) }
}
