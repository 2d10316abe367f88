import Foundation
import Testing

/// Inputs that the tests make.
enum Fixtures {
  /// A checkpoint of the tiny preset, made once a run.
  static let checkpoint = Task { () -> String in
    let folder = try Folder()
    // Lives as long as the process, and not longer.
    kept.withLock { $0.append(folder.url) }
    atexit { Fixtures.kept.withLock { $0.forEach { try? FileManager.default.removeItem(at: $0) } } }
    let path = folder["tiny"].path
    let made = try await Tool.run("checkpoint", "init", "--preset", "tiny", "--out", path)
    try #require(made.status == 0, "\(made.error)")
    holders.withLock { $0.append(folder) }
    return path
  }
  private static let kept = Locked<[URL]>([])
  private static let holders = Locked<[Folder]>([])

  /// A copy of the checkpoint in which parts may be broken.
  static func copy(in folder: Folder) async throws -> URL {
    try FileManager.default.copyItem(atPath: try await checkpoint.value, toPath: folder["weights"].path)
    return folder["weights"]
  }

  static func media(_ name: String) -> String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../MediaTests/Fixtures/\(name)").standardized.path
  }

  static let goldens = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../Goldens").standardized

  static let picture = media("rgb.png")

  /// The environment of each of several processes that are started together.
  static func ranks(_ size: Int) -> [[String: String]] {
    let port = 20_000 + Int.random(in: 0..<10_000)
    return (0..<size).map { rank in
      [
        "RANK": "\(rank)", "WORLD_SIZE": "\(size)", "LOCAL_RANK": "\(rank)", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "\(port)",
      ]
    }
  }

  /// A 16-bit mono WAV of a tone that swells and fades, like syllables.
  static func wave(seconds: Double, rate: Int = 16_000) -> [UInt8] {
    let count = Int(seconds * Double(rate))
    let samples = (0..<count).flatMap { index -> [UInt8] in
      let time = Double(index) / Double(rate)
      let value = Int16(8000 * sin(2 * .pi * 180 * time) * sin(2 * .pi * 3 * time))
      return little(Int(value), 2)
    }
    return waveHeader(bytes: samples.count, rate: rate, bits: 16) + samples
  }

  static func waveHeader(bytes: Int, rate: Int, bits: Int) -> [UInt8] {
    Array("RIFF".utf8) + little(36 + bytes, 4) + Array("WAVEfmt ".utf8) + little(16, 4) + little(1, 2) + little(1, 2)
      + little(rate, 4) + little(rate * bits / 8, 4) + little(bits / 8, 2) + little(bits, 2) + Array("data".utf8)
      + little(bytes, 4)
  }

  static func little(_ value: Int, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  /// A PNG with these sides in its header and one stored row of zeros as its data: whole for 1 × 1, a lie for more.
  static func png(width: Int, height: Int) -> [UInt8] {
    let row: [UInt8] = [0, 200, 100, 50]
    var (a, b) = (1, 0)
    for byte in row {
      a = (a + Int(byte)) % 65_521
      b = (b + a) % 65_521
    }
    let stream: [UInt8] = [0x78, 0x01, 0x01] + little(row.count, 2) + little(~row.count, 2) + row + big(b << 16 | a)
    return [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
      + chunk("IHDR", big(width) + big(height) + [8, 2, 0, 0, 0]) + chunk("IDAT", stream) + chunk("IEND", [])
  }

  private static func big(_ value: Int) -> [UInt8] { little(value, 4).reversed() }

  private static func chunk(_ name: String, _ content: [UInt8]) -> [UInt8] {
    let body = Array(name.utf8) + content
    var sum: UInt32 = 0xFFFF_FFFF
    for byte in body {
      sum ^= UInt32(byte)
      for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
    }
    return big(content.count) + body + big(Int(~sum))
  }

  /// A zip archive of stored files.
  static func zip(_ files: [(name: String, content: [UInt8])]) -> [UInt8] {
    var archive: [UInt8] = []
    var directory: [UInt8] = []
    for (name, content) in files {
      let sizes = little(0, 4) + little(content.count, 4) + little(content.count, 4)
      let common = little(0, 2) + little(0, 2) + little(0, 4) + sizes + little(name.utf8.count, 2) + little(0, 2)
      directory +=
        Array("PK\u{1}\u{2}".utf8) + little(20, 2) + little(20, 2) + common + [UInt8](repeating: 0, count: 10)
        + little(archive.count, 4) + Array(name.utf8)
      archive += Array("PK\u{3}\u{4}".utf8) + little(20, 2) + common + Array(name.utf8) + content
    }
    return archive + directory + Array("PK\u{5}\u{6}".utf8) + little(0, 4) + little(files.count, 2)
      + little(files.count, 2) + little(directory.count, 4) + little(archive.count, 4) + little(0, 2)
  }
}

/// A value behind a lock.
// Unchecked for what the lock guards.
final class Locked<Value>: @unchecked Sendable {
  private let lock = NSLock()
  private var value: Value
  init(_ value: Value) { self.value = value }
  func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
    try lock.withLock { try body(&value) }
  }
}
