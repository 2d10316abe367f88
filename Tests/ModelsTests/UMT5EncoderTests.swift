import Foundation
import NN
import Testing
import Torch

@testable import Models

@Suite struct UMT5EncoderTests {
  static let tiny = UMT5Configuration(
    vocabulary: 50, width: 24, attentionWidth: 36, feedForwardWidth: 40, heads: 3, layers: 2)

  /// Random weights small enough for the values to stay ordinary.
  static func weights(_ configuration: UMT5Configuration = tiny, seed: UInt64 = 7) -> [String: Tensor] {
    let store = ParameterStore(random: RandomGenerator(seed: seed))
    _ = UMT5Encoder(configuration, store.root)
    return Dictionary(uniqueKeysWithValues: store.parameters.map { ($0.name, $0.tensor) })
  }

  let weights = Self.weights()
  let ids = Tensor([5, 9, 3, 44, 1, 0, 0, 0, 7, 1, 0, 0, 0, 0, 0, 0] as [Int], [2, 8])
  let mask = Tensor([1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0] as [Int], [2, 8])

  @Test func `the rows of a prompt do not depend on the masked rows`() throws {
    let encoder = try UMT5Encoder(weights: weights, name: "w")
    let short = encoder.encode(ids: ids, mask: mask)
    let full = encoder.encode(ids: ids, mask: mask, everyRow: true)
    #expect(short.shape == [2, 8, 24])
    #expect(short.maxAbsDifference(full) < 2e-6)
    #expect(short.abs().max().item > 0.1)
  }

  @Test func `rows past the prompt are zero`() throws {
    let encoder = try UMT5Encoder(weights: weights, name: "w")
    for everyRow in [false, true] {
      let context = encoder.encode(ids: ids, mask: mask, everyRow: everyRow)
      #expect(context.select(0, 0).narrow(0, 5, 3).abs().max().item == 0)
      #expect(context.select(0, 1).narrow(0, 2, 6).abs().max().item == 0)
      #expect(context.select(0, 1).narrow(0, 1, 1).abs().max().item > 0)
    }
  }

  @Test func `prompts of a batch do not see each other`() throws {
    let encoder = try UMT5Encoder(weights: weights, name: "w")
    let both = encoder.encode(ids: ids, mask: mask)
    let second = encoder.encode(ids: ids.narrow(0, 1, 1), mask: mask.narrow(0, 1, 1))
    #expect(both.narrow(0, 1, 1).equals(second))
  }

  @Test func `a mask with gaps leaves its keys out`() throws {
    let encoder = try UMT5Encoder(weights: weights, name: "w")
    let gaps = Tensor([1, 0, 1, 1, 0, 0, 0, 0] as [Int], [1, 8])
    let one = encoder.encode(ids: ids.narrow(0, 0, 1), mask: gaps)
    let other = encoder.encode(ids: Tensor([5, 30, 3, 44, 1, 0, 0, 0] as [Int], [1, 8]), mask: gaps)
    #expect(one.select(1, 0).maxAbsDifference(other.select(1, 0)) == 0)
    #expect(one.select(1, 1).maxAbsDifference(other.select(1, 1)) > 0)
  }

  @Test func `an empty mask gives zeros`() throws {
    let encoder = try UMT5Encoder(weights: weights, name: "w")
    let context = encoder.encode(ids: ids, mask: Tensor.zeros([2, 8], .int64))
    #expect(context.shape == [2, 8, 24])
    #expect(context.abs().max().item == 0)
  }

  @Test func `a run in another type converts layer by layer to the same numbers`() throws {
    let half = weights.mapValues { $0.to(.bfloat16) }
    let converted = try UMT5Encoder(weights: half, name: "w", dtype: .float32)
    let whole = try UMT5Encoder(weights: half.mapValues { $0.to(.float32) }, name: "w")
    #expect(converted.encode(ids: ids, mask: mask).equals(whole.encode(ids: ids, mask: mask)))
    let native = try UMT5Encoder(weights: half, name: "w")
    let context = native.encode(ids: ids, mask: mask)
    #expect(context.dtype == .bfloat16)
    #expect(context.to(.float32).maxAbsDifference(whole.encode(ids: ids, mask: mask)) < 0.15)
  }

  @Test func `the sizes are read off a checkpoint`() throws {
    #expect(try UMT5Configuration(readingFrom: weights, name: "w") == Self.tiny)
  }

  @Test func `a checkpoint with wrong keys is refused with all of them`() throws {
    var wrong = weights
    wrong["blocks.1.attn.k.weight"] = nil
    wrong["norm.weight"] = Tensor.zeros([25])
    wrong["blocks.7.norm2.weight"] = Tensor.zeros([24])
    let error = try #require(throws: CheckpointMismatch.self) { try UMT5Encoder(weights: wrong, name: "umt5.pth") }
    #expect(error.missing == ["blocks.1.attn.k.weight"])
    #expect(error.misshaped == ["norm.weight is [25], expected [24]"])
    #expect(error.unused == ["blocks.7.norm2.weight"])
    #expect(error.description.hasPrefix("umt5.pth does not fit"))
  }

  @Test func `a checkpoint that tells no sizes is refused`() throws {
    var wrong = weights
    wrong["token_embedding.weight"] = nil
    wrong["blocks.0.ffn.fc1.weight"] = Tensor.zeros([3])
    wrong["blocks.0.pos_embedding.embedding.weight"] = Tensor.zeros([32, 5])
    let error = try #require(throws: CheckpointMismatch.self) { try UMT5Encoder(weights: wrong, name: "w") }
    #expect(error.missing == ["token_embedding.weight"])
    #expect(error.misshaped.count == 2)
  }

  @Test func `the published checkpoint has 242 tensors and 5680910336 parameters`() {
    let store = ParameterStore.shapes()
    _ = UMT5Encoder(.xxl, store.root)
    #expect(store.layout.count == 242)
    let parameters = store.layout.map { $0.shape.reduce(1, *) }.reduce(0, +)
    #expect(parameters == 5_680_910_336)
    let first = [
      "token_embedding.weight", "blocks.0.norm1.weight", "blocks.0.attn.q.weight", "blocks.0.attn.k.weight",
      "blocks.0.attn.v.weight", "blocks.0.attn.o.weight", "blocks.0.norm2.weight", "blocks.0.ffn.gate.0.weight",
      "blocks.0.ffn.fc1.weight", "blocks.0.ffn.fc2.weight", "blocks.0.pos_embedding.embedding.weight",
      "blocks.1.norm1.weight",
    ]
    #expect(store.layout.prefix(12).map(\.name) == first)
    #expect(store.layout.last?.name == "norm.weight")
  }
}

@Suite struct UMT5BucketsTests {
  let buckets = UMT5Buckets(.xxl)

  @Test func `each direction has one bucket per distance up to 7`() {
    #expect((-7...7).map(buckets.bucket) == [7, 6, 5, 4, 3, 2, 1, 0, 17, 18, 19, 20, 21, 22, 23])
  }

  // The distances at which the reference's truncated logarithm steps.
  @Test(arguments: [
    (8, 8), (11, 8), (12, 9), (15, 9), (16, 10), (22, 10), (23, 11), (31, 11), (32, 12), (45, 12), (46, 13), (63, 13),
    (64, 14), (90, 14), (91, 15), (127, 15), (128, 15), (511, 15), (100_000, 15),
  ])
  func `far distances share logarithmic buckets`(distance: Int, bucket: Int) {
    #expect(buckets.bucket(-distance) == bucket)
    #expect(buckets.bucket(distance) == bucket + 16)
  }

  @Test func `the table holds the bucket of every query and key`() {
    let table = buckets.table(40).array(Int.self)
    for query in [0, 3, 39] {
      for key in 0..<40 { #expect(table[query * 40 + key] == buckets.bucket(key - query)) }
    }
  }
}
