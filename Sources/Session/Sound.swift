#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Mono sound: samples from -1 to 1.
///
/// As JSON it is `{"rate": 24000, "pcm": "…"}` with 16-bit little-endian samples in base64.
package struct PCM: Hashable, Sendable {
  package var samples: [Float]
  /// Samples per second.
  package var rate: Int

  package init(_ samples: [Float], rate: Int) { (self.samples, self.rate) = (samples, rate) }

  package var seconds: Double { Double(samples.count) / Double(rate) }
}

extension PCM {
  /// Rates that a conversation takes.
  package static let rates = 8000...48_000

  /// Samples of 16 bits, little-endian; half a sample at the end is left out.
  package init(int16 bytes: some Collection<UInt8>, rate: Int) {
    var samples: [Float] = []
    samples.reserveCapacity(bytes.count / 2)
    var low: UInt8?
    for byte in bytes {
      guard let first = low else {
        low = byte
        continue
      }
      samples.append(Float(Int16(bitPattern: UInt16(first) | UInt16(byte) << 8)) / 32768)
      low = nil
    }
    self.init(samples, rate: rate)
  }

  /// Samples of 16 bits, little-endian; what is outside of -1 to 1 is clipped, what is not a number is silence.
  package var int16: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(2 * samples.count)
    for sample in samples {
      let scaled = sample.isFinite ? min(max((sample * 32768).rounded(), -32768), 32767) : 0
      let bits = UInt16(bitPattern: Int16(scaled))
      bytes += [UInt8(truncatingIfNeeded: bits), UInt8(bits >> 8)]
    }
    return bytes
  }
}

extension PCM: Codable {
  private enum Key: String, CodingKey { case rate, pcm }

  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: Key.self)
    let rate = try fields.decode(Int.self, forKey: .rate)
    guard PCM.rates.contains(rate) else {
      throw DecodingError.dataCorruptedError(
        forKey: .rate, in: fields,
        debugDescription:
          "The rate of sound is from \(PCM.rates.lowerBound) to \(PCM.rates.upperBound) Hz, not \(rate).")
    }
    guard let bytes = Data(base64Encoded: try fields.decode(String.self, forKey: .pcm)) else {
      throw DecodingError.dataCorruptedError(forKey: .pcm, in: fields, debugDescription: "The sound is not base64.")
    }
    self.init(int16: bytes, rate: rate)
  }

  package func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: Key.self)
    try fields.encode(rate, forKey: .rate)
    try fields.encode(Data(int16).base64EncodedString(), forKey: .pcm)
  }
}
