package import Distributed
package import Models
import Torch

/// A process of a pipeline that serves live sessions, other than the first: it does what the first one says, and sends back pictures
/// if it is the last.
package final class PipelineFollower {
  private let plan: PipelinePlan
  private let group: ProcessGroup
  private let models: LiveAvatarModels?
  private let vae: WanVAE
  private let options: SessionOptions
  private let clock: PipelineClock
  private var stages: [Int: PipelineStage] = [:]
  /// Of the newest block, on its way to the first process, which has asked for it.
  private var reporting: [ProcessGroup.Transfer] = []

  /// Meets the first process, which makes its `PipelinedModels` at the same time.
  ///
  /// - Parameters:
  ///   - models: nil where this process only decodes.
  ///   - options: of all sessions, but for the seed.
  ///   - room: how many sessions this process has memory for; nil where that is not counted.
  /// - Throws: `TorchError` when the others do not come.
  package init(
    _ plan: PipelinePlan, _ group: ProcessGroup, models: LiveAvatarModels?, vae: WanVAE, options: SessionOptions,
    room: Int? = nil
  ) throws {
    (self.plan, self.group, self.models, self.vae, self.options) = (plan, group, models, vae, options)
    clock = PipelineClock(vae.device, rank: group.rank)
    _ = try group.leastRoom(room)
  }

  /// Does what the first process says until that says it is over.
  ///
  /// - Throws: `TorchError` for what fails here: this process must end then, and the others with it.
  package func run() throws {
    while true {
      let (order, tensors) = try PipelineOrder.receive(from: group)
      if case .stop = order { break }
      try withTorchErrors { try withInferenceMode { try follow(order, tensors) } }
    }
    for transfer in reporting { try transfer.wait() }
  }

  private func follow(_ order: PipelineOrder, _ tensors: [Tensor]) throws {
    switch order {
    case .begin(let session, let seed):
      var options = options
      options.seed = seed
      let given = tensors.map { $0.to(vae.device) }
      stages[session] = try PipelineStage(
        plan, group, models: models, vae: vae, conditions: LiveAvatarConditions(sink: given[0], motion: given[1]),
        textEmbedding: models.map { _ in given[2] }, options: LiveAvatarOptions(options), clock: clock)
    case .setText(let session): stages[session]?.setText(tensors[0])
    case .block(let session, let number): try stages[session].map { try compute($0, tensors[0], number) }
    case .end(let session): try stages.removeValue(forKey: session)?.finish()
    case .stop: break
    }
  }

  private func compute(_ stage: PipelineStage, _ features: Tensor, _ number: Int) throws {
    let latents = try stage.next(audioFeatures: models.map { _ in { features.to(self.vae.device) } })
    let frames = stage.decodes ? try stage.decode(latents) : nil
    for transfer in reporting { try transfer.wait() }
    reporting = try frames?.send(group, number: number) ?? []
    let seconds = Tensor([clock.takeSeconds()])
    reporting.append(try group.startSend(seconds, to: 0, tag: PipelineTag.seconds(number)))
  }
}

extension ProcessGroup {
  /// The fewest sessions that any process has memory for, told to all; nil where no process has counted.
  func leastRoom(_ own: Int?) throws -> Int? {
    let most = Double(Int32.max)
    let least = Tensor([-min(own.map(Double.init) ?? most, most)], device: device)
    try allReduce(least, .max)
    return -least.item == most ? nil : Int(-least.item)
  }
}
