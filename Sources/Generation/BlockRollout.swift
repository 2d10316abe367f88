import Models
import Torch

/// Where the noise of a rollout comes from.
public struct NoiseSource {
  /// The noise a block starts from: block index, shape.
  public var initial: (Int, [Int]) -> Tensor
  /// The noise that a block is noised with again before a step: block index, index of the step before, shape.
  public var renewed: (Int, Int, [Int]) -> Tensor
  /// The noise of the commit pass, for `Commit.noised`: block index, shape.
  public var committed: (Int, [Int]) -> Tensor

  public init(
    initial: @escaping (Int, [Int]) -> Tensor, renewed: @escaping (Int, Int, [Int]) -> Tensor,
    committed: @escaping (Int, [Int]) -> Tensor = { _, shape in .zeros(shape) }
  ) {
    self.initial = initial
    self.renewed = renewed
    self.committed = committed
  }

  /// Standard normal noise from a seed. It is drawn on the CPU in fp32, so one seed gives one video on every device.
  public init(seed: UInt64) { self.init(RandomGenerator(seed: seed)) }

  /// Standard normal noise from a generator, in the order in which it is needed.
  public init(_ generator: RandomGenerator) {
    self.init(
      initial: { generator.normal($1) }, renewed: { generator.normal($2) }, committed: { generator.normal($1) })
  }
}

/// What of a finished block stays in the cache.
public enum Commit: Hashable, Sendable {
  /// The keys and values of one more pass over x0 at timestep 0: what serves.
  case clean
  /// As `clean`, over x0 noised to this sigma, while the model is told timestep 0: the published training, whose smallest sigma
  /// is not 0.
  case noised(sigma: Double)
  /// Those of the block's last step at its own noise level: Live Avatar's history corruption. There is no further pass.
  case lastStep
}

/// How the gradient of a training rollout crosses from a block into earlier ones.
public enum HistoryGradient: String, Sendable, CaseIterable {
  /// Not at all: cached keys and values are constants, as the papers say.
  case cut
  /// Through the cache, whose values a later pass replaced but whose history stayed: what the published Self-Forcing training does.
  case selfForcing
  /// As `selfForcing`, and the text's keys and values are those of the rollout's first pass, so that the text layers have a
  /// gradient only where that pass has one: what the published LiveTalk code does.
  case literal
}

/// Generates latent blocks one after the other: the loop that serves, and that training rolls out.
///
/// Each block is denoised over the cache in the given steps, noised again between them, and then committed to the cache. The
/// first latent frame of the clip is held at the reference latent.
/// Shapes: B batch (1 when serving), n frames per block, H and W latent pixels.
public final class BlockRollout {
  /// Called after every pass of the model: its noisy input, timestep and predicted flow; for parity.
  public typealias Tap = (_ x: Tensor, _ timestep: Tensor, _ flow: Tensor) -> Void

  public let framesPerBlock: Int
  public let cache: KVCache
  /// Index of the next block.
  public private(set) var block = 0
  /// The noisy latents that the newest block's last step began from, `[B, C, n, H, W]`.
  public private(set) var lastInput: Tensor?

  private let transformer: WanTransformer
  private let steps: [FlowMatchingSchedule.Step]
  private let commit: Commit
  private let historyGradient: HistoryGradient
  private let referenceLatent: Tensor  // [B, C, 1, H, W]
  private let firstCondition, laterCondition: Tensor  // [B, C+1, n, H, W]
  private let rotary: Rotary
  private let noise: NoiseSource
  private let tap: Tap?

  private var textEmbedding: Tensor
  private var text: WanTransformer.TextContext
  private let stepContexts: [WanTransformer.TimestepContext]
  private let cleanContext: WanTransformer.TimestepContext
  /// The same with a gradient, once a pass has needed them.
  private var recordedText: WanTransformer.TextContext?
  private var recordedSteps: [Int: WanTransformer.TimestepContext] = [:]
  private var hasPassed = false

  /// - Parameters:
  ///   - steps: of a whole schedule, or those that a rollout in training may end with.
  ///   - textEmbedding: the text encoder's output `[B, L, textDim]`.
  ///   - referenceLatent: the encoded picture `[B, C, 1, H, W]`.
  ///   - clipFrames: latent frames of the whole clip, for a policy that keeps them all; nil for an endless session.
  ///   - visibleFrames: how many of the newest latent frames attention sees, the block's own included, where the cache holds more;
  ///     what a rolling window sees, in a cache that can go back.
  ///   - positionLimit: see `KVCache.positionLimit`.
  /// - Throws: `TorchError` for a policy that cannot hold a block, a full one without a clip's length, or a position limit under
  ///   which the window would run into its sinks.
  public init(
    transformer: WanTransformer, steps: [FlowMatchingSchedule.Step], policy: KVCachePolicy, framesPerBlock: Int = 3,
    textEmbedding: Tensor, referenceLatent: Tensor, clipFrames: Int? = nil,
    visibleFrames: Int? = nil, positionLimit: Int? = GenerationDefaults.positionLimit, commit: Commit = .clean,
    historyGradient: HistoryGradient = .cut, noise: NoiseSource, tap: Tap? = nil
  ) throws {
    guard framesPerBlock > 0, !steps.isEmpty else {
      throw TorchError("Blocks of \(framesPerBlock) frames in \(steps.count) steps cannot be generated.")
    }
    if let problem = policy.problem(framesPerBlock: framesPerBlock) {
      throw TorchError("The cache policy is impossible: \(problem).")
    }
    guard let window = policy.window(clipFrames: clipFrames) else {
      throw TorchError(
        "The cache policy 'full' needs a clip of known length; use a rolling or anchored window for an endless one.")
    }
    if let positionLimit, policy.sinks > 0, positionLimit < window {
      throw TorchError("A limit of \(positionLimit) time positions is less than the window of \(window) frames.")
    }
    if let visibleFrames, visibleFrames < framesPerBlock {
      throw TorchError("A block of \(framesPerBlock) frames must see itself, not only \(visibleFrames) frames.")
    }
    if historyGradient != .cut, transformer.checkpointsLayers {
      throw TorchError("Gradients can only cross the cache where layers are not checkpointed.")
    }
    let dtype = referenceLatent.dtype
    let device = referenceLatent.device
    let (batch, height, width) = (referenceLatent.size(0), referenceLatent.size(3), referenceLatent.size(4))
    self.transformer = transformer
    self.steps = steps
    self.framesPerBlock = framesPerBlock
    self.commit = commit
    self.historyGradient = historyGradient
    self.noise = noise
    self.tap = tap
    self.textEmbedding = textEmbedding
    self.referenceLatent = referenceLatent
    let tokensPerFrame = transformer.config.tokensPerFrame(height: height, width: width)
    cache = KVCache(
      configuration: transformer.config, windowFrames: max(window, policy.sinks + framesPerBlock),
      sinkFrames: policy.sinks, tokensPerFrame: tokensPerFrame,
      visibleTokens: visibleFrames.map { $0 * tokensPerFrame },
      positionLimit: policy == .full ? nil : positionLimit, batch: batch, dtype: dtype, device: device)
    cache.keepsHistory = historyGradient != .cut
    cache.holdsWholeClip = policy == .full
    rotary = transformer.rotary(for: referenceLatent)
    (text, stepContexts, cleanContext) = withGradients(false) {
      (
        transformer.read(text: textEmbedding),
        steps.map { transformer.read(timesteps: $0.timestep.expand(batch, 1)) },
        transformer.read(timesteps: Tensor.zeros([batch, 1], dtype, device: device))
      )
    }
    firstCondition = ReferenceLatent.condition(referenceLatent, frames: framesPerBlock, startsClip: true)
    laterCondition = ReferenceLatent.condition(referenceLatent, frames: framesPerBlock, startsClip: false)
  }

  /// Changes the direction from the next block on; `textEmbedding` as in the initialiser.
  public func setText(_ textEmbedding: Tensor) {
    self.textEmbedding = textEmbedding
    text = withGradients(false) { transformer.read(text: textEmbedding) }
    recordedText = nil
  }

  /// Goes on as though so many blocks had been generated, with noise in the cache; for benchmarks.
  package func skip(blocks: Int) {
    cache.fill(frames: (block + blocks) * framesPerBlock, RandomGenerator(seed: 9, device: referenceLatent.device))
    block += blocks
  }

  /// Generates the next block's clean latents `[B, C, n, H, W]`.
  ///
  /// - Parameters:
  ///   - audio: the block's part of `WanTransformer.audioContext`, `[layers, B, n, C]`.
  ///   - step: the step to end with; nil for the last one.
  ///   - recorded: whether that step's gradient is recorded. The steps before it and the commit pass never have one.
  public func next(audio: Tensor, endingWith step: Int? = nil, recorded: Bool = false) -> Tensor {
    let last = step ?? steps.count - 1
    precondition(steps.indices.contains(last), "there is no step \(last)")
    let shape = [referenceLatent.size(0), referenceLatent.size(1), framesPerBlock] + referenceLatent.shape[3...]
    let like = referenceLatent
    var x = noise.initial(block, shape).to(like.device, like.dtype)
    for index in 0..<last {
      let x0 = withGradients(false) { denoise(x, index, audio) }
      x = renoised(x0, noise.renewed(block, index, shape), steps[index + 1].sigma)
    }
    lastInput = x
    let x0 = pinned(withGradients(recorded) { denoise(x, last, audio) })
    withGradients(false) {
      let clean = x0.detach()
      switch commit {
      case .clean: pass(clean, zero, cleanContext, text, audio)
      case .noised(let sigma):
        pass(renoised(clean, noise.committed(block, shape), sigma), zero, cleanContext, text, audio)
      case .lastStep: break
      }
    }
    block += 1
    return x0
  }

  /// Computes the last step of an earlier block again, with its gradient, over the cache of the blocks before it.
  ///
  /// The rollout goes back to that block: call it for the blocks from the newest to the oldest.
  /// - Parameters:
  ///   - input: what that step began from (`lastInput`).
  ///   - audio: the block's part of the audio context.
  public func repeatLastStep(block earlier: Int, from input: Tensor, step: Int, audio: Tensor) -> Tensor {
    cache.rewind(to: earlier * framesPerBlock)
    block = earlier
    (recordedText, recordedSteps) = (nil, [:])
    return pinned(withGradients(true) { denoise(input, step, audio) })
  }

  private var zero: Tensor { Tensor.zeros([1, 1], referenceLatent.dtype, device: referenceLatent.device) }

  /// The x0 that one step predicts.
  private func denoise(_ x: Tensor, _ index: Int, _ audio: Tensor) -> Tensor {
    let x = pinned(x)
    let step = steps[index]
    let (context, text) = gradientsEnabled ? recordedContexts(index) : (stepContexts[index], text)
    let flow = pass(x, step.timestep, context, text, audio)
    return (x.to(.float64) - flow.to(.float64) * step.sigma).to(flow.dtype)
  }

  /// What a pass with a gradient is told; read once for all blocks.
  private func recordedContexts(_ index: Int) -> (WanTransformer.TimestepContext, WanTransformer.TextContext) {
    let step =
      recordedSteps[index]
      ?? transformer.read(timesteps: steps[index].timestep.expand(referenceLatent.size(0), 1))
    recordedSteps[index] = step
    let keepsFirst = historyGradient == .literal && hasPassed
    let text = recordedText ?? (keepsFirst ? text : transformer.read(text: textEmbedding))
    recordedText = text
    return (step, text)
  }

  /// x0 noised to a level, in fp32.
  private func renoised(_ x0: Tensor, _ fresh: Tensor, _ sigma: Double) -> Tensor {
    let fresh = fresh.to(referenceLatent.device, referenceLatent.dtype)
    return (x0.to(.float32) * (1 - sigma) + fresh.to(.float32) * sigma).to(referenceLatent.dtype)
  }

  /// The clip's first latent frame is the reference latent, whatever was predicted for it.
  private func pinned(_ x: Tensor) -> Tensor {
    block == 0 ? ReferenceLatent.pinned(x, to: referenceLatent) : x
  }

  @discardableResult
  private func pass(
    _ x: Tensor, _ timestep: Tensor, _ context: WanTransformer.TimestepContext, _ text: WanTransformer.TextContext,
    _ audio: Tensor
  ) -> Tensor {
    let flow = transformer(
      block: x, start: block * framesPerBlock, condition: block == 0 ? firstCondition : laterCondition,
      timestep: context, text: text, audio: audio, cache: cache, rotary: rotary)
    hasPassed = true
    tap?(x, timestep, flow)
    return flow
  }
}

/// Figures of the published system that are not sizes of a model.
public enum GenerationDefaults {
  /// Video frames per second.
  public static let fps = 16
  /// Samples of sound per second.
  public static let sampleRate = 16000
  /// Latent frames generated together.
  public static let framesPerBlock = 3
  /// Video frames that one latent frame decodes to, after the first, which gives one.
  public static let videoFramesPerLatentFrame = 4
  /// Where the reference's table of time positions ends, and generation with it; here the window is turned back instead.
  public static let positionLimit = 1024
}
