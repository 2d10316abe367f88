import Basics
import Foundation

extension Sound {
  /// Writes a 16-bit mono WAV, beside its place first and renamed when whole. Samples beyond −1…1 are clipped.
  package func writeWAV(to path: String, comment: String? = nil) throws {
    let file = try WAVFile(path, sampleRate: sampleRate, comment: comment)
    try file.append(samples)
    try file.finish()
  }
}

/// A 16-bit mono WAV file that grows; its header gets the lengths at the end.
final class WAVFile {
  private let file: TemporaryFile
  private let sampleRate: Int
  private let comment: [UInt8]
  private(set) var sampleCount = 0

  init(_ path: String, sampleRate: Int, comment: String? = nil) throws {
    file = try TemporaryFile(destination: path)
    self.sampleRate = sampleRate
    self.comment = comment.map(Self.list) ?? []
    try file.write(header())
  }

  func append(_ samples: some Collection<Float>) throws {
    // The lengths of the header are 32 bits wide.
    guard (sampleCount + samples.count) * 2 < Int(UInt32.max) - 1_024 else {
      throw LiveTalkError.unwritable(file.destination, "a WAV file holds at most 4 GiB")
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(samples.count * 2)
    for sample in samples {
      // As int16 / 32768 is read back exactly.
      let scaled = (sample.isFinite ? sample : 0) * 32_768
      let value = UInt16(bitPattern: Int16(max(-32_768, min(32_767, scaled.rounded()))))
      bytes.append(UInt8(truncatingIfNeeded: value))
      bytes.append(UInt8(truncatingIfNeeded: value >> 8))
    }
    try file.write(bytes)
    sampleCount += samples.count
  }

  /// - Parameter samples: the length to end with: what is beyond is cut, what lacks is silence; nil keeps the length.
  func finish(samples due: Int? = nil) throws {
    let due = due ?? sampleCount
    while sampleCount < due { try append(repeatElement(0, count: min(due - sampleCount, 1 << 16))) }
    if sampleCount > due {
      try file.truncate(to: header().count + due * 2)
      sampleCount = due
    }
    try file.overwrite(header(), at: 0)
    try file.commit()
  }

  private func header() -> [UInt8] {
    let size = sampleCount * 2
    let total = 36 + comment.count + size
    return Array("RIFF".utf8) + little(total, 4) + Array("WAVEfmt ".utf8) + little(16, 4) + little(1, 2)
      + little(1, 2) + little(sampleRate, 4) + little(sampleRate * 2, 4) + little(2, 2) + little(16, 2)
      + comment + Array("data".utf8) + little(size, 4)
  }

  /// A LIST chunk with the comment (ICMT).
  private static func list(_ comment: String) -> [UInt8] {
    var words = Array(comment.utf8) + [0]
    if words.count % 2 == 1 { words.append(0) }
    return Array("LIST".utf8) + little(12 + words.count, 4) + Array("INFOICMT".utf8) + little(words.count, 4) + words
  }
}

private func little(_ value: Int, _ count: Int) -> [UInt8] {
  (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}
