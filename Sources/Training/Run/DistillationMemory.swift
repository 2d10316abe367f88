package import Generation
import Models
import NN
package import Torch

/// The transformer whose distillation is counted: student, critic and teacher have one size.
package struct DistilledTransformer {
  let trunk: WanTrunkConfiguration
  /// Tokens that stand in the sequence beside the clip's.
  let conditionTokens: Int
  /// Layers after which sound is added by a pass of its own.
  let audioLayers: Int
  let parameters: ParameterStore
  let height, width: Int  // latent pixels

  /// - Throws: what building the model throws.
  package init(_ preset: LiveAvatarPreset, size: ReferencePicture.Size? = nil, dtype: DType) throws {
    let (size, model) = (size ?? preset.size, preset.transformer)
    (height, width) = (size.height / preset.vae.spatialStride, size.width / preset.vae.spatialStride)
    (trunk, audioLayers) = (model.trunk, model.audioLayers.count)
    conditionTokens = model.conditionTokens(height: height, width: width)
    parameters = .shapes(dtype: dtype)
    _ = try WanS2VTransformer(model, parameters.root)
  }

  /// - Throws: as above.
  package init(_ preset: ModelPreset, size: ReferencePicture.Size? = nil, dtype: DType) throws {
    let size = size ?? preset.size
    (height, width) = (size.height / preset.vae.spatialStride, size.width / preset.vae.spatialStride)
    (trunk, audioLayers, conditionTokens) = (preset.transformer.trunk, 0, 0)
    parameters = .shapes(dtype: dtype)
    _ = try WanTransformer(preset.transformer, parameters.root)
  }
}

extension MemoryEstimate {
  /// The memory that each rank takes in distribution matching distillation, by arithmetic, before anything is loaded.
  ///
  /// Weights, what the optimizers keep, and the rollout's keys and values are exact; activations are what autograd keeps and the gradients of
  /// the layer that is gone back through, where no fused kernel runs, without the workspace of libraries: a lower bound.
  /// - Parameters:
  ///   - settings: the batch, LoRA, activation checkpointing, sharded weights and rollouts. Clips have `run.latentFrames`.
  ///   - textRows: of the encoded text.
  package init(distilling model: DistilledTransformer, _ settings: DMDConfiguration, textRows: Int, ranks: Int) {
    let (run, trunk, dtype) = (settings.run, model.trunk, settings.run.precision.dtype)
    let (layers, batch) = (trunk.numLayers, settings.run.batch)
    func bytes(_ values: Int) -> Int { values * dtype.size }
    let (trained, frozen) = Self.networks(model, settings.lowRank)
    let student = OptimizerMemory(trained, ranks: ranks, averages: settings.average.averaging != nil)
    let critic = OptimizerMemory(trained, ranks: ranks, averages: false)
    self.init(
      weights: [
        Item(
          name: settings.lowRank == nil ? "teacher" : "base of all three",
          bytes: Self.kept(frozen, layers: layers, sharedOver: run.shardWeights ? ranks : 1)),
        Item(name: "trained, of student and critic", bytes: student.weights + critic.weights),
        Item(name: "their gradients", bytes: student.gradients + critic.gradients),
        Item(name: "their master weights and moments", bytes: student.state + critic.state),
        Item(name: "the student's EMA", bytes: student.average),
      ], caches: [], activations: [])

    let tokensPerFrame = trunk.tokensPerFrame(height: model.height, width: model.width)
    let clipTokens = batch * run.latentFrames * tokensPerFrame
    let sequence = clipTokens + batch * model.conditionTokens
    let memory = MemoryShape(
      devices: .init(repeating: .cpu, count: layers), heads: trunk.numHeads, headDim: trunk.headDim,
      tokensPerFrame: tokensPerFrame, batch: batch, dtype: dtype)
    let text = bytes(trunk.textContext(rows: batch * textRows, 0..<layers))
    caches = [
      Item(name: "the rollout's keys and values", bytes: memory.byteCount(frames: run.latentFrames)),
      Item(
        name: "its text and condition",
        bytes: text + bytes(2 * layers * batch * model.conditionTokens * trunk.dim)),
    ]

    let (wide, trainsAll) = (dtype == .float32 ? 1 : 2, settings.lowRank == nil)
    /// A backward pass over so many tokens, with the gradients that it leaves.
    func backward(tokens: Int, injected: Int) -> Int {
      let layer = trunk.recordedLayer(tokens: tokens, wide: wide, trainsAll: trainsAll)
      let inputs = layers * tokens * trunk.dim + model.audioLayers * injected * trunk.dim
      let kept =
        run.checkpointLayers
        ? inputs + layer : inputs + layers * layer + model.audioLayers * injected * (3 + 2 * wide) * trunk.dim
      let words = trunk.recordedText(rows: batch * textRows, wide: wide, trainsAll: trainsAll)
      return bytes(kept + trunk.layerGradients(tokens: tokens) + words) + student.weights
    }
    let blockTokens = batch * settings.rollout.framesPerBlock * tokensPerFrame
    let recordedBlocks = min(settings.rollout.gradientFrames, run.latentFrames) / settings.rollout.framesPerBlock
    let studentTokens = settings.blockwise ? blockTokens : recordedBlocks * blockTokens
    activations = [
      Item(name: "the student's backward pass", bytes: backward(tokens: studentTokens, injected: studentTokens)),
      Item(name: "the critic's backward pass", bytes: backward(tokens: sequence, injected: clipTokens)),
      Item(
        name: "the teacher's score",
        bytes: text
          + trunk.passActivations(
            tokens: sequence, memory: sequence, beside: 0, dtype: dtype, float8: false, onProcessor: false)),
    ]
  }

  /// The parameters that each trained network has of its own, and those that are frozen.
  private static func networks(_ model: DistilledTransformer, _ lowRank: LoRAConfiguration?) -> (
    trained: [(count: Int, dtype: DType)], frozen: [(name: String, shape: [Int], dtype: DType)]
  ) {
    let layout = model.parameters.layout
    let frozen = layout.map { (name: $0.name, shape: $0.shape, dtype: $0.kept) }
    guard let lowRank else { return (layout.map { (count: $0.shape.reduce(1, *), dtype: $0.kept) }, frozen) }
    let dtype = model.parameters.dtype ?? .float32
    let trained = layout.flatMap { entry -> [(count: Int, dtype: DType)] in
      if lowRank.trains(entry.name) { return [(count: entry.shape.reduce(1, *), dtype: entry.kept)] }
      guard entry.shape.count == 2, entry.name.hasSuffix(".weight"), lowRank.adapts(String(entry.name.dropLast(7)))
      else { return [] }
      return entry.shape.reversed().map { (count: lowRank.rank * $0, dtype: dtype) }
    }
    return (trained, frozen)
  }

  /// Bytes that a rank keeps of frozen weights.
  private static func kept(
    _ frozen: [(name: String, shape: [Int], dtype: DType)], layers: Int, sharedOver ranks: Int
  ) -> Int {
    func bytes(_ entries: [(name: String, shape: [Int], dtype: DType)]) -> Int {
      entries.map { $0.shape.reduce($0.dtype.size, *) }.reduce(0, +)
    }
    let shared = frozen.filter { ShardedLayers.shards($0.name, $0.shape) }
    guard ranks > 1, let size = shared.first?.dtype.size else { return bytes(frozen) }
    return bytes(frozen) - bytes(shared)
      + size * ShardedLayers.valuesKept(layers: layers, of: bytes(shared) / size / layers, ranks: ranks)
  }
}
