import Models
import NN
import Testing
import Torch

@testable import Training

/// Passes of a tiny model over the memory of training.
@Suite struct RecordedMemoryTests {
  private func flows(
    _ model: WanTransformer, _ latents: Tensor, _ conditions: Conditions, _ memory: any AttentionMemory, recorded: Bool
  ) -> [Tensor] {
    let audio = model.audioContext(packed: model.pack(audioFeatures: conditions.audioFeatures))
    let (text, timestep) = (model.read(text: conditions.text), model.read(timesteps: Tensor.full([1, 1], 600)))
    return (0..<latents.size(2) / 3).map { block in
      withGradients(recorded) {
        model(
          block: latents.narrow(2, 3 * block, 3), start: 3 * block,
          condition: ReferenceLatent.condition(conditions.referenceLatent, frames: 3, startsClip: block == 0),
          timestep: timestep, text: text, audio: audio.narrow(2, 3 * block, 3), memory: memory,
          rotary: model.rotary(for: latents))
      }
    }
  }

  @Test(arguments: [12, 5, 7, 3])
  func `a pass with gradients is the pass of a rolling window that serves`(window: Int) throws {
    let tiny = try TinyModel(seed: 1, dim: 48)
    let (latents, conditions) = (tinyLatents(4, frames: 12), tinyConditions(2, latentFrames: 12))
    let shape = tiny.model.memoryShape(for: latents)
    let recorded = RecordedMemory(shape, frames: 12, visibleFrames: window)
    let replayed = RecordedMemory(shape, frames: 12, visibleFrames: window)
    let ring = RingMemory(shape, windowFrames: window)
    let (one, two, other) = (
      flows(tiny.model, latents, conditions, recorded, recorded: true),
      flows(tiny.model, latents, conditions, replayed, recorded: false),
      flows(tiny.model, latents, conditions, ring, recorded: false)
    )
    for block in 0..<4 {
      #expect(one[block].maxAbsDifference(other[block]) < 1e-5 && two[block].maxAbsDifference(other[block]) < 1e-5)
    }
    let all = recorded.ordered(layer: 0).keys
    #expect(all.maxAbsDifference(replayed.ordered(layer: 0).keys) < 1e-6)
  }

  @Test(arguments: [HistoryGradient.cut, .selfForcing])
  func `gradients cross blocks only where they are to`(gradient: HistoryGradient) throws {
    let tiny = try TinyModel(seed: 1, dim: 48)
    let (latents, conditions) = (tinyLatents(4, frames: 6), tinyConditions(2, latentFrames: 6))
    latents.requiresGrad = true
    let memory = RecordedMemory(tiny.model.memoryShape(for: latents), frames: 6, gradient: gradient)
    let flows = flows(tiny.model, latents, conditions, memory, recorded: true)
    let first = try #require(Tensor.gradients(of: [flows[1].square().sum()], with: [latents])[0]).narrow(2, 0, 3)
    #expect((first.abs().max().item > 0) == (gradient != .cut))
  }

  @Test func `a memory goes back to an earlier block`() throws {
    let tiny = try TinyModel(seed: 1, dim: 48)
    let (latents, conditions) = (tinyLatents(4, frames: 9), tinyConditions(2, latentFrames: 9))
    let memory = RecordedMemory(tiny.model.memoryShape(for: latents), frames: 9)
    _ = flows(tiny.model, latents, conditions, memory, recorded: false)
    memory.rewind(to: 3)
    #expect(
      memory.endFrame == 3 && memory.ordered(layer: 0).keys.size(1) == 3 * memory.ordered(layer: 0).keys.size(1) / 3)
    #expect(throws: TorchError.self) { try withTorchErrors { memory.rewind(to: 6) } }
  }
}
