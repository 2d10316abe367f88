import ClipShards
package import Foundation
package import Generation
import Models
package import Torch

/// A video that shows what the model can do by now.
package struct SampleVideo {
  /// 8-bit RGB `[T, H, W, 3]`.
  package let pixels: Tensor
  package let step: Int
  package let fps: Int
}

/// A kind of training: its networks and their losses. The `Trainer` does what all kinds share.
package protocol TrainingStage: AnyObject {
  var run: RunSettings { get }
  /// In the order in which a step updates them; the first one is exported.
  var networks: [TrainedNetwork] { get }

  /// The forward pass of a network on a micro-batch.
  func loss(of network: TrainedNetwork, on batch: MicroBatch) throws -> BatchLoss

  /// Where it computes, and bytes there that each clip of a micro-batch takes at least; nil where that is not known.
  var memoryOfClip: (device: Device, bytes: Int)? { get }

  /// Whether a sample takes all ranks.
  var samplesOnAllRanks: Bool { get }
  /// Of sample videos.
  var framesPerSecond: Int { get }
  /// A video in [-1, 1], `[3, T, H, W]`; nil for a stage that makes none.
  func sample() throws -> Tensor?

  /// The parts of a checkpoint folder that `export` writes.
  var exported: [CheckpointFolder.Part] { get }
  /// Writes the first network's weights into a checkpoint folder that has all other parts.
  func export(_ values: [(name: String, tensor: Tensor)], to folder: URL) throws
  /// Changes the folder's settings: a transformer serves the sizes it was trained at.
  func adjust(_ settings: inout CheckpointSettings)
}

extension TrainingStage {
  package var memoryOfClip: (device: Device, bytes: Int)? { nil }
  package var samplesOnAllRanks: Bool { false }
  package var framesPerSecond: Int { LatentGeometry.livetalk.framesPerSecond }
  package func sample() throws -> Tensor? { nil }
  package func adjust(_ settings: inout CheckpointSettings) {}
}

/// A stage that trains a transformer on clips prepared as latents.
protocol TransformerStage: TrainingStage {
  var context: StageContext { get }
  var transformer: LoadedTransformer { get }
  var clips: LatentClips { get }
}

extension TransformerStage {
  var run: RunSettings { context.run }
  var exported: [CheckpointFolder.Part] { transformer.exported }
  var samplesOnAllRanks: Bool { run.shardWeights }
  var framesPerSecond: Int { context.base.geometry.framesPerSecond }

  func adjust(_ settings: inout CheckpointSettings) { settings.imageSizes = [clips.pixels] }

  /// The keys and values of a block, which every transformer that is trained or rolled out has at once.
  var memoryOfClip: (device: Device, bytes: Int)? {
    let sizes = transformer.model.trunkSizes
    guard let latents = clips.clips.index.clips.first?.tensors["latents"]?.shape, latents.count == 4 else { return nil }
    let patch = sizes.patchSize.reduce(1, *)
    let rows = min(latents[1], context.base.geometry.framesPerBlock) * latents[2] * latents[3] / max(patch, 1)
    return (context.device, 2 * sizes.numLayers * rows * sizes.dim * run.precision.dtype.size)
  }

  func export(_ values: [(name: String, tensor: Tensor)], to folder: URL) throws {
    try transformer.write(values, to: folder)
  }

  /// What the student generates from the first clip's conditions, by the steps that serve.
  func studentSample(_ rollout: RolloutSettings) throws -> Tensor {
    var settings = rollout
    settings.historyGradient = .cut
    if settings.commit != .everyStep { settings.commit = .clean }
    let steps = [Int](repeating: settings.timesteps.count - 1, count: clips.latentFrames / settings.framesPerBlock)
    let noise = NoiseSource(context.streams.generator(.sample, 0))
    let generated = try transformer.model.rollout(settings).generate(
      try clips.conditions([0]), .init(steps: steps, noise: noise), recorded: false)
    return try context.decode(generated.latents)
  }
}
