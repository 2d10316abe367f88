import Generation
import Models
import NN
import Testing
import Torch

@testable import Training

/// A small transformer with random weights that all have gradients.
struct TinyModel {
  static let textDim = 8
  static let audioInputDim = 6
  static let height = 4
  static let width = 6

  var model: WanTransformer
  let store: ParameterStore

  static func configuration(dim: Int = 24, layers: Int = 4) -> WanTransformerConfiguration {
    WanTransformerConfiguration(
      trunk: WanTrunkConfiguration(
        dim: dim, inDim: 33, ffnDim: 2 * dim, textDim: textDim, freqDim: 16, numHeads: dim / 24, numLayers: layers),
      audioInputDim: audioInputDim, audioHiddenSize: 8)
  }

  init(seed: UInt64, dim: Int = 24, layers: Int = 4, checkpointsLayers: Bool = false) throws {
    store = ParameterStore(random: RandomGenerator(seed: seed))
    model = try WanTransformer(Self.configuration(dim: dim, layers: layers), store.root)
    model.checkpointsLayers = checkpointsLayers
    store.requireGradients()
  }

  /// The same weights with or without checkpointed layers.
  func checkpointing(_ isOn: Bool) -> TinyModel {
    var copy = self
    copy.model.checkpointsLayers = isOn
    return copy
  }

  /// What `body` adds to the gradients of the parameters, by name.
  func gradients(_ body: () throws -> Void) rethrows -> [String: Tensor] {
    for (_, tensor) in store.trained { tensor.grad = nil }
    try body()
    defer { for (_, tensor) in store.trained { tensor.grad = nil } }
    return Dictionary(
      uniqueKeysWithValues: store.trained.compactMap { name, tensor in tensor.grad.map { (name, $0.clone()) } })
  }
}

/// Conditions of some clips, one after the other from one seed each.
func tinyConditions(_ seeds: UInt64..., latentFrames: Int) -> Conditions {
  let parts = seeds.map { seed in
    let generator = RandomGenerator(seed: seed)
    return (
      generator.normal([1, 5, TinyModel.textDim]),
      generator.normal([1, 4 * latentFrames - 3, TinyModel.audioInputDim]),
      generator.normal([1, 16, 1, TinyModel.height, TinyModel.width])
    )
  }
  return Conditions(
    text: Tensor.cat(parts.map(\.0), 0), audioFeatures: Tensor.cat(parts.map(\.1), 0),
    referenceLatent: Tensor.cat(parts.map(\.2), 0))
}

/// Random latents `[seeds, 16, F, H, W]`, one clip of each seed.
func tinyLatents(_ seeds: UInt64..., frames: Int) -> Tensor {
  Tensor.cat(
    seeds.map { RandomGenerator(seed: $0).normal([1, 16, frames, TinyModel.height, TinyModel.width]) }, 0)
}

/// Noise of a rollout in which each clip of the batch has its own sequence.
func tinyNoise(_ seeds: UInt64...) -> NoiseSource {
  let generators = seeds.map { RandomGenerator(seed: $0) }
  func draw(_ shape: [Int]) -> Tensor { Tensor.cat(generators.map { $0.normal([1] + shape[1...]) }, 0) }
  return NoiseSource(initial: { draw($1) }, renewed: { draw($2) }, committed: { draw($1) })
}

/// A loss whose gradient differs in every element.
func weighted(_ latents: Tensor) -> Tensor {
  (latents * RandomGenerator(seed: 77).normal(latents.shape)).sum()
}

/// Expects gradients of the same parameters that differ by no more than `tolerance` of the largest of all.
func expectEqual(
  _ one: [String: Tensor], _ other: [String: Tensor], tolerance: Double = 2e-6,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(one.keys.sorted() == other.keys.sorted(), sourceLocation: sourceLocation)
  let largest = one.values.map { $0.abs().max().item }.max() ?? 0
  #expect(largest > 1e-4 && largest.isFinite, "the gradient is \(largest)", sourceLocation: sourceLocation)
  for (name, gradient) in one {
    guard let theirs = other[name] else { continue }
    let difference = gradient.maxAbsDifference(theirs)
    #expect(
      difference <= tolerance * largest, "\(name) differs by \(difference) of \(largest)",
      sourceLocation: sourceLocation)
  }
}

/// The largest difference between gradients, as a share of the largest of all.
func difference(_ one: [String: Tensor], _ other: [String: Tensor]) -> Double {
  let largest = (Array(one.values) + Array(other.values)).map { $0.abs().max().item }.max() ?? 1
  let names = Set(one.keys).union(other.keys)
  return names.map { name in
    switch (one[name], other[name]) {
    case (let a?, let b?): a.maxAbsDifference(b)
    case (let a?, nil), (nil, let a?): a.abs().max().item
    case (nil, nil): 0
    }
  }.max().map { $0 / largest } ?? 0
}
