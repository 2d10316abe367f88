import Basics
import Session
import Testing

@testable import Dialogue

@Suite struct SoundDecoderTests {
  static let sound = PCM((0..<999).map { Float($0 % 200 - 100) / 128 }, rate: 24_000)

  @Test func `a stream with or without a header is the same wherever it is cut`() throws {
    for bytes in [Self.sound.wav, Self.sound.int16] {
      for size in [1, 2, 3, 7, 13, 44, 45, 1000, bytes.count] {
        var decoder = SoundDecoder(rate: 24_000)
        var samples: [Float] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
          samples += try decoder.bytes(bytes[start..<min(start + size, bytes.count)])?.samples ?? []
        }
        #expect(samples == Self.sound.samples, "in pieces of \(size)")
      }
    }
  }

  @Test func `every piece may be a WAV file of its own`() throws {
    var decoder = SoundDecoder(rate: 16_000)
    for _ in 0..<3 { #expect(try decoder.piece(Self.sound.wav) == Self.sound) }
  }

  @Test func `only the first piece may have a header`() throws {
    let bytes = Self.sound.int16
    var decoder = SoundDecoder(rate: 16_000)
    let first = PCM(Array(Self.sound.samples.prefix(100)), rate: 24_000)
    #expect(try decoder.piece(first.wav) == first)
    let rest = try decoder.piece(Array(bytes[200...]))
    #expect(rest?.samples == Array(Self.sound.samples[100...]) && rest?.rate == 24_000)
  }

  @Test func `half a sample waits for the next piece`() throws {
    let bytes = Self.sound.int16
    var decoder = SoundDecoder(rate: 24_000)
    var samples: [Float] = []
    for piece in [bytes[..<101], bytes[101..<102], bytes[102..<777], bytes[777...]] {
      samples += try decoder.piece(Array(piece))?.samples ?? []
    }
    #expect(samples == Self.sound.samples)
  }

  @Test func `channels are mixed, and headers of streams claim any length`() throws {
    var bytes = PCM([0.5, -0.5, 0.25, 0.75], rate: 16_000).wav
    bytes[22] = 2
    for length in [[0, 0, 0, 0], [255, 255, 255, 255], [0, 240, 255, 127]] as [[UInt8]] {
      bytes.replaceSubrange(40..<44, with: length)
      var decoder = SoundDecoder(rate: 24_000)
      #expect(try decoder.piece(bytes) == PCM([0, 0.5], rate: 16_000))
    }
  }

  @Test func `what is not 16-bit PCM is refused, and so is a rate that changes`() throws {
    var bytes = Self.sound.wav
    bytes[34] = 24
    var decoder = SoundDecoder(rate: 24_000)
    #expect(throws: SoundDecoder.Failure.unsupported) { try decoder.piece(bytes) }
    #expect(throws: SoundDecoder.Failure.unsupported) { try decoder.bytes(bytes) }
    var other = SoundDecoder(rate: 24_000)
    _ = try other.piece(Self.sound.wav)
    #expect(throws: SoundDecoder.Failure.changesRate) { try other.piece(PCM([0, 0], rate: 16_000).wav) }
  }

  @Test func `any bytes at all give samples or an error`() {
    var generator = SeededRandom(seed: 1)
    for _ in 0..<500 {
      var bytes = (0..<Int.random(in: 0...80, using: &generator)).map { _ in
        UInt8(truncatingIfNeeded: generator.next())
      }
      if Bool.random(using: &generator) {
        bytes.replaceSubrange(0..<min(12, bytes.count), with: Self.sound.wav.prefix(min(12, bytes.count)))
      }
      if Bool.random(using: &generator) {
        bytes = Array(Self.sound.wav.prefix(Int.random(in: 0...60, using: &generator))) + bytes
      }
      var decoder = SoundDecoder(rate: 24_000)
      _ = try? decoder.piece(bytes)
      var stream = SoundDecoder(rate: 24_000)
      for byte in bytes { _ = try? stream.bytes([byte]) }
    }
  }
}
