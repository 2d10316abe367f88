package import Distributed
package import Models
package import Torch

/// What messages between two processes of a pipeline are told apart by.
enum PipelineTag {
  static let (latents, sink, order, tensor) = (0, 1, 2, 3)
  /// Numbers of blocks under way may not be more apart than this.
  private static let blocks = 4096

  /// What comes back of a block to the first process: pictures with what is known of them, and seconds.
  static func pictures(_ number: Int) -> Int { 4 + number % blocks * 3 }
  static func seconds(_ number: Int) -> Int { pictures(number) + 2 }
}

/// One process of a pipeline: it takes each block through its denoising steps, and through the decoder if it is the last.
///
/// Block b is at step k while block b + 1 is at step k - 1: each step has a memory of its own, which needs no other step's. Processes send
/// each other a block's latents, and once the frame that becomes the sink; each reads text, picture and sound for itself, and noise and
/// distances come from the seed. The result is that of one process, to the last bit.
///
/// No order of calls can wait in a circle: a block goes from each process to the next only, and the sink is received without waiting
/// by every process that has passed on the first block, whether or not a block needs it.
package final class PipelineStage {
  package let plan: PipelinePlan
  /// Index of the next block.
  package private(set) var block = 0

  private let group: ProcessGroup
  private let models: LiveAvatarModels?
  private let rollout: LiveAvatarRollout?
  private let decoder: StreamedDecoder?
  private let latents: (shape: [Int], dtype: DType)
  private let sinkShape: [Int]
  private let clock: PipelineClock?
  /// The newest block on its way to the next process.
  private var sending: ProcessGroup.Transfer?
  /// The new sink on its way to this process, or from it to the others.
  private var sharing: [ProcessGroup.Transfer] = []
  private var newSink: Tensor?

  /// - Parameters:
  ///   - models: nil where this process only decodes.
  ///   - textEmbedding: the text encoder's output `[1, L, textDim]`; nil where this process only decodes.
  /// - Throws: `TorchError` for options that cannot be.
  package init(
    _ plan: PipelinePlan, _ group: ProcessGroup, models: LiveAvatarModels?, vae: WanVAE,
    conditions: LiveAvatarConditions, textEmbedding: Tensor?, options: LiveAvatarOptions, clock: PipelineClock? = nil
  ) throws {
    guard plan.ranks == group.size, plan.steps == options.steps else {
      throw TorchError("A pipeline of \(plan.ranks) processes in \(plan.steps) steps was planned for others.")
    }
    (self.plan, self.group, self.models, self.clock) = (plan, group, models, clock)
    let sink = conditions.sink
    latents = ([1, sink.size(1), options.framesPerBlock] + sink.shape[3...], vae.dtype)
    sinkShape = [1, sink.size(1), 1] + sink.shape[3...]
    let steps = plan.steps(of: group.rank)
    if steps.isEmpty {
      rollout = nil
    } else {
      guard let models, let textEmbedding else {
        throw TorchError("Rank \(group.rank) of the pipeline computes steps, and has no transformer and text.")
      }
      rollout = try LiveAvatarRollout(
        transformer: models.transformer, conditions: conditions, textEmbedding: textEmbedding, options: options,
        steps: steps, tap: clock.map { clock in { _, _, _ in clock.lap() } })
    }
    decoder = group.rank == plan.decoder ? StreamedDecoder(vae, motion: conditions.motion) : nil
  }

  package var decodes: Bool { decoder != nil }
  /// Tokens of earlier frames that a step's attention sees, the newest block's included.
  package var cachedTokens: Int {
    rollout.map { $0.blocks.memory(of: $0.steps.lowerBound).ordered(layer: 0).keys.size(1) } ?? 0
  }

  /// Takes the next block through this process's steps, and passes it on.
  ///
  /// - Parameters:
  ///   - audioFeatures: gives the block's rows; nil where this process only decodes.
  ///   - isStopped: asked between two steps in the first process, which nobody waits for yet.
  /// - Returns: latents `[1, C, n, h, w]`, clean ones in the last process; nil where it was stopped before it was passed on. It can then be
  ///   begun again, as though it had not been.
  /// - Throws: what `audioFeatures` throws, or `TorchError` when another process does not do its part.
  package func next(audioFeatures: (() throws -> Tensor)?, unless isStopped: () -> Bool) throws -> Tensor? {
    precondition(group.rank == 0 || !isStopped(), "others wait for the block")
    let given = group.rank > 0 ? Tensor.zeros(latents.shape, latents.dtype, device: group.device) : nil
    guard let rollout, let models, let audioFeatures else {
      guard rollout == nil, let given else {
        throw TorchError("Rank \(group.rank) of the pipeline computes steps, and is given no sound.")
      }
      try group.receive(into: given, from: group.rank - 1, tag: PipelineTag.latents)
      block += 1
      return given
    }
    clock?.begin(block: block, part: PipelineSpan.sound)
    let audio = models.transformer.read(audioFeatures: try audioFeatures())
    clock?.lap()
    if rollout.changesSink, let sink = try rollout.firstFrame ?? receivedSink() { rollout.setSink(sink) }
    if let given { try group.receive(into: given, from: group.rank - 1, tag: PipelineTag.latents) }
    clock?.begin(block: block, part: rollout.steps.lowerBound)
    guard let result = rollout.next(from: given, audio: audio, unless: isStopped) else { return nil }
    if !decodes { try send(result) }
    if block == 0 { try shareSink() }
    block += 1
    return result
  }

  /// As above, to its end.
  @discardableResult
  package func next(audioFeatures: (() throws -> Tensor)?) throws -> Tensor {
    guard let latents = try next(audioFeatures: audioFeatures, unless: { false }) else {
      preconditionFailure("nobody stopped the block")
    }
    return latents
  }

  /// Changes the direction from the next block on.
  package func setText(_ textEmbedding: Tensor) { rollout?.setText(textEmbedding) }

  /// Decodes the block that `next` gave last; in the last process only.
  package func decode(_ clean: Tensor) throws -> PendingFrames {
    guard let decoder else { throw TorchError("Only the last process of a pipeline decodes.") }
    clock?.begin(block: block - 1, part: plan.steps)
    let frames = decoder.decode(clean)
    clock?.lap()
    return frames
  }

  /// Waits until all that is on its way has arrived. No block may follow.
  package func finish() throws {
    try sending?.wait()
    sending = nil
    _ = try receivedSink()
  }

  /// Takes all blocks of a clip through this process.
  ///
  /// - Parameters:
  ///   - audioFeatures: see `SessionModels.audioFeatures`; nil where this process only decodes.
  ///   - deliver: takes each frame in order, packed RGB, in the last process.
  ///   - progress: told how many blocks are done.
  package func generate(
    _ clip: Clip, audioFeatures: (() throws -> Tensor)?, deliver: ([UInt8]) throws -> Void,
    progress: (Int) -> Void = { _ in }
  ) throws {
    if decodes {
      try clip.deliver({ try decode(next(audioFeatures: audioFeatures)) }, to: deliver, progress: progress)
    } else {
      for block in 0..<clip.blocks {
        try next(audioFeatures: audioFeatures)
        progress(block + 1)
      }
    }
    try finish()
  }

  // MARK: Messages

  /// The block before must have been taken, so that no process runs far ahead of the next.
  private func send(_ result: Tensor) throws {
    // After an operation that failed tensors are empty, which the scope of its errors tells.
    guard result.shape == latents.shape else { throw TorchError("Rank \(group.rank) has no block to pass on.") }
    try sending?.wait()
    sending = try group.startSend(result.contiguous(), to: group.rank + 1, tag: PipelineTag.latents)
  }

  /// Begins to pass the frame that will be the sink from the process with the last step to all with others.
  private func shareSink() throws {
    guard let rollout, rollout.options.adaptiveSink != .never else { return }
    if let frame = rollout.firstFrame {
      let sent = frame.contiguous()
      sharing = try (0..<plan.lastStep).map { try group.startSend(sent, to: $0, tag: PipelineTag.sink) }
    } else {
      let sink = Tensor.zeros(sinkShape, latents.dtype, device: group.device)
      newSink = sink
      sharing = [try group.startReceive(into: sink, from: plan.lastStep, tag: PipelineTag.sink)]
    }
  }

  /// The sink that another process sent, once it is there.
  private func receivedSink() throws -> Tensor? {
    for transfer in sharing { try transfer.wait() }
    sharing = []
    defer { newSink = nil }
    return newSink
  }
}

extension PipelineStage {
  /// All processes' times on the one that decodes; nil on the others. Every process calls it once, after `finish`.
  package func gatherSpans() throws -> [PipelineSpan]? {
    let own = clock?.spans ?? []
    guard decodes else {
      let rows = own.flatMap { [Double($0.part), Double($0.block), $0.start, $0.end] }
      try group.send(Tensor(rows, [own.count, 4]).to(group.device), to: plan.decoder)
      return nil
    }
    let others = try (0..<plan.decoder).flatMap { rank in
      // Its steps, and their sound.
      let rows = Tensor.zeros([(plan.steps(of: rank).count + 1) * block, 4], .float64, device: group.device)
      try group.receive(into: rows, from: rank)
      let values = rows.array(Double.self)
      return Swift.stride(from: 0, to: values.count, by: 4).map {
        PipelineSpan(
          part: Int(values[$0]), block: Int(values[$0 + 1]), start: values[$0 + 2], end: values[$0 + 3], rank: rank)
      }
    }
    return others + own
  }
}
