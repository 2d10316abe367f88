import Basics
import Foundation
import Testing

@testable import Media

/// The path of a committed fixture.
func fixture(_ name: String, file: String = #filePath) -> String {
  URL(fileURLWithPath: file).deletingLastPathComponent().appendingPathComponent("Fixtures/\(name)").path
}

/// What Pillow reads from a fixture: width and height as little-endian words, then RGB8.
func expectedPicture(_ name: String) throws -> Picture {
  let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: fixture(name))))
  let width = Int(bytes[0]) | Int(bytes[1]) << 8
  let height = Int(bytes[4]) | Int(bytes[5]) << 8
  return Picture(width: width, height: height, bytes: Array(bytes[8...]))
}

/// A directory of its own for one test, removed afterwards.
final class Scratch {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("media-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  func write(_ bytes: [UInt8], _ name: String) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
    return file(name)
  }

  var content: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }
}

/// The sentence that `body` fails with; a failed expectation when it does not fail or says more than one line.
func sentence<Result>(sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Result) -> String {
  do {
    _ = try body()
    Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    return ""
  } catch let error as LiveTalkError {
    #expect(error.description.hasSuffix("."), sourceLocation: sourceLocation)
    #expect(!error.description.contains("\n"), sourceLocation: sourceLocation)
    return error.description
  } catch {
    Issue.record("not a LiveTalkError: \(error)", sourceLocation: sourceLocation)
    return ""
  }
}

func largestDifference(_ a: [UInt8], _ b: [UInt8]) -> Int {
  a.count == b.count ? zip(a, b).reduce(0) { max($0, abs(Int($1.0) - Int($1.1))) } : 256
}

/// A picture of one colour.
func plain(_ width: Int, _ height: Int, _ colour: [UInt8]) -> [UInt8] {
  [UInt8](unsafeUninitializedCapacity: width * height * 3) { bytes, count in
    for i in 0..<(width * height * 3) { bytes[i] = colour[i % 3] }
    count = width * height * 3
  }
}

func sine(_ frequency: Double, seconds: Double, rate: Int, amplitude: Double = 0.5) -> [Float] {
  (0..<Int((seconds * Double(rate)).rounded())).map {
    Float(amplitude * sin(2 * .pi * frequency * Double($0) / Double(rate)))
  }
}
