import NN
import Testing
import Torch

@testable import Models

/// A small Wan2.2-S2V transformer with random weights and everything that a pass needs.
struct TinyS2V {
  static let configuration = WanS2VConfiguration(
    trunk: WanTrunkConfiguration(
      dim: 32, inDim: 16, ffnDim: 48, textDim: 12, freqDim: 16, numHeads: 2, numLayers: 3),
    audioStates: 5, audioDim: 6, audioLayers: [0, 2])

  let model: WanS2VTransformer
  let picture: Tensor  // sink and motion, [1, 16, 20, 8, 8]
  let text: WanTextContext
  let zero, timestep: WanTimestepContext
  let rotary: Rotary

  init(seed: UInt64 = 1, store given: ParameterStore? = nil) throws {
    let generator = RandomGenerator(seed: seed)
    let store = given ?? ParameterStore(random: generator)
    model = try WanS2VTransformer(Self.configuration, store.root)
    picture = RandomGenerator(seed: seed + 1).normal([1, 16, 20, 8, 8])
    text = model.read(text: RandomGenerator(seed: seed + 2).normal([1, 7, 12]).to(model.dtype))
    zero = model.read(timesteps: .zeros([1, 1]))
    timestep = model.read(timesteps: .full([1, 1], 857.6923))
    rotary = model.rotary(for: picture)
  }

  func noise(_ block: Int) -> Tensor {
    RandomGenerator(seed: 100 + UInt64(block)).normal([1, 16, 3, 8, 8]).to(model.dtype)
  }
  func features(_ block: Int, speakers: Int = 1) -> Tensor {
    RandomGenerator(seed: 200 + UInt64(block)).normal([speakers, 12, 30])
  }
  func memory(blocks: Int = 4) -> RingMemory {
    RingMemory(model.memoryShape(for: noise(0)), windowFrames: 3 * blocks)
  }
  func reference(_ picture: Tensor? = nil) -> WanS2VTransformer.Reference {
    withGradients(false) {
      model.read(reference: (picture ?? self.picture).to(model.dtype), text: text, timestep: zero, rotary: rotary)
    }
  }
  func flow(
    _ block: Int, _ memory: any AttentionMemory, _ reference: WanS2VTransformer.Reference, distance: Int = 17,
    audio: WanS2VTransformer.AudioContext? = nil, pose: Tensor? = nil
  ) -> Tensor {
    withGradients(false) {
      model(
        block: noise(block), start: 3 * block, pose: pose, distance: distance, reference: reference,
        timestep: timestep, text: text, audio: audio ?? model.read(audioFeatures: features(block)), memory: memory,
        rotary: rotary)
    }
  }
}

@Suite struct WanS2VTests {
  @Test func `sizes are read off the weights, and what no shape tells is asked for`() throws {
    let store = ParameterStore(random: RandomGenerator(seed: 1))
    _ = try WanS2VTransformer(TinyS2V.configuration, store.root)
    let weights = Dictionary(uniqueKeysWithValues: store.parameters.map { ($0.name, $0.tensor) })
    #expect(
      try WanS2VConfiguration(readingFrom: weights, headDim: 16, audioLayers: [0, 2]) == TinyS2V.configuration)
    #expect(throws: TorchError.self) { try WanS2VConfiguration(readingFrom: weights, headDim: 16) }
    #expect(throws: TorchError.self) {
      try WanS2VConfiguration(readingFrom: weights, headDim: 15, audioLayers: [0, 2])
    }
    var impossible = TinyS2V.configuration
    impossible.audioLayers = [0, 3]
    #expect(throws: TorchError.self) { try WanS2VTransformer(impossible, ParameterStore.shapes().root) }
  }

  @Test func `the published model has the published number of tensors and parameters`() throws {
    let shapes = ParameterStore.shapes()
    _ = try WanS2VTransformer(.wan22S2V14B, shapes.root)
    #expect(shapes.layout.count == 1260)
    #expect(shapes.layout.map { $0.shape.reduce(1, *) }.reduce(0, +) == 16_295_755_609)
  }

  @Test func `pose latents of zero are no pose latents`() throws {
    let tiny = try TinyS2V()
    let reference = tiny.reference()
    let none = tiny.flow(0, tiny.memory(), reference)
    #expect(none.maxAbsDifference(tiny.flow(0, tiny.memory(), reference, pose: .zeros([1, 16, 3, 8, 8]))) < 1e-6)
    #expect(none.maxAbsDifference(tiny.flow(0, tiny.memory(), reference, pose: .ones([1, 16, 3, 8, 8]))) > 1e-4)
  }

  @Test func `a speaker whose mask is everywhere is a single one, and one who is heard nowhere adds nothing`() throws {
    let tiny = try TinyS2V()
    let reference = tiny.reference()
    let alone = tiny.flow(0, tiny.memory(), reference)
    let both = Tensor.cat([tiny.features(0), tiny.features(5)], 0)
    let masks = Tensor.cat([.ones([1, 12, 4, 4, 1]), .zeros([1, 12, 4, 4, 1])], 0)
    let masked = tiny.model.read(audioFeatures: both, masks: masks)
    #expect(alone.maxAbsDifference(tiny.flow(0, tiny.memory(), reference, audio: masked)) < 1e-5)
    let heard = tiny.model.read(audioFeatures: both, masks: .ones([2, 12, 4, 4, 1]))
    #expect(alone.maxAbsDifference(tiny.flow(0, tiny.memory(), reference, audio: heard)) > 1e-4)
    // Without masks it is not said where each is heard.
    #expect(throws: TorchError.self) {
      try withTorchErrors {
        _ = tiny.flow(0, tiny.memory(), reference, audio: tiny.model.read(audioFeatures: both))
      }
    }
  }

  @Test func `the sink and every motion latent count, near and far`() throws {
    let tiny = try TinyS2V()
    let flow = tiny.flow(0, tiny.memory(), tiny.reference())
    for frame in [0, 1, 16, 17, 18, 19] {
      let changed = tiny.picture.clone()
      changed.narrow(2, frame, 1).mul_(-1)
      #expect(flow.maxAbsDifference(tiny.flow(0, tiny.memory(), tiny.reference(changed))) > 1e-6, "\(frame)")
    }
    // Latent frames that are not there are zeros, and of more than 19 the newest count.
    let short = Tensor.cat([tiny.picture.narrow(2, 0, 1), tiny.picture.narrow(2, 15, 5)], 2)
    let filled = tiny.picture.clone()
    filled.narrow(2, 1, 14).fill_(0)
    #expect(
      tiny.flow(0, tiny.memory(), tiny.reference(short)).equals(tiny.flow(0, tiny.memory(), tiny.reference(filled))))
    let long = Tensor.cat([tiny.picture.narrow(2, 0, 1), .ones([1, 16, 4, 8, 8]), tiny.picture.narrow(2, 1, 19)], 2)
    #expect(flow.equals(tiny.flow(0, tiny.memory(), tiny.reference(long))))
  }

  @Test func `the sink stands still until a block comes near, then goes before it`() throws {
    let tiny = try TinyS2V()
    let reference = tiny.reference()
    // Blocks 0 to 3 begin at frames 0 to 9: up to 21 ahead of them is behind position 30.
    #expect(
      tiny.flow(0, tiny.memory(), reference, distance: 4).equals(
        tiny.flow(0, tiny.memory(), reference, distance: 30)))
    let (near, far) = (tiny.memory(), tiny.memory())
    for block in 0..<4 {
      let (one, other) = (
        tiny.flow(block, near, reference, distance: 4), tiny.flow(block, far, reference, distance: 30)
      )
      #expect(one.equals(other) == (3 * block + 30 <= 30))
    }
  }

  @Test func `time has no end`() throws {
    let tiny = try TinyS2V()
    let block = 20_833  // the last of 10,000 seconds, far past the 45,000 latent frames of the published table
    let memory = tiny.memory()
    let rotary = tiny.rotary.factors(start: 3 * block, frames: 3)
    #expect(rotary.isFinite().to(.int64).min().intItem == 1)
    memory.fill(frames: 3 * block, RandomGenerator(seed: 3))
    let flow = tiny.flow(block, memory, tiny.reference())
    #expect(flow.isFinite().to(.int64).min().intItem == 1)
  }

  @Test func `layers that are checkpointed have the gradients of layers that are not`() throws {
    func gradient(_ checkpoints: Bool) throws -> Tensor {
      // No fused kernel takes this type: both run the same operations, while in fp32 a first pass without gradients may sum in another order.
      let store = ParameterStore(random: RandomGenerator(seed: 1), dtype: .float64)
      let tiny = try TinyS2V(store: store)
      var model = tiny.model
      model.checkpointsLayers = checkpoints
      let reference = tiny.reference()
      store.requireGradients()
      let memory = ConstantMemory()
      let flow = model(
        block: tiny.noise(0), start: 0, distance: 17, reference: reference,
        timestep: model.read(timesteps: .full([1, 1], 600)),
        text: model.read(text: Tensor.ones([1, 4, 12]).to(model.dtype)),
        audio: model.read(audioFeatures: tiny.features(0)), memory: memory, rotary: tiny.rotary)
      flow.square().sum().backward()
      let weight = try #require(store.parameters.first { $0.name == "blocks.0.self_attn.q.weight" }?.tensor)
      return try #require(weight.grad)
    }
    let (plain, checkpointed) = (try gradient(false), try gradient(true))
    #expect(plain.abs().max().item > 0 && plain.maxAbsDifference(checkpointed) < 1e-6)
  }

  /// Keeps nothing: a block sees itself and the condition.
  private final class ConstantMemory: AttentionMemory {
    let endFrame = 0
    func begin(_ block: Range<Int>, rotary: Rotary) -> Tensor {
      rotary.factors(start: block.lowerBound, frames: block.count)
    }
    func exchange(
      _ keys: ProjectedKeys, _ values: Tensor, of block: Range<Int>, layer: Int, isRecomputed: Bool
    ) -> (keys: Tensor, values: Tensor) { (keys.rotated(), values) }
    func ordered(layer: Int) -> (keys: Tensor, values: Tensor) { (.zeros([1]), .zeros([1])) }
  }
}

@Suite struct SinkDistanceTests {
  @Test func `distances are drawn from the published ones, all of them, the same for one seed`() {
    let drawn = SinkDistance.drawn(seed: 7)
    let numbers = (0..<500).flatMap { block in (0..<4).map { drawn(block: block, step: $0) } }
    #expect(Set(numbers) == Set(4...30))
    #expect(
      (0..<4).map { drawn(block: 9, step: $0) } == (0..<4).map { SinkDistance.drawn(seed: 7)(block: 9, step: $0) })
    let other = SinkDistance.drawn(seed: 8)
    #expect((0..<20).map { drawn(block: $0, step: 0) } != (0..<20).map { other(block: $0, step: 0) })
    #expect(SinkDistance.fixed(30)(block: 3, step: 2) == 30)
  }
}

@Suite struct ConditionMemoryTests {
  @Test func `keys that are rotated when read are those that are rotated when written`() throws {
    let tiny = try TinyTransformer(frames: 2)
    let attention = tiny.model.layers[0].selfAttention
    let rotary = tiny.model.rotary(for: tiny.latents)
    let x = RandomGenerator(seed: 3).normal([1, 2 * tiny.tokensPerFrame, tiny.model.config.dim])
    let factors = rotary.factors(start: 40, frames: 2)
    withGradients(false) {
      let condition = ConditionMemory()
      let written = attention.selfAttention(
        x, SelfAttentionContext(factors: factors, memory: condition), layer: 0)
      #expect(written.equals(attention.selfAttention(x, SelfAttentionContext(factors: factors), layer: 0)))
      let keys = ProjectedKeys(
        projected: attention.k(x), norm: attention.normK, heads: attention.heads, factors: factors)
      #expect(condition.rotated(0, factors).keys.maxAbsDifference(keys.rotated()) < 1e-5)
      // Elsewhere in time they are others, and what is kept does not change.
      #expect(condition.rotated(0, rotary.factors(start: 41, frames: 2)).keys.maxAbsDifference(keys.rotated()) > 1e-3)
      #expect(condition.rotated(0, factors).keys.maxAbsDifference(keys.rotated()) < 1e-5)
    }
  }

  @Test func `a condition is written once, and not with a gradient`() throws {
    let tiny = try TinyTransformer(frames: 2)
    let attention = tiny.model.layers[0].selfAttention
    let x = RandomGenerator(seed: 3).normal([1, 2 * tiny.tokensPerFrame, tiny.model.config.dim])
    let factors = tiny.model.rotary(for: tiny.latents).factors(start: 0, frames: 2)
    let condition = ConditionMemory()
    let context = SelfAttentionContext(factors: factors, memory: condition)
    #expect(throws: TorchError.self) {
      try withTorchErrors { _ = attention.selfAttention(x, context, layer: 0) }
    }
    withGradients(false) { _ = attention.selfAttention(x, context, layer: 0) }
    #expect(throws: TorchError.self) {
      try withTorchErrors { withGradients(false) { _ = attention.selfAttention(x, context, layer: 0) } }
    }
  }
}
