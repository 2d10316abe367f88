import NN
import Testing
import Torch

@testable import Models

/// A plain stand-in for the memory's order: which frames of a list a block sees.
struct ListedContext {
  let windowFrames: Int
  let sinkFrames: Int
  let visibleTokens: Int?

  /// Frames that a block ending at `end` sees, oldest first.
  func seen(end: Int) -> [Int] {
    guard end > windowFrames else { return Array(0..<end) }
    return Array(0..<sinkFrames) + Array((end - (windowFrames - sinkFrames))..<end)
  }
}

@Suite struct RingMemoryTests {
  /// One self-attention pass by hand: the projections of a layer, rotations at stated positions, attention over a list.
  private func attended(
    _ attention: WanAttention, _ x: Tensor, _ rotary: Rotary, position: Int,
    list: inout [(keys: Tensor, values: Tensor)],
    start: Int, frames: Int, tokens: Int, context: ListedContext
  ) -> Tensor {
    func split(_ t: Tensor) -> Tensor { t.unflatten(-1, attention.heads, -1) }
    let factors = rotary.factors(start: position, frames: frames)
    let queries = split(
      attention.q(x).rmsNormRope(attention.normQ.weight, factors, heads: attention.heads, eps: attention.normQ.eps))
    let keys = split(
      attention.k(x).rmsNormRope(attention.normK.weight, factors, heads: attention.heads, eps: attention.normK.eps))
    let values = split(attention.v(x))
    list.removeSubrange(min(start, list.count)...)
    for frame in 0..<frames {
      list.append((keys.narrow(1, frame * tokens, tokens), values.narrow(1, frame * tokens, tokens)))
    }
    let seen = context.seen(end: start + frames)
    var k = Tensor.cat(seen.map { list[$0].keys }, 1)
    var v = Tensor.cat(seen.map { list[$0].values }, 1)
    if let visible = context.visibleTokens, visible < k.size(1) {
      k = k.narrow(1, k.size(1) - visible, visible)
      v = v.narrow(1, v.size(1) - visible, visible)
    }
    return attention.o(Tensor.attention(queries, k, v, scale: attention.scale).flatten(2))
  }

  struct Shape: Sendable, CustomTestStringConvertible {
    let window, sinks, block: Int
    var visible: Int?
    var testDescription: String { "window \(window), sinks \(sinks), block \(block), visible \(visible ?? -1)" }
  }

  static let shapes: [Shape] = {
    var shapes: [Shape] = []
    for window in [3, 4, 7, 8, 15] {
      for sinks in [0, 1, 3, 4, 9] {
        for block in [1, 2, 3] where window >= sinks + block {
          shapes.append(Shape(window: window, sinks: sinks, block: block))
        }
      }
    }
    shapes.append(Shape(window: 7, sinks: 2, block: 3, visible: 25))
    shapes.append(Shape(window: 15, sinks: 9, block: 3, visible: 60))
    return shapes
  }()

  @Test(arguments: shapes)
  func `any ring is a list of frames of which the sinks and the newest are seen`(shape: Shape) throws {
    let tiny = try TinyTransformer(frames: 3)
    let attention = tiny.model.layers[0].selfAttention
    let (tokens, rotary) = (tiny.tokensPerFrame, tiny.model.rotary(for: tiny.latents))
    let memory = tiny.memory(window: shape.window, sinks: shape.sinks, visible: shape.visible)
    var list: [(keys: Tensor, values: Tensor)] = []
    let context = ListedContext(
      windowFrames: shape.window, sinkFrames: shape.sinks, visibleTokens: shape.visible)
    let generator = RandomGenerator(seed: 5)
    var start = 0
    while start < 2 * shape.window + 5 {
      // Two calls a block, as denoising repeats it: the second replaces what the first left.
      for _ in 0..<2 {
        let x = generator.normal([1, shape.block * tokens, tiny.model.config.dim])
        let expected = attended(
          attention, x, rotary, position: start, list: &list, start: start, frames: shape.block, tokens: tokens,
          context: context)
        let actual = withGradients(false) {
          let block = start..<start + shape.block
          let factors = memory.begin(block, rotary: rotary)
          return attention.selfAttention(
            x, SelfAttentionContext(factors: factors, memory: memory, block: block), layer: 0)
        }
        #expect(actual.maxAbsDifference(expected) < 1e-5, "at \(start)")
      }
      let seen = context.seen(end: start + shape.block)
      let ordered = memory.ordered(layer: 0)
      #expect(ordered.keys.maxAbsDifference(Tensor.cat(seen.map { list[$0].keys }, 1).flatten(2)) < 1e-6)
      #expect(ordered.values.equals(Tensor.cat(seen.map { list[$0].values }, 1).flatten(2)))
      start += shape.block
    }
  }

  @Test func `a block that is called again leaves the memory as if called once`() throws {
    let tiny = try TinyTransformer(frames: 6)
    let (once, twice) = (tiny.memory(window: 4), tiny.memory(window: 4))
    withGradients(false) {
      for start in [0, 2, 4] {
        _ = tiny.block(start, 2, tiny.timestep(900), twice, scale: 3)
        _ = tiny.block(start, 2, tiny.timestep(0), twice)
        _ = tiny.block(start, 2, tiny.timestep(0), once)
      }
    }
    for layer in 0..<tiny.model.config.numLayers {
      #expect(once.ordered(layer: layer).keys.equals(twice.ordered(layer: layer).keys))
      #expect(once.ordered(layer: layer).values.equals(twice.ordered(layer: layer).values))
    }
  }

  @Test func `a reset memory starts a clip that is as new`() throws {
    let tiny = try TinyTransformer(frames: 6)
    let memory = tiny.memory(window: 4, sinks: 1, limit: 6)
    withGradients(false) {
      let first = tiny.block(0, 2, tiny.timestep(500), memory)
      for start in stride(from: 2, to: 20, by: 2) { _ = tiny.block(start, 2, tiny.timestep(500), memory) }
      #expect(memory.positions.offset > 0)
      memory.reset()
      #expect(memory.endFrame == 0 && memory.positions.offset == 0)
      #expect(tiny.block(0, 2, tiny.timestep(500), memory).equals(first))
    }
  }

  @Test func `the bytes of a memory are known before it is made`() throws {
    let tiny = try TinyTransformer(frames: 1)
    let memory = tiny.memory(window: 5)
    let made = (memory.keys + memory.values).map(\.byteCount).reduce(0, +)
    #expect(made == tiny.model.memoryShape(for: tiny.latents).byteCount(frames: 5))
  }

  @Test func `a block out of order or too large is a failure of the scope`() throws {
    let tiny = try TinyTransformer(frames: 9)
    #expect(throws: TorchError.self) {
      try withTorchErrors { withGradients(false) { _ = tiny.block(3, 3, tiny.timestep(0), tiny.memory(window: 6)) } }
    }
    #expect(throws: TorchError.self) {
      try withTorchErrors {
        withGradients(false) {
          let memory = tiny.memory(window: 6, sinks: 4)
          _ = tiny.block(0, 3, tiny.timestep(0), memory)
          _ = tiny.block(3, 3, tiny.timestep(0), memory)
        }
      }
    }
  }

  @Test func `gradients are refused, and a clip that is longer than was said`() throws {
    let tiny = try TinyTransformer(frames: 6)
    #expect(throws: TorchError.self) {
      try withTorchErrors { _ = tiny.block(0, 3, tiny.timestep(0), tiny.memory(window: 6)) }
    }
    let shape = tiny.model.memoryShape(for: tiny.latents)
    let (whole, ring) = (RingMemory(shape, windowFrames: 4, holdsWholeClip: true), RingMemory(shape, windowFrames: 4))
    withGradients(false) {
      for memory in [whole, ring] { _ = tiny.block(0, 3, tiny.timestep(0), memory) }
      _ = tiny.block(3, 3, tiny.timestep(0), ring)
    }
    #expect(throws: TorchError.self) {
      try withTorchErrors { withGradients(false) { _ = tiny.block(3, 3, tiny.timestep(0), whole) } }
    }
  }
}
