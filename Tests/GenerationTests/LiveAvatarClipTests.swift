import Models
import NN
import Testing
import Torch

@testable import Generation

/// A whole clip in one pass, as training takes it, against the blocks that serve.
@Suite struct LiveAvatarClipTests {
  let system: TinyLiveAvatar
  let latents: Tensor
  /// Of blocks: noise of its own level for each.
  let levels: [Double] = [1000, 857.6923, 400, 20]
  init() throws {
    system = try TinyLiveAvatar()
    latents = RandomGenerator(seed: 8).normal([1, 16, 12, 8, 8])
  }

  private var transformer: WanS2VTransformer { system.models.transformer }

  /// The blocks of a clip one after the other over a memory, each at its own noise level.
  private func served(_ distance: SinkDistance, windowFrames: Int = 12) throws -> Tensor {
    var model = transformer
    model.sinkDistance = distance
    let reference = system.conditions.reference
    let (rotary, text) = (model.rotary(for: reference), model.read(text: system.text))
    let condition = model.read(
      reference: reference, text: text, timestep: model.read(timesteps: Tensor.zeros([1, 1])), rotary: rotary)
    let memory = RingMemory(model.memoryShape(for: reference), windowFrames: windowFrames)
    return Tensor.cat(
      levels.enumerated().map { block, level in
        model.flow(
          latents.narrow(2, 3 * block, 3), block: 3 * block..<3 * block + 3, step: 0, reference: condition,
          timestep: model.read(timesteps: Tensor.full([1, 1], level)), text: text, audio: system.audio(block),
          memory: memory, rotary: rotary)
      }, 2)
  }

  private func whole(_ distance: SinkDistance, windowFrames: Int? = nil, isMasked: Bool = true) -> Tensor {
    var model = transformer
    model.sinkDistance = distance
    return model(
      clip: latents, reference: system.conditions.reference,
      timesteps: Tensor(levels.flatMap { [$0, $0, $0] }, [1, 12]).to(.float32), text: model.read(text: system.text),
      features: Tensor.cat((0..<4).map(system.features), 1),
      mask: isMasked ? BlockMask(framesPerBlock: 3, windowFrames: windowFrames) : nil)
  }

  @Test func `a clip under the block-causal mask is its blocks over a memory, wherever they see the sink`() throws {
    try withInferenceMode {
      // At 30 for all; elsewhere for some; elsewhere for all but one, twice at the same place.
      let distances: [SinkDistance] = [
        .fixed(4), .drawn(seed: 3), .fixed(30), .given { block, _ in 40 - 3 * block / 6 * 6 },
      ]
      var results: [Tensor] = []
      for distance in distances {
        let (one, other) = (try served(distance), whole(distance))
        #expect(one.shape == [1, 16, 12, 8, 8] && one.abs().max().item > 0.1)
        #expect(one.maxAbsDifference(other) < 2e-5, "\(one.maxAbsDifference(other))")
        results.append(one)
      }
      #expect(results[0].maxAbsDifference(results[2]) > 1e-4)
    }
  }

  @Test func `a window is a rolling memory of that length`() throws {
    try withInferenceMode {
      let (windowed, rolling) = (whole(.fixed(30), windowFrames: 3), try served(.fixed(30), windowFrames: 3))
      #expect(windowed.maxAbsDifference(rolling) < 2e-5)
      #expect(windowed.maxAbsDifference(whole(.fixed(30))) > 1e-4)
    }
  }

  @Test func `without a mask all sees all`() {
    withInferenceMode {
      let (causal, bidirectional) = (whole(.fixed(4)), whole(.fixed(4), isMasked: false))
      // What is first sees what is last.
      #expect(causal.narrow(2, 0, 3).maxAbsDifference(bidirectional.narrow(2, 0, 3)) > 1e-4)
    }
  }

  @Test func `every parameter that a clip passes has a gradient`() throws {
    let store = ParameterStore(random: RandomGenerator(seed: 1))
    var model = try WanS2VTransformer(LiveAvatarPreset.liveAvatarTiny.transformer, store.root)
    model.sinkDistance = .fixed(30)
    store.requireGradients()
    for checkpoints in [false, true] {
      model.checkpointsLayers = checkpoints
      for (_, tensor) in store.trained { tensor.grad = nil }
      model(
        clip: latents.narrow(2, 0, 6), reference: system.conditions.reference,
        timesteps: Tensor([900, 900, 900, 300, 300, 300] as [Float], [1, 6]), text: model.read(text: system.text),
        features: Tensor.cat((0..<2).map(system.features), 1), mask: BlockMask(framesPerBlock: 3)
      ).square().mean().backward()
      let without = store.trained.filter { ($0.tensor.grad?.abs().max().item ?? 0) == 0 }.map(\.name)
      // Pose latents are zero, and of the last layer no token but the clip's reaches the head.
      #expect(Set(without) == ["cond_encoder.weight"], "\(without)")
    }
  }
}
