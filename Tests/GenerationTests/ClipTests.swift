import Basics
import Models
import Testing
import Torch

@testable import Generation

@Suite struct ClipTests {
  private func clip(_ seconds: Double, of soundSeconds: Double = 1000, framesPerBlock: Int = 3) throws -> Clip {
    try Clip(
      samples: [Float](repeating: 0.5, count: Int(soundSeconds * 16000)), seconds: seconds,
      framesPerBlock: framesPerBlock)
  }

  @Test func `five seconds are 80 frames, 21 latent frames and 7 blocks`() throws {
    let clip = try clip(5)
    #expect(clip.videoFrames == 80 && clip.latentFrames == 21 && clip.blocks == 7)
    #expect(clip.samples.count == 80_000 && clip.paddedSamples.count == 80_000)
  }

  @Test(arguments: 0..<20)
  func `3n + 2 seconds fill their blocks, as the published rule has it`(n: Int) throws {
    let seconds = 3 * n + 2
    let clip = try clip(Double(seconds), of: 70)
    let latentFrames = (16 * seconds + 4) / 4  // of the published example
    #expect(clip.latentFrames == latentFrames)
    #expect(clip.videoFrames == 4 * latentFrames - 4)
    #expect(clip.paddedSamples == clip.samples)
  }

  @Test(arguments: [0.25, 1, 1.5, 3, 4, 6.3, 10, 59.99])
  func `other lengths are cut from the next whole block`(seconds: Double) throws {
    let clip = try clip(seconds, of: 70)
    #expect(abs(Double(clip.videoFrames) - seconds * 16) <= 0.5)
    let generated = clip.generatedFrames
    #expect(generated >= clip.videoFrames && generated - clip.videoFrames < 12)
    #expect(clip.paddedSamples.count == (generated - 1) * 1000)
    #expect(clip.paddedSamples.prefix(clip.samples.count).allSatisfy { $0 == 0.5 })
    #expect(clip.paddedSamples.dropFirst(clip.samples.count).allSatisfy { $0 == 0 })
  }

  @Test func `25 frames a second, two frames a latent one, other sound`() throws {
    let geometry = LatentGeometry(
      framesPerSecond: 25, sampleRate: 24_000, spatialStride: 16, temporalStride: 2, latentChannels: 5,
      audioRowsPerLatentFrame: 2, framesPerBlock: 4)
    let clip = try Clip(samples: [Float](repeating: 0.5, count: 48_000), seconds: nil, geometry: geometry)
    #expect(clip.videoFrames == 50 && clip.latentFrames == 28 && clip.blocks == 7 && clip.generatedFrames == 55)
    // 54 frames' time at 960 samples each.
    #expect(clip.paddedSamples.count == 51_840)
    #expect((0..<3).map { geometry.videoFrames(inBlock: $0, framesPerBlock: 4) } == [7, 8, 8])
  }

  @Test func `one sample is one frame`() throws {
    let clip = try Clip(samples: [1], seconds: nil)
    #expect(clip.videoFrames == 1 && clip.blocks == 1 && clip.samples == [1])
    #expect(clip.paddedSamples.count == 8000)
    let single = try Clip(samples: [1], seconds: nil, framesPerBlock: 1)
    #expect(single.latentFrames == 1 && single.paddedSamples.isEmpty)
  }

  @Test func `a sound shorter than asked for sets the length`() throws {
    let clip = try clip(100, of: 2)
    #expect(clip.videoFrames == 32 && clip.samples.count == 32_000)
    #expect(try Clip(samples: [0, 0], seconds: .infinity).videoFrames == 1)
  }

  @Test func `no sound and no length are refused`() {
    #expect(throws: TorchError.self) { try Clip(samples: [], seconds: 5) }
    for seconds in [0, -1, Double.nan, -Double.infinity] {
      #expect(throws: TorchError.self) { try Clip(samples: [0], seconds: seconds) }
    }
  }

  @Test func `sound and picture end within half a frame of each other, whatever the length`() throws {
    var generator = SeededRandom(seed: 2026)
    for _ in 0..<300 {
      let count = Int.random(in: 1...400_000, using: &generator)
      let seconds = Bool.random(using: &generator) ? Double.random(in: 0.001...30, using: &generator) : nil
      let framesPerBlock = Int.random(in: 1...5, using: &generator)
      let clip = try Clip(
        samples: [Float](repeating: 0, count: count), seconds: seconds, framesPerBlock: framesPerBlock)
      let (sound, picture) = (Double(clip.samples.count) / 16000, Double(clip.videoFrames) / 16)
      let context = "\(count) samples, \(seconds ?? -1) s, \(framesPerBlock) a block"
      #expect(abs(sound - picture) <= 0.5 / 16 + 1e-4 || clip.videoFrames == 1, "\(context)")
      #expect(clip.latentFrames == clip.blocks * framesPerBlock)
      let generated = 4 * clip.latentFrames - 3
      #expect(generated >= clip.videoFrames && generated < clip.videoFrames + 4 * framesPerBlock, "\(context)")
      #expect(clip.paddedSamples.count == (generated - 1) * 1000, "\(context)")
    }
  }
}
