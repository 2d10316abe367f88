import Models
import Testing
import Torch

@testable import Generation

@Suite struct AvatarSessionTests {
  private struct Stop: Error {}

  private func clip(_ seconds: Double) throws -> Clip {
    try Clip(samples: [Float](repeating: 0.1, count: Int(seconds * 16000)), seconds: nil)
  }

  @Test func `streamed frames are those of the whole clip decoded at once, cut to its length`() throws {
    let system = try TinySystem()
    let clip = try clip(2.4)
    let features = system.features(4 * clip.latentFrames - 3)
    try withInferenceMode {
      var frames: [[UInt8]] = []
      var progress: [Int] = []
      try system.session().generate(clip, audioFeatures: inBlocks(features), deliver: { frames.append($0) }) {
        progress.append($0)
      }
      #expect(frames.count == 38 && clip.videoFrames == 38 && progress == Array(1...clip.blocks))

      let session = try system.session()
      var row = 0
      let latents = (0..<clip.blocks).map { _ in
        let rows = session.videoFramesInNextBlock
        defer { row += rows }
        return session.denoise(audioFeatures: features.narrow(1, row, rows))
      }
      #expect(row == features.size(1))
      let whole = WanVAE.pixels(system.vae.decode(Tensor.cat(latents, 2)))
      #expect(whole.shape == [45, 32, 32, 3] && session.size == ReferencePicture.Size(height: 32, width: 32))
      let streamed = Tensor(frames.flatMap { $0 }, [38, 32, 32, 3])
      let difference = (whole.narrow(0, 0, 38).to(.int64) - streamed.to(.int64)).abs()
      #expect(difference.max().intItem <= 1)
      #expect(whole.to(.float32).variance(unbiased: false).item > 1)
    }
  }

  @Test func `the first block gives nine frames and every further one twelve`() throws {
    let session = try TinySystem().session()
    #expect(session.videoFramesInNextBlock == 9)
    #expect((0..<3).map { session.geometry.videoFrames(inBlock: $0, framesPerBlock: 3) } == [9, 12, 12])
    #expect(session.geometry.videoFrames(inBlock: 0, framesPerBlock: 1) == 1)
    #expect(session.geometry.latentChannels == 16 && session.geometry.spatialStride == 8)
  }

  @Test func `what a delivery throws ends the generation there`() throws {
    let system = try TinySystem()
    let clip = try clip(2.4)
    let session = try system.session()
    var delivered = 0
    #expect(throws: Stop.self) {
      try withInferenceMode {
        try session.generate(
          clip, audioFeatures: inBlocks(system.features(45)),
          deliver: { _ in
            delivered += 1
            if delivered == 5 { throw Stop() }
          })
      }
    }
    #expect(delivered == 5 && session.rollout.block == 1)
  }

  @Test(arguments: 0..<3)
  func `a failure inside a block costs the session, not the process`(failing: Int) throws {
    let system = try TinySystem()
    let session = try system.session()
    // The features of one block are of the wrong width.
    let features = (0..<3).map { block in
      let rows = block == 0 ? 9 : 12
      return block == failing ? Tensor.ones([1, rows, 5]) : system.features(rows)
    }
    #expect(throws: TorchError.self) {
      try withTorchErrors {
        try withInferenceMode { for block in features { _ = try session.next(audioFeatures: block).read() } }
      }
    }
    // Another session goes on.
    let other = try system.session()
    #expect(try withInferenceMode { try other.next(audioFeatures: system.features(9)).read() }.count == 9)
  }

  @Test func `a failure in the middle of denoising or decoding is thrown as well`() throws {
    let system = try TinySystem()
    let broken = NoiseSource(
      initial: { RandomGenerator(seed: 1).normal($1) },
      renewed: { _, index, shape in index == 1 ? Tensor.ones([7, 7]) : RandomGenerator(seed: 1).normal(shape) })
    #expect(throws: TorchError.self) {
      try withTorchErrors {
        try withInferenceMode {
          let session = try AvatarSession(
            transformer: system.transformer, vae: system.vae, referenceLatent: system.reference,
            textEmbedding: system.text, options: SessionOptions(), noise: broken)
          for _ in 0..<2 { _ = try session.next(audioFeatures: system.features(session.videoFramesInNextBlock)).read() }
        }
      }
    }
    #expect(throws: TorchError.self) {
      try withTorchErrors {
        try withInferenceMode { _ = try system.session().decode(Tensor.ones([1, 15, 3, 4, 4])).read() }
      }
    }
  }

  @Test func `a sequence of blocks of one frame streams too`() throws {
    let system = try TinySystem()
    let session = try system.session(SessionOptions(policy: .rolling(window: 3), steps: 2, framesPerBlock: 1))
    let counts = withInferenceMode {
      (0..<4).map { _ in session.next(audioFeatures: system.features(session.videoFramesInNextBlock)).count }
    }
    #expect(counts == [1, 4, 4, 4])
  }
}
