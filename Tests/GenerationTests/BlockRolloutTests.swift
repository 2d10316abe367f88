import Models
import Testing
import Torch

@testable import Generation

@Suite struct BlockRolloutTests {
  @Test func `noise is that of the seed`() {
    func draws(_ seed: UInt64) -> [Tensor] {
      let source = NoiseSource(seed: seed)
      return [source.initial(0, [2, 3]), source.renewed(0, 0, [4]), source.initial(1, [2, 3])]
    }
    #expect(zip(draws(1), draws(1)).allSatisfy { $0.equals($1) })
    #expect(zip(draws(1), draws(2)).allSatisfy { !$0.equals($1) })
    #expect(!draws(1)[0].equals(draws(1)[2]))
  }

  @Test func `one seed gives one clip, and the first latent frame is the picture`() throws {
    let system = try TinySystem()
    func clip(_ seed: UInt64) throws -> [Tensor] {
      let (rollout, audio) = (try system.rollout(seed: seed), system.audio(latentFrames: 9))
      return withInferenceMode { (0..<3).map { rollout.next(audio: audio.narrow(2, 3 * $0, 3)) } }
    }
    let (one, same, other) = (try clip(1), try clip(1), try clip(2))
    #expect(zip(one, same).allSatisfy { $0.equals($1) })
    #expect(zip(one, other).allSatisfy { $0.maxAbsDifference($1) > 1e-2 })
    #expect(one[0].narrow(2, 0, 1).equals(system.reference))
    #expect(other[0].narrow(2, 0, 1).equals(system.reference))
    #expect(!one[1].narrow(2, 0, 1).equals(system.reference))
    #expect(one.allSatisfy { $0.shape == [1, 16, 3, 4, 4] })
  }

  @Test func `every pass of the first block sees the picture in its first frame`() throws {
    let system = try TinySystem()
    var passes: [(x: Tensor, timestep: Double)] = []
    let rollout = try system.rollout(tap: { x, timestep, _ in passes.append((x.clone(), timestep.item)) })
    withInferenceMode { for _ in 0..<2 { _ = rollout.next(audio: system.audio(latentFrames: 3)) } }
    #expect(passes.map { $0.timestep.rounded() } == [1000, 938, 833, 625, 0, 1000, 938, 833, 625, 0])
    #expect(passes[0..<5].allSatisfy { $0.x.narrow(2, 0, 1).equals(system.reference) })
    #expect(passes[5...].allSatisfy { !$0.x.narrow(2, 0, 1).equals(system.reference) })
  }

  @Test func `between two steps x0 is noised to the level of the step that follows`() throws {
    let system = try TinySystem()
    let schedule = FlowMatchingSchedule.livetalk()
    let fresh = RandomGenerator(seed: 8).normal([1, 16, 3, 4, 4])
    var passes: [(x: Tensor, flow: Tensor)] = []
    let rollout = try BlockRollout(
      transformer: system.transformer, steps: schedule.steps(.float32),
      memories: [
        try KVCachePolicy.livetalk.memory(system.transformer.memoryShape(for: system.reference), framesPerBlock: 3)
      ],
      textEmbedding: system.text, referenceLatent: system.reference,
      noise: NoiseSource(initial: { _, _ in fresh * 0.5 }, renewed: { block, step, _ in fresh * Double(step + 1) }),
      tap: { x, _, flow in passes.append((x.clone(), flow.clone())) })
    let clean = withInferenceMode {
      _ = rollout.next(audio: system.audio(latentFrames: 3))
      return rollout.next(audio: system.audio(latentFrames: 3))
    }
    let sigmas = schedule.sigmas.array(Double.self)
    #expect(passes[5].x.equals(fresh * 0.5))
    for step in 0..<4 {
      let x0 = passes[5 + step].x - passes[5 + step].flow * sigmas[step]
      let next = step == 3 ? x0 : x0 * (1 - sigmas[step + 1]) + fresh * (Double(step + 1) * sigmas[step + 1])
      #expect(passes[6 + step].x.maxAbsDifference(next) < 1e-5, "step \(step)")
    }
    #expect(passes[9].x.equals(clean))
  }

  @Test func `a block of one frame at the start is the picture itself`() throws {
    let system = try TinySystem()
    let rollout = try system.rollout(.rolling(window: 4), framesPerBlock: 1)
    let first = withInferenceMode { rollout.next(audio: system.audio(latentFrames: 1)) }
    #expect(first.equals(system.reference))
  }

  @Test func `what is committed is a pass over the clean block`() throws {
    let system = try TinySystem()
    let (rollout, audio) = (try system.rollout(), system.audio(latentFrames: 6))
    withInferenceMode {
      let blocks = (0..<2).map { rollout.next(audio: audio.narrow(2, 3 * $0, 3)) }
      // The same clean blocks alone, through a memory of their own.
      let memory = RingMemory(
        system.transformer.memoryShape(for: system.reference), windowFrames: 15, sinkFrames: 9)
      let mask = Tensor.ones([1, 1, 3, 4, 4])
      let given = mask.clone()
      given.narrow(2, 0, 1).fill_(0)
      for (index, block) in blocks.enumerated() {
        _ = system.transformer(
          block: block, start: 3 * index,
          condition: Tensor.cat([system.reference.expand(1, 16, 3, 4, 4), index == 0 ? given : mask], 1),
          timestep: system.transformer.read(timesteps: .zeros([1, 1])),
          text: system.transformer.read(text: system.text),
          audio: audio.narrow(2, 3 * index, 3), memory: memory, rotary: system.transformer.rotary(for: system.reference)
        )
      }
      for layer in 0..<4 {
        let (one, other) = (rollout.memory().ordered(layer: layer), memory.ordered(layer: layer))
        #expect(one.keys.maxAbsDifference(other.keys) < 1e-6)
        #expect(one.values.maxAbsDifference(other.values) < 1e-6)
      }
    }
  }

  @Test func `a new text changes later blocks only`() throws {
    let system = try TinySystem()
    func clip(changingAt change: Int?) throws -> [Tensor] {
      let (rollout, audio) = (try system.rollout(), system.audio(latentFrames: 3))
      return withInferenceMode {
        (0..<4).map { block in
          if block == change { rollout.setText(system.text * -2) }
          return rollout.next(audio: audio)
        }
      }
    }
    let (plain, changed) = (try clip(changingAt: nil), try clip(changingAt: 2))
    #expect(plain[0].equals(changed[0]) && plain[1].equals(changed[1]))
    #expect(plain[2].maxAbsDifference(changed[2]) > 1e-4 && plain[3].maxAbsDifference(changed[3]) > 1e-4)
  }

  @Test func `keeping everything is a window as long as the clip`() throws {
    let system = try TinySystem()
    let audio = system.audio(latentFrames: 12)
    func clip(_ rollout: BlockRollout<WanTransformer>) -> [Tensor] {
      withInferenceMode { (0..<4).map { rollout.next(audio: audio.narrow(2, 3 * $0, 3)) } }
    }
    let full = clip(try system.rollout(.full, clipFrames: 12))
    let long = clip(try system.rollout(.rolling(window: 12)))
    let short = clip(try system.rollout(.rolling(window: 6)))
    #expect(zip(full, long).allSatisfy { $0.equals($1) })
    #expect(full[1].equals(short[1]) && full[2].maxAbsDifference(short[2]) > 1e-5)
  }

  @Test func `what cannot be generated is refused in a sentence`() throws {
    let system = try TinySystem()
    func refusal(_ make: () throws -> BlockRollout<WanTransformer>) -> String {
      do {
        _ = try make()
        return "accepted"
      } catch { return "\(error)" }
    }
    #expect(refusal { try system.rollout(.full) }.contains("known length"))
    #expect(refusal { try system.rollout(.anchorHeavy(sinks: 9, window: 10)) }.contains("9 sinks"))
    #expect(refusal { try system.rollout(framesPerBlock: 0) }.contains("0 frames"))
    #expect(refusal { try system.rollout(steps: 0) }.contains("0 steps"))
    #expect(refusal { try system.rollout(steps: -1) }.contains("steps"))
    #expect(refusal { try system.rollout(positionLimit: 14) }.contains("14"))
    #expect(refusal { try system.rollout(positionLimit: 15) } == "accepted")
    #expect(refusal { try system.rollout(.rolling(window: 6), positionLimit: 3) } == "accepted")
  }
}
