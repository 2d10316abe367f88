import Basics
package import Distributed
import Foundation
import Generation
import Models
import NN
import Torch

/// The ranks that train together, and which of them this process is.
package struct Processes {
  package let group: ProcessGroup?
  /// Where this process computes; nil for what the settings say.
  let device: Device?

  package var rank: Int { group?.rank ?? 0 }
  package var count: Int { group?.size ?? 1 }

  package static let alone = Processes(group: nil, device: nil)

  /// The ranks that torchrun, mpirun, Slurm or Kubernetes started; one without a launcher.
  ///
  /// - Parameters:
  ///   - device: as settings name it; of several GPUs each local rank takes one.
  ///   - devicesPerProcess: GPUs that each rank takes, one behind the other; its group is on the first.
  ///   - timeout, onLoss: see `ProcessGroup`.
  /// - Throws: `LiveTalkError` for an incomplete launch environment, `TorchError` for ranks that do not connect.
  package static func launched(
    device: String, devicesPerProcess: Int = 1, timeout: Duration? = .seconds(1800),
    onLoss: @escaping @Sendable () -> Void = {}
  ) throws -> Processes {
    guard let launch = try LaunchEnvironment.read() else { return .alone }
    var device = try Device(parsing: device, of: "'run.device'")
    if case .cuda = device { device = .cuda(launch.localRank * devicesPerProcess) }
    let group = launch.size > 1 ? try ProcessGroup(launch, device: device, timeout: timeout, onLoss: onLoss) : nil
    return Processes(group: group, device: device)
  }

  /// Leaves the group; after a failure the other ranks end too.
  package func leave(failure: String? = nil) { group?.leave(failure: failure) }
}

/// What every stage needs: its run's settings, device, random streams, base checkpoint and ranks.
final class StageContext {
  let run: RunSettings
  let device: Device
  let streams: RandomStreams
  let base: CheckpointFolder
  let processes: Processes
  /// Loaded for the first sample.
  private var vae: WanVAE?

  init(_ run: RunSettings, _ processes: Processes) throws {
    self.run = run
    self.processes = processes
    device = try processes.device ?? Device(parsing: run.device, of: "'run.device'")
    streams = RandomStreams(seed: UInt64(run.seed))
    base = try CheckpointFolder(URL(fileURLWithPath: run.checkpoint))
  }

  /// Where networks share frozen weights, with LoRA; nil without.
  ///
  /// - Throws: `LiveTalkError` where weights are to be sharded that are not frozen.
  func bases(_ lowRank: LoRAConfiguration?) throws -> FrozenBases? {
    guard lowRank != nil || !run.shardWeights else {
      throw LiveTalkError(
        "Only frozen weights are shared out over ranks: set 'lowRank', or 'run.shardWeights' to false.")
    }
    return lowRank.map { _ in FrozenBases(shardedOver: run.shardWeights ? processes.group : nil) }
  }

  /// Latents `[1, C, F, H, W]` → video `[3, T, H, W]` in [-1, 1], by the base checkpoint's autoencoder.
  func decode(_ latents: Tensor) throws -> Tensor {
    let vae = try self.vae ?? base.loadVAE(device: device, dtype: run.precision.dtype)
    self.vae = vae
    return withGradients(false) { vae.decode(latents).select(0, 0) }
  }
}
