import Models
import Torch

/// Where the noise of a rollout comes from.
public struct NoiseSource {
  /// The noise a block starts from: block index, shape.
  public var initial: (Int, [Int]) -> Tensor
  /// The noise that a block is noised with again before a step: block index, index of the step that follows, shape.
  public var renewed: (Int, Int, [Int]) -> Tensor

  public init(initial: @escaping (Int, [Int]) -> Tensor, renewed: @escaping (Int, Int, [Int]) -> Tensor) {
    self.initial = initial
    self.renewed = renewed
  }

  /// Standard normal noise from a seed. It is drawn on the CPU in fp32, so one seed gives one video on every device.
  public init(seed: UInt64) {
    let generator = RandomGenerator(seed: seed)
    self.init(initial: { generator.normal($1) }, renewed: { generator.normal($2) })
  }
}

/// Generates latent blocks one after the other: the loop that serves, and that training rolls out.
///
/// Each block is denoised over the cache in the steps of the schedule, noised again between them, and then run once more at
/// timestep 0 to commit its clean keys and values. The first latent frame of the clip is held at the reference latent.
/// Shapes: n frames per block, H and W latent pixels; batch 1.
public final class BlockRollout {
  /// Called after every pass of the model: its noisy input, timestep and predicted flow; for parity.
  public typealias Tap = (_ x: Tensor, _ timestep: Tensor, _ flow: Tensor) -> Void

  public let framesPerBlock: Int
  public let cache: KVCache
  /// Index of the next block.
  public private(set) var block = 0

  private let transformer: WanTransformer
  private let schedule: FlowMatchingSchedule
  private let steps: [FlowMatchingSchedule.Step]
  private let stepContexts: [WanTransformer.TimestepContext]
  private let cleanContext: WanTransformer.TimestepContext
  private var text: WanTransformer.TextContext
  private let referenceLatent: Tensor  // [1, 16, 1, H, W]
  private let firstCondition, laterCondition: Tensor  // [1, 17, n, H, W]
  private let rotary: Rotary
  private let noise: NoiseSource
  private let tap: Tap?

  /// - Parameters:
  ///   - textEmbedding: the text encoder's output `[1, L, textDim]`.
  ///   - referenceLatent: the encoded picture `[1, 16, 1, H, W]`.
  ///   - clipFrames: latent frames of the whole clip, for a policy that keeps them all; nil for an endless session.
  ///   - positionLimit: see `KVCache.positionLimit`.
  /// - Throws: `TorchError` for a policy that cannot hold a block, a full one without a clip's length, or a position limit under
  ///   which the window would run into its sinks.
  public init(
    transformer: WanTransformer, schedule: FlowMatchingSchedule, policy: KVCachePolicy, framesPerBlock: Int = 3,
    textEmbedding: Tensor, referenceLatent: Tensor, clipFrames: Int? = nil,
    positionLimit: Int? = GenerationDefaults.positionLimit, noise: NoiseSource, tap: Tap? = nil
  ) throws {
    guard framesPerBlock > 0, schedule.count > 0 else {
      throw TorchError("Blocks of \(framesPerBlock) frames in \(schedule.count) steps cannot be generated.")
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
    let dtype = referenceLatent.dtype
    let device = referenceLatent.device
    let (height, width) = (referenceLatent.size(3), referenceLatent.size(4))
    self.transformer = transformer
    self.schedule = schedule
    self.framesPerBlock = framesPerBlock
    self.noise = noise
    self.tap = tap
    self.referenceLatent = referenceLatent
    cache = KVCache(
      configuration: transformer.config, windowFrames: max(window, policy.sinks + framesPerBlock),
      sinkFrames: policy.sinks,
      tokensPerFrame: transformer.config.tokensPerFrame(height: height, width: width),
      positionLimit: policy == .full ? nil : positionLimit, dtype: dtype, device: device)
    rotary = transformer.rotary(for: referenceLatent)
    steps = schedule.steps(dtype)
    stepContexts = steps.map { transformer.read(timesteps: $0.timestep) }
    cleanContext = transformer.read(timesteps: Tensor.zeros([1, 1], dtype, device: device))
    text = transformer.read(text: textEmbedding)
    // The mask channel is 0 for the clip's first frame, whose picture is given, and 1 for all others.
    let repeated = referenceLatent.expand(1, referenceLatent.size(1), framesPerBlock, height, width)
    let masked = Tensor.ones([1, 1, framesPerBlock, height, width], dtype, device: device)
    laterCondition = Tensor.cat([repeated, masked], 1)
    let given = masked.clone()
    given.narrow(2, 0, 1).fill_(0)
    firstCondition = Tensor.cat([repeated, given], 1)
  }

  /// Changes the direction from the next block on; `textEmbedding` as in the initialiser.
  public func setText(_ textEmbedding: Tensor) { text = transformer.read(text: textEmbedding) }

  /// Goes on as though so many blocks had been generated, with noise in the cache; for benchmarks.
  package func skip(blocks: Int) {
    cache.fill(frames: (block + blocks) * framesPerBlock, RandomGenerator(seed: 9, device: referenceLatent.device))
    block += blocks
  }

  /// Generates the next block's clean latents `[1, 16, n, H, W]`.
  ///
  /// - Parameter audio: the block's part of `WanTransformer.audioContext`, `[layers, 1, n, C]`.
  public func next(audio: Tensor) -> Tensor {
    let shape = [1, referenceLatent.size(1), framesPerBlock, referenceLatent.size(3), referenceLatent.size(4)]
    let like = referenceLatent
    var x = noise.initial(block, shape).to(like.device, like.dtype)
    var x0 = x
    for (index, step) in steps.enumerated() {
      x = pinned(x)
      let flow = pass(x, stepContexts[index], audio)
      tap?(x, step.timestep, flow)
      x0 = (x.to(.float64) - flow.to(.float64) * step.sigma).to(flow.dtype)
      if index + 1 < steps.count {
        let sigma = steps[index + 1].sigma
        let fresh = noise.renewed(block, index, shape).to(like.device, like.dtype)
        x = (x0.to(.float32) * (1 - sigma) + fresh.to(.float32) * sigma).to(like.dtype)
      }
    }
    x0 = pinned(x0)
    let committed = pass(x0, cleanContext, audio)
    tap?(x0, Tensor.zeros([1, 1]), committed)
    block += 1
    return x0
  }

  /// The clip's first latent frame is the reference latent, whatever was predicted for it.
  private func pinned(_ x: Tensor) -> Tensor {
    guard block == 0 else { return x }
    guard framesPerBlock > 1 else { return referenceLatent }
    return Tensor.cat([referenceLatent, x.narrow(2, 1, framesPerBlock - 1)], 2)
  }

  private func pass(_ x: Tensor, _ timestep: WanTransformer.TimestepContext, _ audio: Tensor) -> Tensor {
    transformer(
      block: x, start: block * framesPerBlock, condition: block == 0 ? firstCondition : laterCondition,
      timestep: timestep, text: text, audio: audio, cache: cache, rotary: rotary)
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
