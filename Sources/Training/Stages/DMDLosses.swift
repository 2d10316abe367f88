import Generation
package import Torch

/// The losses of student and critic in distribution matching distillation, for given conditions and random numbers.
package struct DMDLosses {
  /// The random numbers of a micro-batch.
  package struct Draw {
    package let rollout: RolloutDraw
    package let score: ScoreDraw

    package init(rollout: RolloutDraw, score: ScoreDraw) {
      (self.rollout, self.score) = (rollout, score)
    }
  }

  private let settings: DMDConfiguration
  private let critic, teacher: any TrainableTransformer
  private let rollout: any ClipRollout
  private let noising: ScoreNoising

  package init(
    _ settings: DMDConfiguration, student: any TrainableTransformer, critic: any TrainableTransformer,
    teacher: any TrainableTransformer
  ) {
    self.settings = settings
    (self.critic, self.teacher) = (critic, teacher)
    rollout = student.rollout(settings.rollout)
    noising = ScoreNoising(
      shift: settings.rollout.shift, conversionShift: settings.conversionShift,
      range: settings.timestepRange[0]...settings.timestepRange[1], device: student.device)
  }

  /// The distribution matching loss of a rollout, and the mean magnitude of its KL gradient.
  ///
  /// - Parameter negativeText: the negative prompt, `[1 or B, L, textDim]`.
  package func student(
    _ conditions: Conditions, negativeText: Tensor, _ draw: Draw, elementWeights: Tensor? = nil
  ) throws -> BatchLoss {
    let clips = try rollout.generate(conditions, draw.rollout, recorded: !settings.blockwise)
    let latents = settings.blockwise ? clips.latents.detach() : clips.latents
    if settings.blockwise { latents.requiresGrad = true }
    let result = DistributionMatching.loss(
      latents, conditions, negativeText: negativeText, teacher: teacher, critic: critic,
      teacherGuidance: settings.teacherGuidance, criticGuidance: settings.criticGuidance, noising: noising, draw.score,
      elementWeights: elementWeights)
    let metrics = [(name: "klGradient", value: result.klGradient.abs().mean())]
    guard settings.blockwise else { return BatchLoss(result.loss, metrics) }
    return BatchLoss(result.loss, metrics) {
      if let gradient = latents.grad { rollout.backward(clips, conditions, gradient: gradient) }
    }
  }

  /// The critic's loss on clips that the student generates without a gradient.
  package func critic(_ conditions: Conditions, _ draw: Draw, elementWeights: Tensor? = nil) throws -> BatchLoss {
    let clips = try rollout.generate(conditions, draw.rollout, recorded: false)
    return BatchLoss(
      CriticObjective.loss(
        critic, generated: clips.latents, conditions, noising: noising, draw.score, mask: settings.criticMask,
        elementWeights: elementWeights
      ).loss)
  }
}
