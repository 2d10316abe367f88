import Generation
package import Torch

/// The critic's loss: flow matching on the student's clips.
package enum CriticObjective {
  /// Which elements have no loss.
  package enum Mask: String, Sendable, CaseIterable {
    /// The frames that are given, the first one of LiveTalk: what the published code means to do.
    case frame
    /// Channel 0 of every frame: what the published code does, since its mask has another order of axes.
    case channel
  }

  package struct Result {
    /// Scalar.
    package let loss: Tensor
    /// `[B, 1]`.
    package let timesteps: Tensor
    /// `[B, C, F, H, W]`: the critic's input, its flow, x0 of that flow, and the flow of that x0.
    package let noisy, modelFlow, x0, flow: Tensor
  }

  /// - Parameters:
  ///   - generated: the student's clip `[B, C, F, H, W]`.
  ///   - elementWeights: of the squared errors, broadcast to `[B, C, F, H, W]`; nil for uniform ones.
  package static func loss(
    _ critic: any TrainableTransformer, generated: Tensor, _ conditions: Conditions, noising: ScoreNoising,
    _ draw: ScoreDraw,
    mask: Mask = .frame, elementWeights: Tensor? = nil
  ) -> Result {
    let generated = generated.detach().to(.float32)
    let timesteps = noising.timesteps(draw)
    let noisy = noising.noised(generated, draw, conditions, for: critic)
    let modelFlow = critic.flow(noisy, timesteps: timesteps, conditions)
    let x0 = noising.conversion.x0(flow: modelFlow, xt: noisy, timesteps: timesteps)
    let flow = noising.schedule.flow(x0: x0, xt: noisy, timesteps: timesteps)
    var error = (flow - (draw.noise - generated)).square()
    if let elementWeights { error = error * elementWeights }
    let kept =
      switch mask {
      case .frame: error.narrow(2, critic.givenFrames, error.size(2) - critic.givenFrames)
      case .channel: error.narrow(1, 1, error.size(1) - 1)
      }
    return Result(loss: kept.mean(), timesteps: timesteps, noisy: noisy, modelFlow: modelFlow, x0: x0, flow: flow)
  }
}
