import Foundation
import Models
import NN
import Testing
import Torch

@testable import Generation

/// The smallest system that can generate: random weights, 2×2 tokens a frame.
struct TinySystem {
  let transformer: WanTransformer
  let vae: WanVAE
  let reference: Tensor  // [1, 16, 1, 4, 4]
  let text: Tensor

  static let featureWidth = 6

  init(layers: Int = 4, dim: Int = 24, seed: UInt64 = 3) throws {
    let generator = RandomGenerator(seed: seed)
    let store = ParameterStore(random: generator)
    let config = WanTransformerConfiguration(
      trunk: WanTrunkConfiguration(
        dim: dim, inDim: 33, ffnDim: 2 * dim, textDim: 8, freqDim: 16, numHeads: 1, numLayers: layers),
      audioInputDim: Self.featureWidth, audioHiddenSize: 8)
    transformer = try WanTransformer(config, store.root / "transformer")
    vae = WanVAE(
      WanVAEConfiguration(
        width: 4, latentChannels: 16, widthMultipliers: [1, 2, 2, 2], residualBlocks: 1,
        temporalDownsampling: [false, true, true]), store.root / "vae")
    reference = generator.normal([1, 16, 1, 4, 4])
    text = generator.normal([1, 5, 8])
  }

  func features(_ frames: Int, seed: UInt64 = 4) -> Tensor {
    RandomGenerator(seed: seed).normal([1, frames, Self.featureWidth])
  }

  func audio(latentFrames: Int, seed: UInt64 = 4) -> Tensor {
    transformer.audioContext(packed: transformer.pack(audioFeatures: features(4 * latentFrames - 3, seed: seed)))
  }

  func rollout(
    _ policy: KVCachePolicy = .livetalk, steps: Int = 4, framesPerBlock: Int = 3, clipFrames: Int? = nil,
    positionLimit: Int? = 1024, seed: UInt64 = 0, tap: RolloutTap? = nil
  ) throws -> BlockRollout<WanTransformer> {
    let memory = try policy.memory(
      transformer.memoryShape(for: reference), framesPerBlock: framesPerBlock, clipFrames: clipFrames,
      positionLimit: positionLimit)
    return try BlockRollout(
      transformer: transformer, steps: FlowMatchingSchedule(shift: 5, steps: steps).steps(.float32),
      memories: [memory], framesPerBlock: framesPerBlock, textEmbedding: text, referenceLatent: reference,
      noise: NoiseSource(seed: seed), tap: tap)
  }

  func session(_ options: SessionOptions = SessionOptions()) throws -> AvatarSession {
    try AvatarSession(
      transformer: transformer, vae: vae, referenceLatent: reference, textEmbedding: text, options: options)
  }
}

/// The rows of features `[1, 4F - 3, C]`, block by block of three latent frames.
func inBlocks(_ features: Tensor) -> () -> Tensor {
  var row = 0
  return {
    let rows = row == 0 ? 9 : 12
    defer { row += rows }
    return features.narrow(1, row, rows)
  }
}

/// A folder that is there as long as the test.
final class TemporaryFolder {
  let url = FileManager.default.temporaryDirectory.appendingPathComponent("generation-\(UUID().uuidString)")
  init() throws { try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) }
  deinit { try? FileManager.default.removeItem(at: url) }

  func write(_ text: String, to path: String) throws {
    let file = url.appendingPathComponent(path)
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: file)
  }
}
