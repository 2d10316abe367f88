import NN
import Testing
import Torch

@testable import Models

/// What happens to time positions in a session without end.
@Suite struct PositionLimitTests {
  private func flows(
    _ tiny: TinyTransformer, _ memory: any AttentionMemory, blocks: Int, frames: Int = 3, from first: Int = 0
  ) -> [Tensor] {
    withGradients(false) {
      (first..<first + blocks).map { tiny.block($0 * frames, frames, tiny.timestep(400), memory) }
    }
  }

  @Test(arguments: [0, 3])
  func `before the limit nothing differs in any bit`(sinks: Int) throws {
    let tiny = try TinyTransformer(frames: 3)
    let (free, limited) = (tiny.memory(window: 9, sinks: sinks), tiny.memory(window: 9, sinks: sinks, limit: 18))
    let pairs = zip(flows(tiny, free, blocks: 6), flows(tiny, limited, blocks: 6))
    #expect(pairs.allSatisfy { $0.equals($1) })
    #expect(limited.positions.offset == 0)
  }

  @Test func `a rolling window gives the same flows under any limit`() throws {
    let tiny = try TinyTransformer(frames: 3)
    let free = flows(tiny, tiny.memory(window: 7), blocks: 14)
    for limit in [7, 12, 16, 20] {
      let memory = tiny.memory(window: 7, limit: limit)
      let limited = flows(tiny, memory, blocks: 14)
      #expect(memory.positions.offset == 42 - limit)
      for (index, (one, other)) in zip(free, limited).enumerated() {
        #expect(one.maxAbsDifference(other) < 1e-4, "block \(index), limit \(limit)")
      }
    }
  }

  @Test func `keys that are turned back are those of the earlier position`() throws {
    let tiny = try TinyTransformer(frames: 3)
    let rotary = tiny.model.rotary(for: tiny.latents)
    let limited = tiny.memory(window: 6, limit: 10)
    let free = tiny.memory(window: 6)
    _ = flows(tiny, limited, blocks: 3)
    _ = flows(tiny, free, blocks: 3)
    // The fourth block begins: frames 6, 7, 8 move from their positions to two earlier.
    _ = limited.begin(9..<12, rotary: rotary)
    _ = free.begin(9..<12, rotary: rotary)
    #expect(limited.positions.offset == 2 && limited.positions.position(of: 9) == 7)
    let back = rotary.shift(byFrames: -2).unsqueeze(0).expand(3 * tiny.tokensPerFrame, 12, 2).contiguous()
    for layer in 0..<tiny.model.config.numLayers {
      // Wide arithmetic on the unlimited memory is the reference.
      func older(_ memory: RingMemory) -> Tensor {
        memory.ordered(layer: layer).keys.narrow(1, 0, 3 * tiny.tokensPerFrame).unflatten(
          -1, tiny.model.config.numHeads, -1)
      }
      let expected = older(free).to(.float64)
      expected.rotate_(back)
      #expect(older(limited).maxAbsDifference(expected) < 1e-5)
    }
    // The first layer's keys depend on the input alone: rotated freshly at the lower position they are the same.
    let moved = tiny.memory(window: 6)
    let attention = tiny.model.layers[0].selfAttention
    let x = RandomGenerator(seed: 3).normal([1, 3 * tiny.tokensPerFrame, 48])
    let turned = tiny.memory(window: 6, limit: 100)
    withGradients(false) {
      for (memory, position) in [(turned, 97), (moved, 97 - 41)] {
        _ = memory.begin(0..<3, rotary: rotary)
        let factors = rotary.factors(start: position, frames: 3)
        _ = attention.selfAttention(x, SelfAttentionContext(factors: factors, memory: memory, block: 0..<3), layer: 0)
      }
    }
    let shift = rotary.shift(byFrames: -41).unsqueeze(0).expand(3 * tiny.tokensPerFrame, 12, 2).contiguous()
    turned.keys[0].narrow(1, 0, 3 * tiny.tokensPerFrame).rotate_(shift)
    #expect(turned.ordered(layer: 0).keys.maxAbsDifference(moved.ordered(layer: 0).keys) < 1e-5)
  }

  @Test func `with sinks the flows are those of sinks that move along instead`() throws {
    let tiny = try TinyTransformer(frames: 3)
    let rotary = tiny.model.rotary(for: tiny.latents)
    let (sinks, window, limit, frames) = (3, 9, 15, 3)
    let limited = tiny.memory(window: window, sinks: sinks, limit: limit)
    let free = tiny.memory(window: window, sinks: sinks)
    var moved = 0
    withGradients(false) {
      for block in 0..<12 {
        let start = block * frames
        // In the reference nothing is turned back: the sinks are turned forward by as much before the block.
        let offset = max(0, start + frames - limit)
        if offset > moved {
          let count = sinks * tiny.tokensPerFrame
          let forward = rotary.shift(byFrames: offset - moved).unsqueeze(0).expand(count, 12, 2).contiguous()
          for key in free.keys { key.narrow(1, 0, count).rotate_(forward) }
          moved = offset
        }
        let one = tiny.block(start, frames, tiny.timestep(400), limited)
        let other = tiny.block(start, frames, tiny.timestep(400), free)
        #expect(one.maxAbsDifference(other) < 1e-4, "block \(block)")
        #expect(limited.positions.offset == offset)
      }
    }
  }

  @Test func `the first block past the limit differs from the one before as any two blocks do`() throws {
    let tiny = try TinyTransformer(frames: 3)
    let limit = 60
    let memory = tiny.memory(window: 15, sinks: 9, limit: limit)
    let flows = flows(tiny, memory, blocks: 40)
    let changes = (10..<40).map { (flows[$0] - flows[$0 - 1]).norm().item / flows[$0].norm().item }
    let ordinary = Array(changes[0..<10])  // blocks 10 ... 19, whose positions end at 60
    let across = Array(changes[10...])
    #expect(ordinary.allSatisfy { $0.isFinite })
    let largest = try #require(ordinary.max())
    #expect(across[0] < 3 * largest + 1e-4, "\(across[0]) after \(largest)")
    #expect(try #require(across.max()) < 3 * largest + 1e-4)
  }

  @Test func `positions far beyond the reference's table work without a limit`() throws {
    let tiny = try TinyTransformer(frames: 3)
    let memory = tiny.memory(window: 6)
    let flows = flows(tiny, memory, blocks: 400)
    #expect(memory.endFrame == 1200 && memory.positions.offset == 0)
    #expect(flows[399].isFinite().to(.int64).min().intItem == 1)
    // Inputs repeat and attention is relative: late blocks are what early ones were once the window is full.
    #expect(flows[399].maxAbsDifference(flows[20]) < 1e-3)
  }

  @Test func `a limit works in bf16 too`() throws {
    let tiny = try TinyTransformer(frames: 3, dtype: .bfloat16)
    let free = flows(tiny, tiny.memory(window: 7), blocks: 12)
    let limited = flows(tiny, tiny.memory(window: 7, limit: 12), blocks: 12)
    for (one, other) in zip(free, limited) {
      #expect(one.maxAbsDifference(other) < 0.1 * max(1, one.to(.float32).abs().max().item))
    }
  }
}
