import Generation
import Models
import NN
import Torch

/// What a batch does to the gradients of student and critic in distribution matching distillation, wherever its clips and draws
/// come from.
package struct DMDPasses {
  /// What is drawn for one batch.
  package struct Draw {
    package let rollout: StudentRollout.Draw
    package let score: ScoreDraw

    package init(rollout: StudentRollout.Draw, score: ScoreDraw) {
      (self.rollout, self.score) = (rollout, score)
    }
  }

  private let settings: DMDConfiguration
  private let critic, teacher: WanTransformer
  private let rollout: StudentRollout
  private let noising: ScoreNoising

  package init(_ settings: DMDConfiguration, student: WanTransformer, critic: WanTransformer, teacher: WanTransformer) {
    self.settings = settings
    (self.critic, self.teacher) = (critic, teacher)
    rollout = StudentRollout(student, settings.rollout)
    noising = ScoreNoising(
      shift: settings.rollout.shift, conversionShift: settings.conversionShift,
      range: settings.timestepRange[0]...settings.timestepRange[1], device: student.device)
  }

  /// Rolls the student out, scores its clips, and adds their gradient, times `scale`, to what the student's optimiser gathers.
  ///
  /// - Parameter negativeText: what stands for no text, `[1 or B, L, textDim]`.
  /// - Returns: the loss, and the mean magnitude of the push.
  package func student(
    _ conditions: Conditions, negativeText: Tensor, _ draw: Draw, _ optimizer: ShardedOptimizer, scale: Double = 1,
    elementWeights: Tensor? = nil
  ) throws -> (loss: Double, push: Double) {
    let clips = try rollout.generate(conditions, draw.rollout, recorded: !settings.blockwise)
    let latents = settings.blockwise ? leaf(clips.latents) : clips.latents
    let result = DistributionMatching.loss(
      latents, conditions, negativeText: negativeText, teacher: teacher, critic: critic,
      teacherGuidance: settings.teacherGuidance, criticGuidance: settings.criticGuidance, noising: noising, draw.score,
      elementWeights: elementWeights)
    if !settings.blockwise {
      result.loss.backward()
    } else if let gradient = Tensor.gradients(of: [result.loss], with: [latents])[0] {
      rollout.backward(clips, conditions, gradient: gradient)
    }
    optimizer.accumulate(scale: scale)
    return (result.loss.detach().item, result.klGradient.abs().mean().item)
  }

  /// Rolls the student out without a gradient and adds the critic's on its clips, times `scale`, to what the critic's optimiser
  /// gathers.
  ///
  /// - Returns: the loss.
  package func critic(
    _ conditions: Conditions, _ draw: Draw, _ optimizer: ShardedOptimizer, scale: Double = 1,
    elementWeights: Tensor? = nil
  ) throws -> Double {
    let clips = try rollout.generate(conditions, draw.rollout, recorded: false)
    let result = CriticObjective.loss(
      critic, generated: clips.latents, conditions, noising: noising, draw.score, mask: settings.criticMask,
      elementWeights: elementWeights)
    result.loss.backward()
    optimizer.accumulate(scale: scale)
    return result.loss.detach().to(.float64).item
  }

  private func leaf(_ tensor: Tensor) -> Tensor {
    let leaf = tensor.detach()
    leaf.requiresGrad = true
    return leaf
  }
}
