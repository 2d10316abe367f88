import Foundation
import Models
import Testing
import Torch

@testable import Generation

/// Layers whose weights stay in host memory. On a processor they are copied all the same, from one place in memory to another.
@Suite struct OffloadTests {
  private func models(_ dtype: DType = .float32, float8: Bool = false, offload: Bool) throws -> LiveAvatarModels {
    try LiveAvatarModels(
      random: .liveAvatarTiny, device: .cpu, dtype: dtype, weights: WeightOptions(float8: float8, offload: offload))
  }

  private func rollout(_ models: LiveAvatarModels, seed: UInt64 = 3) throws -> LiveAvatarRollout {
    let generator = RandomGenerator(seed: 4)
    return try LiveAvatarRollout(
      transformer: models.transformer,
      conditions: LiveAvatarConditions(
        sink: generator.normal([1, 16, 1, 8, 8]), motion: generator.normal([1, 16, 19, 8, 8])),
      textEmbedding: generator.normal([1, 6, models.textWidth]),
      options: LiveAvatarOptions(blocksPerClip: 2, seed: seed))
  }

  private func next(_ rollout: LiveAvatarRollout, _ models: LiveAvatarModels) -> Tensor {
    let features = RandomGenerator(seed: 50 + UInt64(rollout.blocks.block)).normal(
      [1, 12, models.transformer.config.audioInputDim])
    return rollout.next(audio: models.transformer.read(audioFeatures: features))
  }

  @Test(arguments: [(DType.float32, false), (.bfloat16, true)])
  func `offloaded layers make what layers on the device make, to the last bit`(dtype: DType, float8: Bool) throws {
    let (plain, offloaded) = (
      try models(dtype, float8: float8, offload: false), try models(dtype, float8: float8, offload: true)
    )
    try withInferenceMode {
      let (one, other) = (try rollout(plain), try rollout(offloaded))
      for block in 0..<5 {
        // Past the change of the sink, and with another text.
        if block == 3 {
          for rollout in [one, other] { rollout.setText(RandomGenerator(seed: 8).normal([1, 6, plain.textWidth])) }
        }
        #expect(next(one, plain).equals(next(other, offloaded)), "block \(block)")
      }
    }
  }

  @Test func `two sessions that share offloaded layers make what each makes alone`() throws {
    let models = try models(offload: true)
    try withInferenceMode {
      func alone(_ seed: UInt64) throws -> [Tensor] {
        let rollout = try rollout(models, seed: seed)
        return (0..<3).map { _ in next(rollout, models) }
      }
      let (first, second) = (try alone(3), try alone(5))
      let (one, other) = (try rollout(models, seed: 3), try rollout(models, seed: 5))
      for block in 0..<3 {
        #expect(next(one, models).equals(first[block]) && next(other, models).equals(second[block]))
      }
    }
  }

  @Test func `a family whose layers are not offloaded says so`() throws {
    let folder = try TemporaryFolder()
    let root = folder.url.appendingPathComponent("tiny")
    try RandomCheckpoint(ModelPreset.tiny).write(to: root)
    let error = #expect(throws: TorchError.self) {
      try CheckpointFolder(root).loadModels(device: .cpu, dtype: .float32, weights: WeightOptions(offload: true))
    }
    #expect(error?.description == "LiveTalk is not offloaded; leave --offload out.")
  }
}
