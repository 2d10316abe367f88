import Basics
package import Distributed
package import Models
import Synchronization
package import Torch

/// The models of live sessions in the first process of a pipeline: its own steps are computed here, and the others' by processes that
/// run a `PipelineFollower`.
///
/// What the others need is sent with an order for each block, after this process's own steps: until then a block can be stopped, and
/// nobody knows of it. What was passed on goes through, in order, and its pictures come back.
package final class PipelinedModels: SessionModels {
  package let processes: Int
  /// Sessions that the processes have memory for; nil where that is not counted.
  package let room: Int?
  private let models: LiveAvatarModels
  private let plan: PipelinePlan
  private let group: ProcessGroup
  private let state: Mutex<State>

  /// More blocks than sessions have under way.
  private static let mostReturning = 64

  private struct State: ~Copyable {
    let orders: PipelineOrders
    var sessions = 0
    var blocks = 0
    /// Frames under way: they must arrive, wanted or not.
    var returning: [[ProcessGroup.Transfer]] = []
  }

  /// Meets the other processes.
  ///
  /// - Parameter room: how many sessions this process has memory for; nil where that is not counted.
  /// - Throws: `TorchError` when they do not come, or for a process other than the first.
  package init(_ plan: PipelinePlan, _ group: ProcessGroup, _ models: LiveAvatarModels, room: Int? = nil) throws {
    guard group.rank == 0, plan.ranks == group.size else {
      throw TorchError("A pipeline of \(plan.ranks) processes is directed by the first of them.")
    }
    (self.plan, self.group, self.models) = (plan, group, models)
    processes = plan.ranks
    self.room = try group.leastRoom(room)
    state = Mutex(State(orders: PipelineOrders(group)))
  }

  /// Lets the other processes end. No block may follow.
  ///
  /// - Throws: `TorchError` when they do not hear it.
  package func stop() throws {
    try state.withLock { state in
      try state.orders.stop()
      for transfer in state.returning.joined() { try transfer.wait() }
    }
  }

  package var devices: [Device] { models.devices }
  package var vae: WanVAE { models.vae }
  package var audioEncoder: Wav2Vec2 { models.audioEncoder }
  package var settings: CheckpointSettings { models.settings }
  package var textWidth: Int { models.textWidth }
  package var pixelsPerToken: (height: Int, width: Int) { models.pixelsPerToken }
  package var geometry: LatentGeometry { models.geometry }

  package func encode(
    image: Tensor, options: SessionOptions, tap: RolloutTap? = nil
  ) throws -> (_ textEmbedding: Tensor) throws -> any BlockSession {
    let conditions = LiveAvatarConditions(image, vae, encoding: options.sink.encoding)
    _ = try conditions.reference.checked(as: "latents of the picture")
    return { [self] text in
      let options = LiveAvatarOptions(options)
      let stage = try PipelineStage(
        plan, group, models: models, vae: vae, conditions: conditions, textEmbedding: text, options: options)
      let number = state.withLock { state in
        state.sessions += 1
        return state.sessions
      }
      try send(.begin(session: number, seed: options.seed), [conditions.sink, conditions.motion, text])
      let stride = vae.configuration.spatialStride
      let size = ReferencePicture.Size(
        height: conditions.sink.size(3) * stride, width: conditions.sink.size(4) * stride)
      return PipelinedSession(self, number, stage, size: size, framesPerBlock: options.framesPerBlock)
    }
  }

  package func fewestSteps(from steps: Int) -> Int { models.fewestSteps(from: steps) }

  /// On the CPU, whose memory processes of one machine share, that of all of them.
  package func memory(_ size: ReferencePicture.Size, options: SessionOptions) throws -> [MemoryEstimate] {
    models.memory(size, options: options, stage: device.isCPU ? nil : (plan.steps(of: 0), plan.decoder == 0))
  }

  package func audioFeatures(of clip: Clip, isLive: Bool) throws -> () throws -> Tensor {
    try models.audioFeatures(of: clip, isLive: isLive)
  }

  package func speechStream(framesPerBlock: Int) -> SpeechFeatureStream {
    models.speechStream(framesPerBlock: framesPerBlock)
  }

  // MARK: What sessions send

  fileprivate func send(_ order: PipelineOrder, _ tensors: [Tensor] = []) throws {
    try state.withLock { try $0.orders.send(order, tensors) }
  }

  /// Tells the others of the session's newest block, which is on its way to them.
  ///
  /// - Parameter features: its rows.
  fileprivate func passOn(_ session: PipelinedSession, _ features: Tensor) throws -> PendingFrames {
    try state.withLock { state in
      defer { state.blocks += 1 }
      try state.orders.send(.block(session: session.number, number: state.blocks), [features])
      let count = geometry.videoFrames(inBlock: session.block - 1, framesPerBlock: session.framesPerBlock)
      let frames = try PendingFrames(count, session.size, decodedBy: plan.decoder, of: group, number: state.blocks)
      state.returning.removeAll { $0.allSatisfy(\.hasEnded) }
      // A pipeline gives in the order in which it takes: they are there, or soon will be.
      while state.returning.count >= Self.mostReturning {
        for transfer in state.returning.removeFirst() { try transfer.wait() }
      }
      state.returning.append(frames.transfers)
      return frames
    }
  }
}

/// A live session whose steps are computed in several processes, and which knows of this process's only.
private final class PipelinedSession: BlockSession {
  let size: ReferencePicture.Size
  let framesPerBlock: Int
  let number: Int
  private let models: PipelinedModels
  private let stage: PipelineStage
  /// Of the newest block.
  private var frames: PendingFrames?

  init(
    _ models: PipelinedModels, _ number: Int, _ stage: PipelineStage, size: ReferencePicture.Size, framesPerBlock: Int
  ) {
    (self.models, self.number, self.stage, self.size, self.framesPerBlock) = (
      models, number, stage, size, framesPerBlock
    )
  }

  var geometry: LatentGeometry { models.geometry }
  var block: Int { stage.block }
  var cachedTokens: Int { stage.cachedTokens }

  /// Passes the next block on; what comes back is what `decode` gives.
  func denoise(audioFeatures: Tensor) -> Tensor {
    denoise(audioFeatures: audioFeatures, unless: { false }) ?? Tensor.empty([0])
  }

  func denoise(audioFeatures: Tensor, unless isStopped: () -> Bool) -> Tensor? {
    recorded {
      guard let latents = try stage.next(audioFeatures: { audioFeatures }, unless: isStopped) else { return nil }
      frames = try models.passOn(self, audioFeatures)
      return latents
    } ?? nil
  }

  /// The frames of the newest block, which other processes make.
  func decode(_ latents: Tensor) -> PendingFrames {
    guard let frames else { preconditionFailure("a block is passed on before its frames come back") }
    return frames
  }

  func setText(_ textEmbedding: Tensor) {
    stage.setText(textEmbedding)
    recorded { try models.send(.setText(session: number), [textEmbedding]) }
  }

  func setSteps(_ count: Int) { precondition(count == stage.plan.steps, "each step has a memory of its own") }

  func skip(blocks: Int) { preconditionFailure("the memories of a pipeline are in several processes") }

  func end() {
    recorded {
      try models.send(.end(session: number))
      try stage.finish()
    }
  }

  /// What other processes do not do is a failed operation, as it would be in one process.
  @discardableResult
  private func recorded<Result>(_ body: () throws -> Result) -> Result? {
    do { return try body() } catch {
      require(false, userSentence(error))
      return nil
    }
  }
}
