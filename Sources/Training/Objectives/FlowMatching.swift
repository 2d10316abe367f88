import Basics
package import Generation
package import Models
package import Torch

/// Flow matching: the model predicts the flow noise - x0 at a random timestep.
///
/// The teacher has one timestep per clip; the student one per block, with a block-causal mask (diffusion forcing).
/// Source: `FlowMatchScheduler` and the flow loss of the published Self-Forcing and LiveTalk code.
package enum FlowMatching {
  /// The random numbers of a batch.
  package struct Draw {
    /// `[B, C, F, H, W]`, standard normal.
    package let noise: Tensor
    /// Indices into the schedule, one per frame, `[B, F]`.
    package let indices: Tensor

    package init(noise: Tensor, indices: Tensor) {
      self.noise = noise
      self.indices = indices
    }
  }

  package struct Result {
    /// Scalar: the mean over frames of weight · mean squared error of the flow.
    package let loss: Tensor
    /// `[B, F]`.
    package let timesteps, weights: Tensor
    /// `[B, C, F, H, W]`.
    package let xt, target, flow: Tensor
  }

  /// The loss weight of a timestep.
  package enum Weighting: String, ConfigurationChoice {
    /// The table of the published code.
    case table
    /// sigma²: the squared error of x0 in place of the flow's.
    case x0
  }

  /// - Parameters:
  ///   - mask: nil for the teacher, block-causal for the student.
  ///   - elementWeights: of the squared errors, broadcast to `[B, 16, F, H, W]`; nil for uniform ones.
  package static func loss(
    _ model: any TrainableTransformer, x0: Tensor, _ conditions: Conditions, _ draw: Draw,
    schedule: FlowMatchingSchedule,
    mask: BlockMask? = nil, weighting: Weighting = .table, elementWeights: Tensor? = nil
  ) -> Result {
    let (batch, frames) = (x0.size(0), x0.size(2))
    let timesteps = schedule.timesteps.indexSelect(0, draw.indices.flatten()).reshape(batch, frames)
    let xt = schedule.addNoise(x0, draw.noise, timesteps: timesteps)
    // Without a mask all frames have the same timestep.
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

  /// Random values per frame `[B, F]` (or `[B, 1]`) → per group `[B, frames]`: each frame takes the value of its group's first frame.
  ///
  /// - Parameters:
  ///   - framesPerGroup: a block for the student, the clip for the teacher.
  ///   - firstFrameAlone: whether frame 0 is a group of its own.
  package static func grouped(_ draws: Tensor, frames: Int, framesPerGroup: Int, firstFrameAlone: Bool = false)
    -> Tensor
  {
    let alone = firstFrameAlone ? 1 : 0
    let picked = (0..<frames).map { frame in
      frame < alone || draws.size(1) == 1 ? 0 : (frame - alone) / framesPerGroup * framesPerGroup + alone
    }
    return draws.indexSelect(1, Tensor(picked, device: draws.device))
  }
}
