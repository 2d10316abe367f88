import Generation
import Models
import Testing
import Torch

@testable import Training

@Suite struct TeacherSamplerTests {
  private let timesteps = RolloutSettings.livetalk.timesteps

  private func sampler(_ tiny: TinyModel, steps: Int, _ guidance: Guidance = .none) -> TeacherSampler {
    TeacherSampler(
      teacher: tiny.model, guidance: guidance,
      negativeText: RandomGenerator(seed: 9).normal([1, 5, TinyModel.textDim]), shift: 5, solverSteps: steps)
  }

  @Test(arguments: [1, 4, 7, 48]) func `the solver meets the student's levels and ends at 0`(steps: Int) throws {
    let parts = sampler(try TinyModel(seed: 1), steps: steps).grid(timesteps)
    #expect(parts.count == 4)
    for (part, (from, to)) in zip(parts, zip(timesteps, timesteps.dropFirst() + [0])) {
      #expect(abs((part.first ?? 0) - from / 1000) < 1e-14 && abs((part.last ?? 1) - to / 1000) < 1e-14)
      #expect(zip(part, part.dropFirst()).allSatisfy { $0 > $1 })
    }
    #expect(parts.last?.last == 0 && parts.first?.first == 1)
    let count = parts.map { $0.count - 1 }.reduce(0, +)
    #expect(count >= steps && count <= max(4, steps + 1))
  }

  @Test(arguments: [Guidance.none, Guidance(text: 1, audio: 2)])
  func `states begin with noise, and the first frame of each is the picture`(guidance: Guidance) throws {
    let tiny = try TinyModel(seed: 1)
    let conditions = tinyConditions(2, 3, latentFrames: 3)
    let noise = tinyLatents(4, 5, frames: 3)
    let states = sampler(tiny, steps: 6, guidance).trajectory(noise, conditions, timesteps: timesteps)
    #expect(states.shape == [2, 5, 16, 3, 4, 6] && states.dtype == .float32 && !states.requiresGrad)
    for state in 0..<5 {
      #expect(states.select(1, state).narrow(2, 0, 1).equals(conditions.referenceLatent))
    }
    #expect(states.select(1, 0).narrow(2, 1, 2).equals(noise.narrow(2, 1, 2)))
    #expect(states.isFinite().to(.float32).min().item == 1)
    // Each clip of the batch is its own.
    let alone = sampler(tiny, steps: 6, guidance).trajectory(
      tinyLatents(5, frames: 3), tinyConditions(3, latentFrames: 3), timesteps: timesteps)
    #expect(states.narrow(0, 1, 1).maxAbsDifference(alone) < 1e-4)
  }

  @Test func `one step of the solver is one step of Euler`() throws {
    let tiny = try TinyModel(seed: 1)
    let conditions = tinyConditions(2, latentFrames: 3)
    let noise = tinyLatents(4, frames: 3)
    let states = sampler(tiny, steps: 1).trajectory(noise, conditions, timesteps: [1000])
    let start = ReferenceLatent.pinned(noise, to: conditions.referenceLatent)
    let flow = withGradients(false) { tiny.model.flow(start, timesteps: Tensor.full([1, 1], 1000), conditions) }
    let expected = ReferenceLatent.pinned(start - flow, to: conditions.referenceLatent)
    #expect(states.select(1, 1).maxAbsDifference(expected) < 1e-5)
  }

  @Test func `more steps come closer to the solution`() throws {
    let tiny = try TinyModel(seed: 1)
    let conditions = tinyConditions(2, latentFrames: 3)
    func states(_ steps: Int) -> Tensor {
      sampler(tiny, steps: steps).trajectory(tinyLatents(4, frames: 3), conditions, timesteps: timesteps)
    }
    let exact = states(256)
    let distances = [4, 16, 64].map { states($0).maxAbsDifference(exact) }
    #expect(distances[0] > 1.5 * distances[1] && distances[1] > 1.5 * distances[2], "\(distances)")
    #expect(distances[2] > 0)
  }
}
