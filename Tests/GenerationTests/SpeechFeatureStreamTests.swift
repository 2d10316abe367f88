import Foundation
import Models
import NN
import Testing
import Torch

@testable import Generation

@Suite struct SpeechFeatureStreamTests {
  private let encoder: Wav2Vec2

  init() throws {
    encoder = Wav2Vec2(
      Wav2Vec2Configuration(
        width: 16, layers: 2, heads: 2, feedForwardWidth: 32, convolutionWidths: Array(repeating: 8, count: 7),
        positionKernel: 8, positionGroups: 2), ParameterStore(random: RandomGenerator(seed: 3)).root)
  }

  /// Tones that come and go.
  private func sound(_ seconds: Double) -> [Float] {
    (0..<Int(seconds * 16_000)).map { sample in
      let time = Double(sample) / 16_000
      return Float(sin(time * 1400 + 3 * sin(time * 5)) * (0.2 + 0.2 * sin(time * 4)))
    }
  }

  private func blocks(_ stream: SpeechFeatureStream, _ samples: [Float], chunk: Int) throws -> [Tensor] {
    var (stream, blocks) = (stream, [Tensor]())
    try withInferenceMode {
      for start in stride(from: 0, to: samples.count, by: chunk) {
        stream.append(samples[start..<min(start + chunk, samples.count)])
        while let features = try stream.next() { blocks.append(features) }
      }
      stream.end()
      while blocks.count < 5, let features = try stream.next() { blocks.append(features) }
    }
    return blocks
  }

  @Test(arguments: [1600, 333, 48_000])
  func `features do not depend on the sizes in which sound arrives`(chunk: Int) throws {
    let samples = sound(3)
    let stream = SpeechFeatureStream(encoder, window: .init(past: 1, lookAhead: 0.3))
    let (whole, parts) = (
      try blocks(stream, samples, chunk: samples.count), try blocks(stream, samples, chunk: chunk)
    )
    #expect(parts.map { $0.size(1) } == [9, 12, 12, 12, 12])
    #expect(zip(whole, parts).allSatisfy { $0.equals($1) })
  }

  @Test func `a block waits for its look-ahead and no longer`() throws {
    var stream = SpeechFeatureStream(encoder, window: .init(past: 1, lookAhead: 0.25))
    func rows() throws -> Int? { try withInferenceMode { try stream.next()?.size(1) } }
    // The first block ends with frame 8, 3 frames follow it, and a feature sees 400 samples: 0.25 s would be 12,000.
    for (block, (frames, samples)) in [(9, 11_400), (12, 12_000)].enumerated() {
      stream.append([Float](repeating: 0.1, count: samples - 1))
      #expect(try rows() == nil && stream.block == block)
      stream.append([0.1])
      #expect(try rows() == frames)
    }
    // Nothing more comes: silence stands behind it, for as many blocks as are asked for.
    stream.end()
    for _ in 0..<3 { #expect(try rows() == 12) }
  }

  @Test func `what is far in the past is forgotten, and features stay finite`() throws {
    func last(_ early: Float) throws -> Tensor {
      // Both have the same mean and variance.
      let samples = (0..<64_000).map { $0 % 2 == 0 ? early : -early } + sound(4)
      return try blocks(SpeechFeatureStream(encoder, window: .init(past: 0.5, lookAhead: 0.1)), samples, chunk: 4000)[9]
    }
    let (one, other) = (try last(0.2), try last(-0.2))
    #expect(one.equals(other) && one.isFinite().to(.int64).min().intItem == 1)
  }

  @Test func `25 frames a second, with blocks of their own`() throws {
    let geometry = LatentGeometry(
      framesPerSecond: 25, sampleRate: 16_000, spatialStride: 8, temporalStride: 2, latentChannels: 4,
      audioRowsPerLatentFrame: 2, framesPerBlock: 4)
    let stream = SpeechFeatureStream(encoder, geometry: geometry, window: .init(past: 1, lookAhead: 0.2))
    let (whole, parts) = (try blocks(stream, sound(3), chunk: 48_000), try blocks(stream, sound(3), chunk: 700))
    #expect(whole[0].size(1) == 7 && whole[1].size(1) == 8)
    #expect(zip(whole, parts).allSatisfy { $0.equals($1) })
  }

  @Test func `a clip of a minute is encoded as a whole, a longer one as a stream`() throws {
    func features(_ seconds: Double) throws -> (clip: Clip, rows: Tensor) {
      let clip = try Clip(samples: sound(seconds), seconds: nil)
      return try withInferenceMode {
        let next = try clip.audioFeatures(encoder)
        return (clip, Tensor.cat(try (0..<clip.blocks).map { _ in try next() }, 1))
      }
    }
    let short = try features(4)
    let whole = try withInferenceMode {
      try encoder.encode(short.clip.paddedSamples, frameCount: short.clip.generatedFrames)
    }
    #expect(short.rows.equals(whole))
    let long = try features(62)
    #expect(long.rows.size(1) == long.clip.generatedFrames)
    var stream = SpeechFeatureStream(encoder)
    stream.append(long.clip.samples)
    let first = try withInferenceMode { try #require(try stream.next()) }
    #expect(first.equals(long.rows.narrow(1, 0, 9)))
  }

  /// The bundled encoder, which was trained on two seconds at a time, depends much on what is around.
  @Test(arguments: ["librivox_austen", "librivox_austen_0870", "librivox_austen_0920"])
  func `Live features of human speech are close to those of the whole clip`(name: String) throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../..").standardized
    let file = try Data(contentsOf: root.appendingPathComponent("Examples/\(name).wav"))
    let bytes = [UInt8](file[try #require(file.range(of: Data("data".utf8))).upperBound...]).dropFirst(4)
    let samples = stride(from: bytes.startIndex, to: bytes.endIndex - 1, by: 2).map {
      Float(Int16(bitPattern: UInt16(bytes[$0]) | UInt16(bytes[$0 + 1]) << 8)) / 32_768
    }
    let folder = try CheckpointFolder(root.appendingPathComponent("Models/mini"))
    let encoder = try folder.loadAudioEncoder(dtype: .float32)
    let clip = try Clip(samples: samples, seconds: nil)
    try withInferenceMode {
      let whole = try encoder.encode(
        clip.paddedSamples + [Float](repeating: 0, count: 400), frameCount: clip.generatedFrames, samplesPerFrame: 1000
      ).squeeze(0)
      var stream = SpeechFeatureStream(encoder)
      stream.append(samples)
      stream.end()
      let live = Tensor.cat(try (0..<clip.blocks).map { _ in try #require(try stream.next()) }, 1).squeeze(0)
      func cosine(_ a: Tensor, _ b: Tensor) -> Double { ((a * b).sum(1) / (a.norm(2, 1) * b.norm(2, 1))).mean().item }
      // All features of a recording have much in common, which tells nothing: what is left without it is compared as well.
      let common = whole.mean(0, keep: true)
      let (ownWhole, ownLive) = (whole - common, live - common)
      let shifted = cosine(ownWhole.roll(8, 0), ownLive)
      // Measured: 0.86 to 0.89, and 0.72 to 0.77; half a second off they are no nearer than any other sound.
      #expect(cosine(whole, live) > 0.8 && cosine(ownWhole, ownLive) > 0.7 && abs(shifted) < 0.1, "\(shifted)")
    }
  }
}

@Suite struct LiveSpeechFeatureTests {
  private func stream() -> SpeechFeatureStream {
    let store = ParameterStore(random: RandomGenerator(seed: 1))
    return SpeechFeatureStream(Wav2Vec2(ModelPreset.tiny.audioEncoder, store.root))
  }

  private let noise: [Float] = (RandomGenerator(seed: 2).normal([16_000 * 6]) * 0.1).array()

  @Test func `a look-ahead that is told beforehand gives what one that has come gives`() throws {
    var (whole, told) = (stream(), stream())
    whole.append(noise)
    var start = 0
    for block in 0..<4 {
      let count = block == 0 ? 9000 : 12_000
      told.append(noise[start..<start + count])
      start += count
      let expected = try #require(try whole.next())
      let features = try #require(try told.next(before: Array(noise[start..<start + 8000])))
      #expect(expected.maxAbsDifference(features) < 2e-2, "the loudness of the look-ahead is not known yet")
      #expect(expected.shape == features.shape)
    }
  }

  @Test func `a block whose own sound is not there yet has no features`() throws {
    var stream = stream()
    stream.append(noise.prefix(8999))
    #expect(try stream.next(before: [Float](repeating: 0, count: 16_000)) == nil)
    stream.append(noise[8999..<9000])
    #expect(try stream.next(before: []) != nil)
  }

  @Test func `silence between utterances does not make the next one louder`() throws {
    func features(after silence: Int) throws -> Tensor {
      var stream = stream()
      stream.append(noise.prefix(9000))
      _ = try stream.next(before: [])
      for _ in 0..<silence {
        stream.append(silence: 12_000)
        _ = try stream.next(before: [])
      }
      stream.append(noise.prefix(12_000))
      return try #require(try stream.next(before: []))
    }
    // Beyond the window of the past it does not matter for how long nobody spoke.
    #expect(try features(after: 4).maxAbsDifference(try features(after: 12)) < 1e-4)
  }

  @Test func `fewer pictures per second take more sound each`() throws {
    var stream = stream()
    stream.append(noise.prefix(9000))
    _ = try stream.next(before: [])
    stream.setFramesPerSecond(8)
    stream.append(noise[9000..<32_999])
    #expect(try stream.next(before: []) == nil)
    stream.append(noise[32_999..<33_000])
    #expect(try #require(try stream.next(before: [])).size(1) == 12)
    stream.setFramesPerSecond(16)
    stream.append(noise[33_000..<45_000])
    #expect(try #require(try stream.next(before: [])).size(1) == 12)
  }
}
