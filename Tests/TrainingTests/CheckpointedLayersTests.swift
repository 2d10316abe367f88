import Generation
import Models
import Testing
import Torch

@testable import Training

@Suite struct CheckpointedLayersTests {
  /// Value and gradients, those for the latents too, with and without checkpointed layers.
  private func compare(
    _ tiny: TinyModel, _ latents: Tensor, sourceLocation: SourceLocation = #_sourceLocation,
    _ loss: (WanTransformer, Tensor) throws -> Tensor
  ) throws {
    func run(_ isCheckpointed: Bool) throws -> (loss: Double, gradients: [String: Tensor]) {
      let model = tiny.checkpointing(isCheckpointed)
      let leaf = latents.clone()
      leaf.requiresGrad = true
      var value = Double.nan
      var gradients = try model.gradients {
        let loss = try loss(model.model, leaf)
        value = loss.detach().item
        loss.backward()
      }
      gradients["the latents"] = leaf.grad
      return (value, gradients)
    }
    let (plain, checkpointed) = (try run(false), try run(true))
    #expect(
      abs(plain.loss - checkpointed.loss) <= 1e-6 * max(1, abs(plain.loss)), sourceLocation: sourceLocation)
    expectEqual(plain.gradients, checkpointed.gradients, tolerance: 1e-6, sourceLocation: sourceLocation)
  }

  @Test(arguments: [false, true]) func `whole clips have the same gradients`(isMasked: Bool) throws {
    let tiny = try TinyModel(seed: 1, dim: 48)
    let conditions = tinyConditions(2, 3, latentFrames: 6)
    let mask = BlockMask(framesPerBlock: 3)
    let timesteps =
      isMasked
      ? Tensor([900, 900, 900, 300, 300, 300, 20, 20, 20, 700, 700, 700] as [Float], [2, 6])
      : Tensor([900, 20] as [Float], [2, 1])
    try compare(tiny, tinyLatents(4, 5, frames: 6)) { model, latents in
      let flow = model.flow(latents, timesteps: timesteps, conditions, mask: isMasked ? mask : nil)
      #expect(flow.requiresGrad)
      return flow.square().mean()
    }
  }

  @Test func `blocks over a memory have the same gradients`() throws {
    let tiny = try TinyModel(seed: 1, dim: 48)
    let conditions = tinyConditions(2, 3, latentFrames: 6)
    try compare(tiny, tinyLatents(4, 5, frames: 6)) { model, latents in
      let memory = RecordedMemory(model.memoryShape(for: latents), frames: 6)
      let audio = model.audioContext(packed: model.pack(audioFeatures: conditions.audioFeatures))
      let flows = (0..<2).map { block in
        model(
          block: latents.narrow(2, 3 * block, 3), start: 3 * block,
          condition: ReferenceLatent.condition(conditions.referenceLatent, frames: 3, startsClip: block == 0),
          timestep: model.read(timesteps: Tensor.full([2, 1], 600)), text: model.read(text: conditions.text),
          audio: audio.narrow(2, 3 * block, 3), memory: memory, rotary: model.rotary(for: latents))
      }
      return Tensor.cat(flows, 2).square().mean()
    }
  }

  @Test func `a pass without gradients does not keep anything`() throws {
    let tiny = try TinyModel(seed: 1, checkpointsLayers: true)
    let latents = tinyLatents(4, frames: 3)
    let conditions = tinyConditions(2, latentFrames: 3)
    let timesteps = Tensor.full([1, 1], 500)
    let (plain, checkpointed) = withGradients(false) {
      (
        tiny.checkpointing(false).model.flow(latents, timesteps: timesteps, conditions),
        tiny.model.flow(latents, timesteps: timesteps, conditions)
      )
    }
    #expect(!checkpointed.requiresGrad && plain.equals(checkpointed))
    #expect(tiny.model.flow(latents, timesteps: timesteps, conditions).maxAbsDifference(plain) < 1e-6)
  }
}
