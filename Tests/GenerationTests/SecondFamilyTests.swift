import Models
import NN
import Testing
import Torch

@testable import Generation
@testable import Models

/// A made-up family of five latent channels and one layer, with the picture as tokens beside the video that stay close to its newest
/// block: nothing of it is like LiveTalk's, and it goes through the same rollout.
struct MadeUpTransformer: BlockTransformer {
  struct Reference { let picture: ConditionMemory }

  let attention: WanAttention
  let input, output, sound: Linear
  let checkpointsLayers = false
  static let (width, channels) = (24, 5)

  init(_ path: ParameterPath) {
    attention = WanAttention(dim: Self.width, heads: 2, eps: 1e-6, joinsProjections: false, path / "attention")
    input = Linear(Self.channels, Self.width, path / "input")
    output = Linear(Self.width, Self.channels, path / "output")
    sound = Linear(3, Self.width, path / "sound")
  }

  func read(text: Tensor) -> Tensor { text.mean(1, keep: true) }
  func read(timesteps: Tensor) -> Tensor { (timesteps / 1000).unsqueeze(-1) }
  func memoryShape(for latents: Tensor) -> MemoryShape {
    MemoryShape(
      devices: [.cpu], heads: 2, headDim: Self.width / 2, tokensPerFrame: latents.size(3) * latents.size(4),
      batch: latents.size(0), dtype: .float32)
  }
  func rotary(for latents: Tensor) -> Rotary {
    Rotary(headDim: Self.width / 2, grid: (latents.size(3), latents.size(4)), device: .cpu)
  }
  func pinned(_ latents: Tensor, block: Range<Int>, to reference: Reference) -> Tensor { latents }

  func read(
    reference: Tensor, framesPerBlock: Int, text: Tensor, timestep: Tensor, rotary: Rotary
  ) -> Reference {
    let picture = ConditionMemory()
    let context = SelfAttentionContext(factors: rotary.factors(start: 0, frames: 1), memory: picture)
    _ = attention.selfAttention(tokens(reference) + text.mean(-1, keep: true), context, layer: 0)
    return Reference(picture: picture)
  }

  func flow(
    _ latents: Tensor, block: Range<Int>, step: Int?, reference: Reference, timestep: Tensor, text: Tensor,
    audio: Tensor, memory: any AttentionMemory, rotary: Rotary
  ) -> Tensor {
    let place = max(0, block.upperBound - 9)
    let beside = MemoryBesideCondition(
      memory, reference.picture, factors: rotary.factors(start: place, frames: 1))
    let context = SelfAttentionContext(factors: beside.begin(block, rotary: rotary), memory: beside, block: block)
    let rows = sound(audio).unsqueeze(2)
    let spoken = rows.expand(rows.size(0), rows.size(1), latents.size(3) * latents.size(4), Self.width).flatten(1, 2)
    let x = tokens(latents) + spoken + timestep + text.mean(-1, keep: true)
    let y = output(attention.selfAttention(x, context, layer: 0) + x)
    return y.unflatten(1, latents.size(2), latents.size(3), latents.size(4)).permute(0, 4, 1, 2, 3)
  }

  private func tokens(_ latents: Tensor) -> Tensor { input(latents.permute(0, 2, 3, 4, 1).flatten(1, 3)) }
}

@Suite struct SecondFamilyTests {
  private let model = MadeUpTransformer(ParameterStore(random: RandomGenerator(seed: 4)).root)
  private let reference = RandomGenerator(seed: 5).normal([1, 5, 1, 2, 3])
  private let text = RandomGenerator(seed: 6).normal([1, 4, 4])
  private let steps = FlowMatchingSchedule(shift: 3, steps: 3).steps(.float32)
  private func audio(_ block: Int) -> Tensor { RandomGenerator(seed: 10 + UInt64(block)).normal([1, 2, 3]) }

  private func memories(_ count: Int) -> [any AttentionMemory] {
    let shape = model.memoryShape(for: reference)
    return (0..<count).map { _ in RingMemory(shape, windowFrames: 6) }
  }

  /// Noise that depends on the block and the step alone, as every stage of a pipeline draws it.
  private var noise: NoiseSource {
    NoiseSource(
      initial: { block, shape in RandomGenerator(seed: 100 + UInt64(block)).normal(shape) },
      renewed: { block, step, shape in RandomGenerator(seed: 1000 + 10 * UInt64(block) + UInt64(step)).normal(shape) })
  }

  private func rollout(
    _ sampler: Sampler = .euler, memories: [(any AttentionMemory)?], commit: Commit = .lastStep, tap: RolloutTap? = nil
  ) throws -> BlockRollout<MadeUpTransformer> {
    try BlockRollout(
      transformer: model, steps: steps, sampler: sampler, memories: memories, framesPerBlock: 2, textEmbedding: text,
      referenceLatent: reference, commit: commit, noise: noise, tap: tap)
  }

  @Test func `Euler's steps go along the flow, without a commit pass`() throws {
    var passes: [(x: Tensor, flow: Tensor)] = []
    let rollout = try rollout(memories: memories(3)) { passes.append(($0.clone(), $2.clone())) }
    let clean = withInferenceMode { rollout.next(audio: audio(0)) }
    #expect(passes.count == 3 && clean.shape == [1, 5, 2, 2, 3])
    for index in 0..<3 {
      let next = index < 2 ? steps[index + 1].sigma : 0
      let expected = passes[index].x + passes[index].flow * (next - steps[index].sigma)
      #expect((index < 2 ? passes[index + 1].x : clean).maxAbsDifference(expected) < 1e-6)
    }
  }

  @Test(arguments: [Sampler.euler, .renoise])
  func `Stages that each hold one step make what one process makes`(sampler: Sampler) throws {
    let whole = try rollout(sampler, memories: memories(3))
    let expected = withInferenceMode { (0..<6).map { whole.next(audio: audio($0)) } }
    let stages = try (0..<3).map { stage in
      try rollout(sampler, memories: memories(3).enumerated().map { $0 == stage ? $1 : nil })
    }
    let actual = withInferenceMode {
      (0..<6).map { block in
        var x = stages[0].startingNoise()
        for (index, stage) in stages.enumerated() {
          x = stage.step(index, x, audio: audio(block))
          stage.commit(x, audio(block))
        }
        return x
      }
    }
    #expect(zip(expected, actual).allSatisfy { $0.equals($1) })
    #expect(stages.allSatisfy { $0.block == 6 })
  }

  @Test func `A memory of its own for every step is not one that all share`() throws {
    let own = try rollout(memories: memories(3))
    let shared = try rollout(memories: memories(1))
    let (one, other) = withInferenceMode {
      ((0..<3).map { own.next(audio: audio($0)) }, (0..<3).map { shared.next(audio: audio($0)) })
    }
    #expect(one[0].maxAbsDifference(other[0]) < 1e-6)
    #expect(one[2].maxAbsDifference(other[2]) > 1e-5)
  }

  @Test func `The picture in the memory counts, for ever`() throws {
    func last(_ picture: Tensor) throws -> Tensor {
      let rollout = try BlockRollout(
        transformer: model, steps: steps, sampler: .euler, memories: memories(3), framesPerBlock: 2,
        textEmbedding: text,
        referenceLatent: picture, commit: .lastStep, noise: noise)
      return withInferenceMode { (0..<8).map { rollout.next(audio: audio($0)) }[7] }
    }
    #expect(try last(reference).maxAbsDifference(last(reference * -1)) > 1e-4)
  }

  @Test func `Another picture counts from the next block on`() throws {
    let (one, other) = (try rollout(memories: memories(3)), try rollout(memories: memories(3)))
    let (first, second) = withInferenceMode { (one.next(audio: audio(0)), other.next(audio: audio(0))) }
    #expect(first.equals(second))
    other.setReference(reference * -1)
    let (kept, changed) = withInferenceMode { (one.next(audio: audio(1)), other.next(audio: audio(1))) }
    #expect(kept.maxAbsDifference(changed) > 1e-4)
  }

  @Test func `A commit pass needs one memory, and memories are one or as many as steps`() throws {
    #expect(throws: TorchError.self) { try rollout(memories: memories(3), commit: .clean) }
    #expect(throws: TorchError.self) { try rollout(memories: memories(2)) }
    #expect(throws: TorchError.self) { try rollout(memories: []) }
  }
}
