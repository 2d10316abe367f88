import Generation
import Models
import Torch

/// Draws of one score evaluation.
public struct ScoreDraw {
  /// The noise level of each clip before the shift, whole numbers in 0 ..< 1000, `[B, 1]`.
  public let timestep: Tensor
  /// `[B, C, F, H, W]`, standard normal.
  public let noise: Tensor

  public init(timestep: Tensor, noise: Tensor) {
    self.timestep = timestep
    self.noise = noise
  }
}

/// How latents are noised for the scores, and how a score's flow becomes x0.
public struct ScoreNoising: Sendable {
  /// The student's table.
  public let schedule: FlowMatchingSchedule
  /// The table that turns the scores' flow into x0. The published code uses another one (shift 8) than it noises with.
  public let conversion: FlowMatchingSchedule
  public let shift: Double
  public let range: ClosedRange<Double>

  public init(
    shift: Double = 5, conversionShift: Double = 5, range: ClosedRange<Double> = 20...980, device: Device = .cpu
  ) {
    schedule = .training(shift: shift, device: device)
    conversion = .training(shift: conversionShift, device: device)
    self.shift = shift
    self.range = range
  }

  /// The timesteps `[B, 1]` of a draw: shifted and clamped.
  public func timesteps(_ draw: ScoreDraw) -> Tensor {
    FlowMatchingSchedule.shiftedTimesteps(draw.timestep, shift: shift, clampedTo: range)
  }

  /// Noised latents whose first frame is the clean picture, `[B, C, F, H, W]`.
  public func noised(_ latents: Tensor, _ draw: ScoreDraw, _ conditions: Conditions) -> Tensor {
    let xt = schedule.addNoise(latents, draw.noise, timesteps: timesteps(draw))
    return ReferenceLatent.pinned(xt, to: conditions.referenceLatent.to(xt.dtype))
  }
}

/// Distribution matching distillation: the student's latents move along the difference of two scores.
///
/// The frozen teacher scores the real distribution, the critic that of the student. Nothing of the scores has a gradient; the
/// loss is built so that its gradient is the normalised difference. Source: DMD2, in the form of the published LiveTalk code.
public enum DistributionMatching {
  public struct Result {
    /// Scalar, fp64: half the mean square of the gradient.
    public let loss: Tensor
    /// The direction, `[B, C, F, H, W]`.
    public let klGradient: Tensor
    /// `[B, 1]`.
    public let timesteps: Tensor
    public let noisy: Tensor
    public let real, fake: Guidance.Branches
  }

  /// - Parameters:
  ///   - latents: the student's clip `[B, C, F, H, W]`, with its gradient.
  ///   - ignoredFrames: frames at the beginning that the loss leaves out.
  ///   - elementWeights: of the gradient, broadcast to `[B, 16, F, H, W]`; nil for all the same.
  public static func loss(
    _ latents: Tensor, _ conditions: Conditions, negativeText: Tensor, teacher: WanTransformer, critic: WanTransformer,
    teacherGuidance: Guidance, criticGuidance: Guidance, noising: ScoreNoising, _ draw: ScoreDraw,
    ignoredFrames: Int = 0, elementWeights: Tensor? = nil
  ) -> Result {
    let estimate = latents.detach().to(.float32)
    return withGradients(false) {
      let timesteps = noising.timesteps(draw)
      let noisy = noising.noised(estimate, draw, conditions)
      func predict(_ model: WanTransformer) -> (Conditions) -> Tensor {
        {
          noising.conversion.x0(
            flow: model.flow(noisy, timesteps: timesteps, $0), xt: noisy, timesteps: timesteps)
        }
      }
      let real = teacherGuidance.branches(conditions, negativeText: negativeText, predict(teacher))
      let fake = criticGuidance.branches(conditions, negativeText: negativeText, predict(critic))
      var gradient = klGradient(estimate, real: teacherGuidance.combine(real), fake: criticGuidance.combine(fake))
      if let elementWeights { gradient = gradient * elementWeights }
      return Result(
        loss: withGradients(true) { loss(latents, klGradient: gradient, ignoredFrames: ignoredFrames) },
        klGradient: gradient, timesteps: timesteps, noisy: noisy, real: real, fake: fake)
    }
  }

  /// (fake - real) / mean |latents - real|, the mean over each sample; what is not a number becomes 0, the infinite the largest fp32.
  public static func klGradient(_ latents: Tensor, real: Tensor, fake: Tensor) -> Tensor {
    let normaliser = (latents - real).abs().mean(1, 2, 3, 4, keep: true)
    let gradient = (fake - real) / normaliser
    let largest = Double(Float.greatestFiniteMagnitude)
    return gradient.maskedFill(gradient.isNaN(), 0).clamp(-largest, largest)
  }

  /// `0.5 · mse(latents, latents - klGradient)` in fp64, whose gradient for the latents is the KL gradient over their number.
  public static func loss(_ latents: Tensor, klGradient: Tensor, ignoredFrames: Int = 0) -> Tensor {
    let kept = latents.size(2) - ignoredFrames
    let x = latents.to(.float32).to(.float64).narrow(2, ignoredFrames, kept)
    let target = x.detach() - klGradient.to(.float64).narrow(2, ignoredFrames, kept)
    return (x - target).square().mean() * 0.5
  }
}
