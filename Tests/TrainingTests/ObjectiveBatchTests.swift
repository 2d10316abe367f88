import Foundation
import Generation
import Models
import NN
import Testing
import Torch

@testable import Training

/// A batch is its clips alone: nothing of one reaches another, and the loss is the mean.
@Suite struct ObjectiveBatchTests {
  private let frames = 6
  private let noising = ScoreNoising()

  /// Compares the pass over two clips with the mean of the passes over each.
  private func compare(
    _ tiny: TinyModel, sourceLocation: SourceLocation = #_sourceLocation,
    _ loss: (_ clips: [UInt64]) throws -> Tensor
  ) throws {
    func run(_ clips: [UInt64]) throws -> (loss: Double, gradients: [String: Tensor]) {
      var value = Double.nan
      let gradients = try tiny.gradients {
        let loss = try loss(clips)
        value = loss.detach().to(.float64).item
        loss.backward()
      }
      return (value, gradients)
    }
    let (one, other, both) = (try run([1]), try run([2]), try run([1, 2]))
    let mean = (one.loss + other.loss) / 2
    #expect(abs(both.loss - mean) <= 2e-6 * abs(mean), "\(both.loss), alone \(mean)", sourceLocation: sourceLocation)
    #expect(abs(one.loss - other.loss) > 1e-3 * abs(mean), sourceLocation: sourceLocation)
    expectEqual(
      both.gradients, one.gradients.merging(other.gradients) { ($0 + $1) / 2 }.mapValues { $0 }, tolerance: 5e-6,
      sourceLocation: sourceLocation)
  }

  private func batch(_ clips: [UInt64], _ make: (UInt64) -> Tensor) -> Tensor { Tensor.cat(clips.map(make), 0) }
  private func latents(_ clips: [UInt64]) -> Tensor { batch(clips) { tinyLatents(10 + $0, frames: frames) } }
  private func conditions(_ clips: [UInt64]) -> Conditions {
    let each = clips.map { tinyConditions(20 + $0, latentFrames: frames) }
    return Conditions(
      text: Tensor.cat(each.map(\.text), 0), audioFeatures: Tensor.cat(each.map(\.audioFeatures), 0),
      referenceLatent: Tensor.cat(each.map(\.referenceLatent), 0))
  }
  /// Each clip at a level of its own.
  private func draw(_ clips: [UInt64]) -> ScoreDraw {
    ScoreDraw(
      timestep: batch(clips) { Tensor([$0 == 1 ? 700 : 150] as [Int64], [1, 1]) },
      noise: batch(clips) { tinyLatents(30 + $0, frames: frames) })
  }

  @Test func `flow matching of the teacher`() throws {
    let tiny = try TinyModel(seed: 1)
    try compare(tiny) { clips in
      let indices = batch(clips) { Tensor([$0 == 1 ? 100 : 800] as [Int64], [1, 1]) }
      return FlowMatching.loss(
        tiny.model, x0: latents(clips), conditions(clips),
        .init(
          noise: batch(clips) { tinyLatents(30 + $0, frames: frames) }, indices: indices.expand(clips.count, frames)),
        schedule: .training()
      ).loss
    }
  }

  @Test func `ODE regression`() throws {
    let tiny = try TinyModel(seed: 1)
    let mask = BlockMask(framesPerBlock: 3)
    try compare(tiny) { clips in
      let draws = batch(clips) { RandomGenerator(seed: $0).integers(0..<4, [1, frames]) }
      return ODERegression.loss(
        tiny.model,
        trajectory: Tensor.stack(
          (0..<5).map { state in batch(clips) { tinyLatents(100 * UInt64(state) + $0, frames: frames) } }, 1),
        steps: [1000, 936, 832, 624, 0], indices: ODERegression.indices(draws, framesPerBlock: 3, steps: 5),
        conditions(clips), schedule: .training(), mask: mask
      ).loss
    }
  }

  @Test(arguments: CriticObjective.Mask.allCases) func `the critic's loss`(mask: CriticObjective.Mask) throws {
    let tiny = try TinyModel(seed: 1)
    try compare(tiny) {
      CriticObjective.loss(tiny.model, generated: latents($0), conditions($0), noising: noising, draw($0), mask: mask)
        .loss
    }
  }

  @Test(arguments: [
    (Guidance.paper, Guidance.none), (Guidance(text: 3, audio: 5), Guidance(text: 2, audio: 1)),
    (Guidance(text: 5, audio: 5, convention: .literal), Guidance(text: 0, audio: 0, convention: .literal)),
  ])
  func `distribution matching, through the rollout`(teacherGuidance: Guidance, criticGuidance: Guidance) throws {
    let (student, teacher, critic) = (try TinyModel(seed: 1), try TinyModel(seed: 2, dim: 48), try TinyModel(seed: 3))
    let negative = RandomGenerator(seed: 4).normal([1, 5, TinyModel.textDim])
    try compare(student) { clips in
      let generators = clips.map { RandomGenerator(seed: 61 + $0) }
      func fresh(_ shape: [Int]) -> Tensor { Tensor.cat(generators.map { $0.normal([1] + shape[1...]) }, 0) }
      let noise = NoiseSource(initial: { fresh($1) }, renewed: { fresh($2) }, committed: { fresh($1) })
      let clip = try StudentRollout(student.model, .livetalk).generate(
        conditions(clips), .init(steps: [1, 1], noise: noise), recorded: true)
      let result = DistributionMatching.loss(
        clip.latents, conditions(clips), negativeText: negative, teacher: teacher.model, critic: critic.model,
        teacherGuidance: teacherGuidance, criticGuidance: criticGuidance, noising: noising, draw(clips))
      #expect(!result.klGradient.requiresGrad && result.timesteps.shape == [clips.count, 1])
      return result.loss
    }
    // The scores are asked, not trained.
    #expect((teacher.store.trained + critic.store.trained).allSatisfy { $0.tensor.grad == nil })
  }

  @Test func `the gradient of distribution matching is the direction over the number of elements`() throws {
    let (teacher, critic) = (try TinyModel(seed: 2), try TinyModel(seed: 3))
    let leaf = latents([1])
    leaf.requiresGrad = true
    for ignored in [0, 1] {
      let result = DistributionMatching.loss(
        leaf, conditions([1]), negativeText: Tensor.zeros([1, 5, TinyModel.textDim]), teacher: teacher.model,
        critic: critic.model, teacherGuidance: .none, criticGuidance: .none, noising: noising, draw([1]),
        ignoredFrames: ignored)
      let gradient = try #require(Tensor.gradients(of: [result.loss], with: [leaf])[0])
      let kept = frames - ignored
      let expected = result.klGradient.narrow(2, ignored, kept) / Double(leaf.count / frames * kept)
      #expect(gradient.narrow(2, ignored, kept).maxAbsDifference(expected) < 1e-9)
      #expect(gradient.narrow(2, 0, ignored).abs().sum().item == 0)
      #expect(expected.abs().max().item > 1e-5)
    }
    // Teacher and critic that agree leave nothing to learn.
    let agreed = DistributionMatching.loss(
      leaf, conditions([1]), negativeText: Tensor.zeros([1, 5, TinyModel.textDim]), teacher: teacher.model,
      critic: teacher.model, teacherGuidance: .none, criticGuidance: .none, noising: noising, draw([1]))
    #expect(agreed.loss.item == 0)
  }

  @Test func `NaN in the KL gradient becomes 0`() {
    let (latents, real) = (Tensor.ones([1, 1, 1, 1, 4]), Tensor.ones([1, 1, 1, 1, 4]))
    let direction = DistributionMatching.klGradient(
      latents, real: real, fake: Tensor([1, 2, 0, .nan], [1, 1, 1, 1, 4]))
    let largest = Double(Float.greatestFiniteMagnitude)
    #expect(direction.array(Double.self) == [0, largest, -largest, 0])
  }
}
