package import Models
package import Torch

/// Where the noise of a rollout comes from.
package struct NoiseSource {
  /// The noise a block starts from: block index, shape.
  package var initial: (Int, [Int]) -> Tensor
  /// The noise that a block is noised with again before a step: block index, index of the step before, shape.
  package var renewed: (Int, Int, [Int]) -> Tensor
  /// The noise of the commit pass, for `Commit.noised`: block index, shape.
  package var committed: (Int, [Int]) -> Tensor

  package init(
    initial: @escaping (Int, [Int]) -> Tensor, renewed: @escaping (Int, Int, [Int]) -> Tensor,
    committed: @escaping (Int, [Int]) -> Tensor = { _, shape in .zeros(shape) }
  ) {
    self.initial = initial
    self.renewed = renewed
    self.committed = committed
  }

  /// Standard normal noise from a seed. It is drawn on the CPU in fp32, so one seed gives one video on every device.
  package init(seed: UInt64) { self.init(RandomGenerator(seed: seed)) }

  /// Standard normal noise from a generator, in the order in which it is needed.
  package init(_ generator: RandomGenerator) {
    self.init(
      initial: { generator.normal($1) }, renewed: { generator.normal($2) }, committed: { generator.normal($1) })
  }
}

/// What of a finished block stays in the cache.
package enum Commit: Hashable, Sendable {
  /// The keys and values of one more pass over x0 at timestep 0: what serves.
  case clean
  /// As `clean`, over x0 noised to this sigma, while the model is told timestep 0: the published training, whose smallest sigma
  /// is not 0.
  case noised(sigma: Double)
  /// Those of the block's last step at its own noise level: Live Avatar's history corruption. There is no further pass.
  case lastStep
}

/// How one step's latents become the next one's.
package enum Sampler: Hashable, Sendable {
  /// The predicted x0 is noised again: LiveTalk.
  case renoise
  /// A step along the predicted flow: Live Avatar.
  case euler
}

/// Is told every pass of a rollout's model: its noisy input, timestep and predicted flow; for parity.
package typealias RolloutTap = (_ x: Tensor, _ timestep: Tensor, _ flow: Tensor) -> Void

/// Generates latent blocks one after the other: the loop that serves, and that training rolls out.
///
/// Each block is denoised over the memory of earlier ones in the given steps and then committed to it.
/// Shapes: B batch (1 when serving), n frames per block, H and W latent pixels.
package final class BlockRollout<Transformer: BlockTransformer> {
  package let framesPerBlock: Int
  /// One for all steps, or one for each.
  private let memories: [(any AttentionMemory)?]
  /// Index of the next block.
  package private(set) var block = 0
  /// The noisy latents that the newest block's last step began from, `[B, C, n, H, W]`.
  package private(set) var lastInput: Tensor?

  private var transformer: Transformer
  private var steps: [FlowMatchingSchedule.Step]
  private let sampler: Sampler
  private let commit: Commit
  private let keepsFirstText: Bool
  private let shape: [Int]  // [B, C, n, H, W]
  private let dtype: DType
  private let device: Device
  package private(set) var reference: Transformer.Reference
  private let rotary: Rotary
  private var noise: NoiseSource
  private var tap: RolloutTap?

  private var textEmbedding: Tensor
  private var text: Transformer.TextContext
  private var stepContexts: [Transformer.TimestepContext]
  private var cleanContext: Transformer.TimestepContext
  /// The same with a gradient, once a pass has needed them.
  private var recordedText: Transformer.TextContext?
  private var recordedSteps: [Int: Transformer.TimestepContext] = [:]
  private var hasPassed = false

  /// - Parameters:
  ///   - steps: of a whole schedule, or those that a rollout in training may end with.
  ///   - memories: one that all steps share, or one for each step, each with what its step wrote; nil for a step that another stage of
  ///     a pipeline holds.
  ///   - textEmbedding: the text encoder's output `[B, L, textDim]`.
  ///   - referenceLatent: the encoded picture `[B, C, R, H, W]`.
  ///   - commit: with a memory for each step it is `.lastStep`.
  ///   - keepsFirstText: whether later passes with gradients take the text as the rollout's first pass read it, with its history.
  /// - Throws: `TorchError` for no frames or steps, or memories that are not one or one for each step.
  package init(
    transformer: Transformer, steps: [FlowMatchingSchedule.Step], sampler: Sampler = .renoise,
    memories: [(any AttentionMemory)?], framesPerBlock: Int = 3, textEmbedding: Tensor, referenceLatent: Tensor,
    commit: Commit = .clean, keepsFirstText: Bool = false, noise: NoiseSource, tap: RolloutTap? = nil
  ) throws {
    guard framesPerBlock > 0, !steps.isEmpty else {
      throw TorchError("Blocks of \(framesPerBlock) frames in \(steps.count) steps cannot be generated.")
    }
    guard memories.count == 1 || (memories.count == steps.count && commit == .lastStep) else {
      throw TorchError(
        "A rollout of \(steps.count) steps has one memory, or one for each step and no commit pass; there are "
          + "\(memories.count) here.")
    }
    let like = referenceLatent
    (dtype, device) = (like.dtype, like.device)
    shape = [like.size(0), like.size(1), framesPerBlock] + like.shape[3...]
    self.transformer = transformer
    self.steps = steps
    self.sampler = sampler
    self.memories = memories
    self.framesPerBlock = framesPerBlock
    self.commit = commit
    self.keepsFirstText = keepsFirstText
    self.noise = noise
    self.tap = tap
    self.textEmbedding = textEmbedding
    rotary = transformer.rotary(for: like)
    text = withGradients(false) { transformer.read(text: textEmbedding) }
    (stepContexts, cleanContext) = BlockRollout.timestepContexts(transformer, steps, like)
    let (words, clean, rotary) = (text, cleanContext, rotary)
    reference = withGradients(false) {
      transformer.read(
        reference: like, framesPerBlock: framesPerBlock, text: words, timestep: clean, rotary: rotary)
    }
  }

  private static func timestepContexts(
    _ transformer: Transformer, _ steps: [FlowMatchingSchedule.Step], _ like: Tensor
  ) -> (steps: [Transformer.TimestepContext], clean: Transformer.TimestepContext) {
    let batch = like.size(0)
    return withGradients(false) {
      (
        steps.map { transformer.read(timesteps: $0.timestep.expand(batch, 1)) },
        transformer.read(timesteps: Tensor.zeros([batch, 1], like.dtype, device: like.device))
      )
    }
  }

  /// Begins a new clip of the same size over memories that the caller has emptied. Everything is read again: in training the weights
  /// have changed.
  ///
  /// - Parameter transformer: the same with other settings; nil for the same.
  package func restart(
    transformer: Transformer? = nil, textEmbedding: Tensor, referenceLatent: Tensor, noise: NoiseSource,
    tap: RolloutTap? = nil
  ) {
    self.transformer = transformer ?? self.transformer
    precondition(
      [referenceLatent.size(0), referenceLatent.size(1), framesPerBlock] + referenceLatent.shape[3...] == shape)
    (self.noise, self.tap, block, lastInput, hasPassed, recordedSteps) = (noise, tap, 0, nil, false, [:])
    setText(textEmbedding)
    (stepContexts, cleanContext) = BlockRollout.timestepContexts(self.transformer, steps, referenceLatent)
    setReference(referenceLatent)
  }

  /// The memory of a step; the first one where all share it.
  package func memory(of step: Int = 0) -> any AttentionMemory {
    guard let memory = memories.count == 1 ? memories[0] : memories[step] else {
      preconditionFailure("step \(step) is another stage's")
    }
    return memory
  }

  /// Changes the direction from the next block on; `textEmbedding` as in the initialiser.
  package func setText(_ textEmbedding: Tensor) {
    self.textEmbedding = textEmbedding
    text = withGradients(false) { transformer.read(text: textEmbedding) }
    recordedText = nil
  }

  /// Changes the denoising steps from the next block on, where all of them share one memory.
  package func setSteps(_ steps: [FlowMatchingSchedule.Step]) {
    precondition(memories.count == 1 && !steps.isEmpty, "each step has a memory of its own")
    self.steps = steps
    recordedSteps = [:]
    stepContexts = withGradients(false) {
      steps.map { transformer.read(timesteps: $0.timestep.expand(shape[0], 1)) }
    }
  }

  /// Changes the picture from the next block on; `referenceLatent` as in the initialiser. What the memories hold stays.
  package func setReference(_ referenceLatent: Tensor) {
    let latent = referenceLatent.to(device, dtype)
    reference = withGradients(false) {
      transformer.read(
        reference: latent, framesPerBlock: framesPerBlock, text: text, timestep: cleanContext, rotary: rotary)
    }
  }

  /// Goes on as though so many blocks had been generated, with noise in the memory; for benchmarks.
  package func skip(blocks: Int) {
    for memory in memories.compactMap(\.self) {
      (memory as? RingMemory)?.fill(
        frames: (block + blocks) * framesPerBlock, RandomGenerator(seed: 9, device: device))
    }
    block += blocks
  }

  /// Generates the next block's clean latents `[B, C, n, H, W]`.
  ///
  /// - Parameters:
  ///   - audio: what the model makes of the block's sound.
  ///   - step: the step to end with; nil for the last one.
  ///   - recorded: whether that step's gradient is recorded. The steps before it and the commit pass never have one.
  package func next(audio: Transformer.AudioContext, endingWith step: Int? = nil, recorded: Bool = false) -> Tensor {
    let last = step ?? steps.count - 1
    precondition(steps.indices.contains(last), "there is no step \(last)")
    var x = startingNoise()
    for index in 0..<last { x = withGradients(false) { self.step(index, x, audio: audio) } }
    lastInput = x
    let x0 = withGradients(recorded) { clean(x, last, audio) }
    withGradients(false) { commit(x0.detach(), audio) }
    return x0
  }

  /// As `next`, but gives up between two steps when it is told to, and the same block can be begun again: only its own rows of the
  /// memory were written, and noise was drawn.
  package func next(audio: Transformer.AudioContext, unless isStopped: () -> Bool) -> Tensor? {
    var x = startingNoise()
    for index in steps.indices {
      if isStopped() { return nil }
      x = withGradients(false) { step(index, x, audio: audio) }
    }
    if isStopped() { return nil }
    withGradients(false) { commit(x, audio) }
    return x
  }

  /// Generates the clean latents of a whole clip, every block in one step before any in the next. Where a step sees of earlier blocks only
  /// what it wrote itself, that is what block by block over a memory for each step gives, and takes one memory.
  ///
  /// - Parameters:
  ///   - audio: of each block.
  ///   - last: the step that all blocks end with.
  ///   - recorded: whether a block's last step has its gradient recorded.
  ///   - empty: makes the memory forget all blocks.
  /// - Returns: of each block the clean latents, and what its last step began from, `[B, C, n, H, W]`.
  package func clip(
    audio: [Transformer.AudioContext], endingWith last: Int, recorded: (Int) -> Bool, emptyingMemory empty: () -> Void
  ) -> (latents: [Tensor], inputs: [Tensor]) {
    precondition(memories.count == 1 && commit == .lastStep, "a commit pass is over what all steps see")
    func each(_ pass: (Int) -> Tensor) -> [Tensor] {
      audio.indices.map {
        block = $0
        return pass($0)
      }
    }
    var inputs = each { _ in startingNoise() }
    for index in 0..<last {
      inputs = each { block in withGradients(false) { step(index, inputs[block], audio: audio[block]) } }
      empty()
    }
    let latents = each { block in withGradients(recorded(block)) { clean(inputs[block], last, audio[block]) } }
    block = audio.count
    return (latents, inputs)
  }

  // MARK: One step at a time

  /// The noise that the next block starts from, `[B, C, n, H, W]`.
  package func startingNoise() -> Tensor { noise.initial(block, shape).to(device, dtype) }

  /// One step of the next block: the latents that the step after it begins from, or clean ones after the last.
  ///
  /// For pipelines whose stages each hold a step; the block ends with `commit`.
  package func step(_ index: Int, _ x: Tensor, audio: Transformer.AudioContext) -> Tensor {
    guard index + 1 < steps.count else { return clean(x, index, audio) }
    switch sampler {
    case .renoise:
      let x0 = denoised(x, index, audio, to: 0)
      return renoised(x0, noise.renewed(block, index, shape), steps[index + 1].sigma)
    case .euler: return denoised(x, index, audio, to: steps[index + 1].sigma)
    }
  }

  /// Ends the block: its clean latents are committed to the memory.
  package func commit(_ clean: Tensor, _ audio: Transformer.AudioContext) {
    switch commit {
    case .clean: pass(clean, zero, nil, cleanContext, text, audio, memory())
    case .noised(let sigma):
      pass(renoised(clean, noise.committed(block, shape), sigma), zero, nil, cleanContext, text, audio, memory())
    case .lastStep: break
    }
    block += 1
  }

  /// Computes the last step of an earlier block again, with its gradient, over a memory that has gone back to that block.
  ///
  /// - Parameters:
  ///   - input: what that step began from (`lastInput`).
  ///   - audio: as in `next`.
  package func repeatLastStep(block earlier: Int, from input: Tensor, step: Int, audio: Transformer.AudioContext)
    -> Tensor
  {
    block = earlier
    (recordedText, recordedSteps) = (nil, [:])
    return withGradients(true) { clean(input, step, audio) }
  }

  private var zero: Tensor { Tensor.zeros([1, 1], dtype, device: device) }
  private var frames: Range<Int> { block * framesPerBlock..<(block + 1) * framesPerBlock }

  /// What a step ends with where it is the last: what is given in a block is as it was given, whatever was predicted for it.
  private func clean(_ x: Tensor, _ index: Int, _ audio: Transformer.AudioContext) -> Tensor {
    transformer.pinned(denoised(x, index, audio, to: 0), block: frames, to: reference)
  }

  /// The latents along the predicted flow from a step's noise level to another; at level 0 this is x0.
  private func denoised(_ x: Tensor, _ index: Int, _ audio: Transformer.AudioContext, to sigma: Double) -> Tensor {
    let x = transformer.pinned(x, block: frames, to: reference)
    let step = steps[index]
    let (context, text) = gradientsEnabled ? recordedContexts(index) : (stepContexts[index], text)
    let flow = pass(x, step.timestep, index, context, text, audio, memory(of: index))
    switch sampler {
    case .renoise: return (x.to(.float64) - flow.to(.float64) * (step.sigma - sigma)).to(flow.dtype)
    case .euler: return FlowMatchingSchedule.eulerStep(x, flow, from: step.sigma, to: sigma)
    }
  }

  /// What a pass with a gradient is told; read once for all blocks.
  private func recordedContexts(_ index: Int) -> (Transformer.TimestepContext, Transformer.TextContext) {
    let step =
      recordedSteps[index] ?? transformer.read(timesteps: steps[index].timestep.expand(shape[0], 1))
    recordedSteps[index] = step
    let text = recordedText ?? (keepsFirstText && hasPassed ? text : transformer.read(text: textEmbedding))
    recordedText = text
    return (step, text)
  }

  /// x0 noised to a level, in fp32.
  private func renoised(_ x0: Tensor, _ fresh: Tensor, _ sigma: Double) -> Tensor {
    let fresh = fresh.to(device, dtype)
    return (x0.to(.float32) * (1 - sigma) + fresh.to(.float32) * sigma).to(dtype)
  }

  @discardableResult
  private func pass(
    _ x: Tensor, _ timestep: Tensor, _ step: Int?, _ context: Transformer.TimestepContext,
    _ text: Transformer.TextContext, _ audio: Transformer.AudioContext, _ memory: any AttentionMemory
  ) -> Tensor {
    let flow = transformer.flow(
      x, block: frames, step: step, reference: reference, timestep: context, text: text, audio: audio, memory: memory,
      rotary: rotary)
    hasPassed = true
    tap?(x, timestep, flow)
    return flow
  }
}
