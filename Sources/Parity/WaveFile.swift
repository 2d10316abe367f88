import Basics
package import Foundation

/// A RIFF/WAVE file of 16-bit or 32-bit float samples, read without a media library.
package struct WaveFile {
  package let sampleRate: Int
  package let channels: Int
  /// In ±1, channels interleaved.
  package let samples: [Float]

  /// - Throws: `LiveTalkError` for anything but whole PCM 16 or float 32.
  package init(contentsOf url: URL) throws {
    let name = url.lastPathComponent
    let bytes = [UInt8](try Data(contentsOf: url))
    func number(_ at: Int, _ width: Int) -> Int { bytes[at..<at + width].reversed().reduce(0) { $0 << 8 | Int($1) } }
    func tag(_ at: Int) -> String { String(decoding: bytes[at..<at + 4], as: UTF8.self) }
    guard bytes.count >= 12, tag(0) == "RIFF", tag(8) == "WAVE" else { throw LiveTalkError("\(name) is no WAVE file") }
    var format: (code: Int, channels: Int, rate: Int, bits: Int)?
    var position = 12
    while position + 8 <= bytes.count {
      let (size, body) = (number(position + 4, 4), position + 8)
      guard size <= bytes.count - body else { throw LiveTalkError("\(name) is truncated") }
      if tag(position) == "fmt ", size >= 16 {
        var code = number(body, 2)
        // An extensible format tells the kind of samples at the start of its identifier.
        if code == 0xFFFE, size >= 26 { code = number(body + 24, 2) }
        format = (code, number(body + 2, 2), number(body + 4, 4), number(body + 14, 2))
      }
      if tag(position) == "data", let format {
        let data = Array(bytes[body..<body + size])
        switch (format.code, format.bits) {
        case (1, 16):
          samples = data.withUnsafeBytes { raw in
            (0..<size / 2).map {
              Float(Int16(littleEndian: raw.loadUnaligned(fromByteOffset: 2 * $0, as: Int16.self))) / 32768
            }
          }
        case (3, 32):
          samples = data.withUnsafeBytes { raw in
            (0..<size / 4).map {
              Float(bitPattern: UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)))
            }
          }
        default: throw LiveTalkError("\(name) has samples of kind \(format.code) with \(format.bits) bits")
        }
        (channels, sampleRate) = (format.channels, format.rate)
        return
      }
      position = body + size + size % 2
    }
    throw LiveTalkError("\(name) has no samples")
  }
}
