import Distributed
import Foundation
import Generation
import Models
import Torch

extension Probe {
  /// Generates videos with a tiny Live Avatar, one after the other: one process by a session, several as a pipeline; the one that decodes
  /// prints a line for each block.
  ///
  /// Arguments: `layers=N` for groups of layers in each process, then for each video blocks,blocks of a clip,when the sink changes,the
  /// seed; such as 7,2,released,3.
  static func avatar(_ arguments: [String], _ group: ProcessGroup?) throws {
    let layers = arguments.first.flatMap { $0.hasPrefix("layers=") ? Int($0.dropFirst(7)) : nil }
    let models = try LiveAvatarModels(
      random: .liveAvatarTiny, device: .cpu, dtype: .float32, weights: WeightOptions(layersPerDevice: layers))
    for argument in arguments.dropFirst(layers == nil ? 0 : 1) {
      let words = argument.split(separator: ",").map(String.init)
      let numbers = words.compactMap { Int($0) }
      guard words.count == 4, numbers.count == 3, let sink = AdaptiveSink(rawValue: words[2]) else {
        throw TorchError(
          "usage: distributed-probe avatar [layers=N] blocks,blocks-per-clip,paper|released|never,seed …")
      }
      try withInferenceMode {
        try generate(
          numbers[0], LiveAvatarOptions(blocksPerClip: numbers[1], adaptiveSink: sink, seed: UInt64(numbers[2])),
          models,
          group)
      }
    }
  }

  private static func generate(
    _ blocks: Int, _ options: LiveAvatarOptions, _ models: LiveAvatarModels, _ group: ProcessGroup?
  ) throws {
    let generator = RandomGenerator(seed: 4)
    let conditions = LiveAvatarConditions(
      sink: generator.normal([1, 16, 1, 8, 8]), motion: generator.normal([1, 16, 19, 8, 8]))
    let text = generator.normal([1, 6, models.textWidth])
    func features(_ block: Int) -> Tensor {
      RandomGenerator(seed: 50 + UInt64(block)).normal([1, 12, models.transformer.config.audioInputDim])
    }
    func show(_ block: Int, _ latents: Tensor, _ frames: PendingFrames) throws {
      let pixels = try frames.read().flatMap(\.self)
      say("block \(block): latents \(checksum(latents.array(Float.self))), \(frames.count) frames \(checksum(pixels))")
    }
    guard let group else {
      let session = try LiveAvatarSession(
        transformer: models.transformer, vae: models.vae, conditions: conditions, textEmbedding: text,
        options: options)
      for block in 0..<blocks {
        let latents = session.denoise(audioFeatures: features(block))
        try show(block, latents, session.decode(latents))
      }
      return
    }
    let plan = try PipelinePlan(steps: options.steps, ranks: group.size)
    let decodesOnly = plan.steps(of: group.rank).isEmpty
    let stage = try PipelineStage(
      plan, group, models: decodesOnly ? nil : models, vae: models.vae, conditions: conditions,
      textEmbedding: decodesOnly ? nil : text, options: options)
    for block in 0..<blocks {
      pause()
      let latents = try stage.next(audioFeatures: decodesOnly ? nil : { features(block) })
      if stage.decodes { try show(block, latents, try stage.decode(latents)) }
    }
    try stage.finish()
  }

  static func checksum<Value>(_ values: [Value]) -> UInt32 { values.withUnsafeBytes { Checksum.crc32c($0) } }
}
