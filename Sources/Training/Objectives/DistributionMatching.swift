package import Generation
package import Torch

/// The random numbers of a score evaluation.
package struct ScoreDraw {
  /// Timesteps before the shift, integers in 0 ..< 1000, `[B, 1]`.
  package let timestep: Tensor
  /// `[B, C, F, H, W]`, standard normal.
  package let noise: Tensor

  package init(timestep: Tensor, noise: Tensor) {
    self.timestep = timestep
    self.noise = noise
  }
}

/// How latents are noised for the scores, and how their flow becomes x0.
package struct ScoreNoising: Sendable {
  /// The student's schedule.
  package let schedule: FlowMatchingSchedule
  /// Turns the scores' flow into x0. The published code uses another one (shift 8) than it noises with.
  package let conversion: FlowMatchingSchedule
  package let shift: Double
  package let range: ClosedRange<Double>

  package init(
    shift: Double = 5, conversionShift: Double = 5, range: ClosedRange<Double> = 20...980, device: Device = .cpu
  ) {
    schedule = .training(shift: shift, device: device)
    conversion = .training(shift: conversionShift, device: device)
    self.shift = shift
    self.range = range
  }

  /// Shifted and clamped timesteps, `[B, 1]`.
  package func timesteps(_ draw: ScoreDraw) -> Tensor {
    FlowMatchingSchedule.shiftedTimesteps(draw.timestep, shift: shift, clampedTo: range)
  }

  /// Noised latents, with what a model is given in its place, `[B, C, F, H, W]`.
  func noised(
    _ latents: Tensor, _ draw: ScoreDraw, _ conditions: Conditions, for model: any TrainableTransformer
  ) -> Tensor {
    model.pinned(schedule.addNoise(latents, draw.noise, timesteps: timesteps(draw)), to: conditions)
  }
}

/// Distribution matching distillation (DMD): the gradient of the student's latents is the normalised difference of two scores, that of
/// the real distribution by the frozen teacher and that of the student's by the critic.
///
/// Scores are computed without gradients. Source: DMD2, in the form of the published LiveTalk code.
package enum DistributionMatching {
  package struct Result {
    /// Scalar, fp64: half the mean square of the gradient.
    package let loss: Tensor
    /// `[B, C, F, H, W]`.
    package let klGradient: Tensor
    /// `[B, 1]`.
    package let timesteps: Tensor
    package let noisy: Tensor
    package let real, fake: Guidance.Branches
  }

  /// - Parameters:
  ///   - latents: the student's clip `[B, C, F, H, W]`, with its graph.
  ///   - ignoredFrames: leading frames without a loss.
  ///   - elementWeights: of the gradient, broadcast to `[B, 16, F, H, W]`; nil for uniform ones.
  package static func loss(
    _ latents: Tensor, _ conditions: Conditions, negativeText: Tensor, teacher: any TrainableTransformer,
    critic: any TrainableTransformer, teacherGuidance: Guidance, criticGuidance: Guidance, noising: ScoreNoising,
    _ draw: ScoreDraw,
    ignoredFrames: Int = 0, elementWeights: Tensor? = nil
  ) -> Result {
    let estimate = latents.detach().to(.float32)
    return withGradients(false) {
      let timesteps = noising.timesteps(draw)
      let noisy = noising.noised(estimate, draw, conditions, for: teacher)
      func predict(_ model: any TrainableTransformer) -> (Conditions) -> Tensor {
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

  /// (fake - real) / mean |latents - real|, with the mean over each sample. NaN becomes 0, infinities the largest fp32, as `nan_to_num`.
  package static func klGradient(_ latents: Tensor, real: Tensor, fake: Tensor) -> Tensor {
    let normaliser = (latents - real).abs().mean(1, 2, 3, 4, keep: true)
    let gradient = (fake - real) / normaliser
    let largest = Double(Float.greatestFiniteMagnitude)
    return gradient.maskedFill(gradient.isNaN(), 0).clamp(-largest, largest)
  }

  /// `0.5 · mse(latents, latents - klGradient)` in fp64: its gradient is the KL gradient divided by the number of elements.
  package static func loss(_ latents: Tensor, klGradient: Tensor, ignoredFrames: Int = 0) -> Tensor {
    let kept = latents.size(2) - ignoredFrames
    let x = latents.to(.float32).to(.float64).narrow(2, ignoredFrames, kept)
    let target = x.detach() - klGradient.to(.float64).narrow(2, ignoredFrames, kept)
    return (x - target).square().mean() * 0.5
  }
}
