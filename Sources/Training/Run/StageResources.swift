import Foundation
import Generation
import NN
import Torch

/// The processes that train together, and which of them this is.
package struct Processes {
  package let group: ProcessGroup?
  /// Where this process computes; nil for what the settings say.
  let device: Device?

  package var rank: Int { group?.rank ?? 0 }
  package var count: Int { group?.size ?? 1 }

  package static let alone = Processes(group: nil, device: nil)

  /// What a launcher started: torchrun, mpirun, Slurm, Kubernetes; one process without any.
  ///
  /// - Parameter device: as settings name it; of several GPUs each process of a machine takes one.
  /// - Throws: `TorchError` for half a launch environment, or processes that do not meet.
  package static func launched(device: String) throws -> Processes {
    guard let launch = try LaunchEnvironment.read() else { return .alone }
    var device = try Device(parsing: device)
    if case .cuda = device { device = .cuda(launch.localRank) }
    return Processes(group: launch.size > 1 ? try ProcessGroup(launch, device: device) : nil, device: device)
  }

  /// Takes leave of the others, who end too where it is for a failure.
  package func leave(failure: String? = nil) { group?.leave(failure: failure) }
}

/// What the stages have in common: where they compute, what they draw, whom they compute with.
final class StageResources {
  let run: RunSettings
  let device: Device
  let draws: Draws
  let base: CheckpointFolder
  let processes: Processes

  init(_ run: RunSettings, _ processes: Processes) throws {
    self.run = run
    self.processes = processes
    device = try processes.device ?? Device(parsing: run.device)
    draws = Draws(seed: UInt64(run.seed))
    base = try CheckpointFolder(URL(fileURLWithPath: run.checkpoint))
  }

  func dealer(clips: Int, stream: Int = 0) -> Dealer {
    Dealer(run, clips: clips, rank: processes.rank, ranks: processes.count, stream: stream)
  }

  func optimizer(
    _ parameters: [(name: String, tensor: Tensor)], _ settings: OptimizerSettings, _ average: EMASettings?
  ) throws -> ShardedOptimizer {
    try ShardedOptimizer(
      parameters, settings: settings.adamW, muon: settings.muon, averaging: average?.averaging, group: processes.group)
  }

  /// The backward pass of one of a step's passes; returns the loss's value.
  func backward(_ loss: Tensor, _ optimizer: ShardedOptimizer) -> Double {
    loss.backward()
    optimizer.accumulate(scale: 1 / Double(run.accumulation))
    return loss.detach().to(.float64).item / Double(run.accumulation)
  }

  /// A step of the optimiser; returns the norm of the gradient and the learning rate.
  func update(_ optimizer: ShardedOptimizer, _ settings: OptimizerSettings, step: Int) throws -> (
    norm: Double, rate: Double
  ) {
    let rate = settings.schedule(totalSteps: run.steps).rate(at: step)
    let norm = try optimizer.step(learningRate: rate, clippingTo: settings.clippingLimit)
    return (norm, rate)
  }

  /// The mean of a number over the processes.
  func mean(_ value: Double) throws -> Double {
    guard let group = processes.group else { return value }
    let tensor = Tensor([Float(value)], device: device)
    try group.allReduce(tensor, .mean)
    return tensor.select(0, 0).item
  }

  /// The decoder of the checkpoint, for samples.
  lazy var decoder: WanVAELoader = WanVAELoader(base, device, run.precision.dtype)
}

/// Loads the autoencoder when it is first needed.
final class WanVAELoader {
  private let folder: CheckpointFolder
  private let device: Device
  private let dtype: DType
  private var loaded: ((Tensor) -> Tensor)?

  init(_ folder: CheckpointFolder, _ device: Device, _ dtype: DType) {
    (self.folder, self.device, self.dtype) = (folder, device, dtype)
  }

  /// Latents `[1, C, F, H, W]` as a video `[3, T, H, W]` in [-1, 1].
  func decode(_ latents: Tensor) throws -> Tensor {
    if loaded == nil {
      let vae = try folder.loadVAE(device: device, dtype: dtype)
      loaded = { vae.decode($0).select(0, 0) }
    }
    return withGradients(false) { loaded?(latents) ?? latents }
  }
}
