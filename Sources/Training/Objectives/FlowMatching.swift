import Generation
import Models
import Torch

/// Flow matching: the model learns the flow noise - x0 of clips noised to random levels.
///
/// The teacher sees the whole clip at one level; the student sees blocks, each at its own level, under the block-causal mask.
/// Source: `FlowMatchScheduler` and the flow loss of the published Self-Forcing and LiveTalk code.
public enum FlowMatching {
  /// What is drawn for one batch.
  public struct Draw {
    /// `[B, C, F, H, W]`, standard normal.
    public let noise: Tensor
    /// Entries of the table for each frame, `[B, F]`.
    public let indices: Tensor

    public init(noise: Tensor, indices: Tensor) {
      self.noise = noise
      self.indices = indices
    }
  }

  public struct Result {
    /// Scalar: the mean over frames of weight · mean squared error of the flow.
    public let loss: Tensor
    /// `[B, F]`.
    public let timesteps, weights: Tensor
    /// `[B, C, F, H, W]`.
    public let xt, target, flow: Tensor
  }

  /// What the error of a noise level counts.
  public enum Weighting: String, ConfigurationChoice {
    /// The table of the published training, over the error of the flow.
    case table
    /// The error of x0, which is sigma times the flow's.
    case x0
  }

  /// - Parameters:
  ///   - mask: nil for the teacher, else the block-causal mask.
  ///   - elementWeights: of the squared errors, broadcast to `[B, 16, F, H, W]`; nil for all the same.
  public static func loss(
    _ model: WanTransformer, x0: Tensor, _ conditions: Conditions, _ draw: Draw, schedule: FlowMatchingSchedule,
    mask: Tensor? = nil, weighting: Weighting = .table, elementWeights: Tensor? = nil
  ) -> Result {
    let (batch, frames) = (x0.size(0), x0.size(2))
    let timesteps = schedule.timesteps.indexSelect(0, draw.indices.flatten()).reshape(batch, frames)
    let xt = schedule.addNoise(x0, draw.noise, timesteps: timesteps)
    // Without a mask all frames share one timestep, and the model is told it once.
    let flow = model.flow(xt, timesteps: mask == nil ? timesteps.narrow(1, 0, 1) : timesteps, conditions, mask: mask)
    let target = draw.noise - x0
    let weights =
      switch weighting {
      case .table: schedule.weights(of: timesteps).reshape(batch, frames)
      case .x0: (timesteps / 1000).square()
      }
    var squares = (flow - target).square()
    if let elementWeights { squares = squares * elementWeights }
    let error = squares.mean(1, 3, 4)  // [B, F]
    return Result(
      loss: (error * weights).mean(), timesteps: timesteps, weights: weights, xt: xt, target: target, flow: flow)
  }

  /// One draw for each frame `[B, F]` (or `[B, 1]`) → the draws in use, `[B, frames]`: the first of each group counts for the group.
  ///
  /// - Parameters:
  ///   - framesPerGroup: a block for the student, the clip for the teacher.
  ///   - firstFrameAlone: whether frame 0 keeps its own draw and the groups begin after it.
  public static func grouped(_ draws: Tensor, frames: Int, framesPerGroup: Int, firstFrameAlone: Bool = false) -> Tensor
  {
    let alone = firstFrameAlone ? 1 : 0
    let picked = (0..<frames).map { frame in
      frame < alone || draws.size(1) == 1 ? 0 : (frame - alone) / framesPerGroup * framesPerGroup + alone
    }
    return draws.indexSelect(1, Tensor(picked, device: draws.device))
  }
}
