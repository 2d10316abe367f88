import Basics
package import Generation
package import Models
package import Torch

/// ODE initialisation: the student learns to predict the clean end of the teacher's ODE trajectories from their states.
///
/// A trajectory has a state for each of the student's timesteps, and the clean end, which is never an input. Each block takes its own
/// state. Source: `ode_regression.py` of the published LiveTalk code.
package enum ODERegression {
  package struct Result {
    /// Scalar: the mean squared error of x0, the first frame included.
    package let loss: Tensor
    /// `[B, F]`.
    package let timesteps: Tensor
    /// `[B, C, F, H, W]`.
    package let xt, flow, x0: Tensor
  }

  /// - Parameters:
  ///   - trajectory: `[B, S + 1, C, F, H, W]`, from noise to clean.
  ///   - steps: the timesteps of the states, S + 1 of them; the last is 0.
  ///   - indices: the state each frame takes, `[B, F]`, the same within a block.
  ///   - elementWeights: of the squared errors, broadcast to `[B, 16, F, H, W]`; nil for uniform ones.
  package static func loss(
    _ model: any TrainableTransformer, trajectory: Tensor, steps: [Double], indices: Tensor, _ conditions: Conditions,
    schedule: FlowMatchingSchedule, mask: BlockMask, elementWeights: Tensor? = nil
  ) -> Result {
    let (batch, frames) = (trajectory.size(0), trajectory.size(3))
    let list = Tensor(steps.map(Float.init), device: trajectory.device)
    let timesteps = list.indexSelect(0, indices.flatten()).reshape(batch, frames)
    let index = indices.reshape(batch, 1, 1, frames, 1, 1).expand([batch, 1] + trajectory.shape[2...])
    let xt = trajectory.gather(1, index).squeeze(1)
    let flow = model.flow(xt, timesteps: timesteps, conditions, mask: mask)
    let x0 = schedule.x0(flow: flow, xt: xt, timesteps: timesteps)
    let clean = trajectory.select(1, trajectory.size(1) - 1)
    var squares = (x0 - clean).square()
    if let elementWeights { squares = squares * elementWeights }
    return Result(loss: squares.mean(), timesteps: timesteps, xt: xt, flow: flow, x0: x0)
  }

  /// Random indices `[B, F]` in 0 ..< steps - 1 → one per block; with `keepsFirstFrame` frame 0 has the clean state.
  package static func indices(_ draws: Tensor, framesPerBlock: Int, steps: Int, keepsFirstFrame: Bool = false) -> Tensor
  {
    let grouped = FlowMatching.grouped(draws, frames: draws.size(1), framesPerGroup: framesPerBlock)
    guard keepsFirstFrame else { return grouped }
    let first = grouped.narrow(1, 0, 1) * 0 + Double(steps - 1)
    return Tensor.cat([first, grouped.narrow(1, 1, grouped.size(1) - 1)], 1)
  }
}
