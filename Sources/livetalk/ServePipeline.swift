import Basics
import ComputeCommands
import Distributed
import Generation
import Models
import Torch
import Training

// `serve` by several processes: the first one serves and directs the others.

extension ServeCommand {
  typealias Pipeline = (plan: PipelinePlan, group: ProcessGroup)

  func runPipeline(_ folder: CheckpointFolder) throws {
    // Each process says so for itself, before it waits for the others.
    guard folder.family.kind == .liveAvatar else {
      throw LiveTalkError("\(folder.family.name) has no --pipeline; leave it out.")
    }
    // While nobody talks the processes have nothing to say to each other; a lost one is found all the same.
    let processes = try Processes.launched(
      device: compute.device, devicesPerProcess: folder.devicesPerProcess(weights.options), timeout: nil)
    do {
      let plan = try PipelinePlan(steps: steps, ranks: processes.count)
      if let group = processes.group {
        if group.rank == 0 {
          try serve(folder, on: group.device, (plan, group))
        } else {
          try follow(folder, (plan, group))
        }
      }
      processes.leave()
    } catch {
      processes.leave(failure: userSentence(error))
      throw error
    }
  }

  /// This process's part where it is not the first.
  private func follow(_ folder: CheckpointFolder, _ pipeline: Pipeline) throws {
    // A terminal sends its signals to all processes: the first one finishes what is being said.
    Interruption.onRequest(saying: "rank \(pipeline.group.rank) ends with rank 0.") { _ in }
    let (models, vae) = try withTorchErrors { try withInferenceMode { try stageModels(of: folder, pipeline) } }
    try PipelineFollower(
      pipeline.plan, pipeline.group, models: models, vae: vae, options: sessionOptions(folder),
      room: room(of: folder, pipeline)
    ).run()
  }

  func pipelinedModels(of folder: CheckpointFolder, _ pipeline: Pipeline) throws -> PipelinedModels {
    guard let models = try withInferenceMode({ try stageModels(of: folder, pipeline).models }) else {
      throw LiveTalkError("The first process of a pipeline computes steps.")
    }
    return try PipelinedModels(pipeline.plan, pipeline.group, models, room: room(of: folder, pipeline))
  }

  func sessionOptions(_ folder: CheckpointFolder) -> SessionOptions {
    var options = SessionOptions(folder.settings)
    options.steps = steps
    return options
  }

  /// What this process computes with; only the autoencoder where it only decodes.
  private func stageModels(
    of folder: CheckpointFolder, _ pipeline: Pipeline
  ) throws -> (models: LiveAvatarModels?, vae: WanVAE) {
    let device = pipeline.group.device
    return try folder.loadStage(
      pipeline.plan, rank: pipeline.group.rank, device: device, dtype: dtype.resolve(on: device),
      weights: weights.options)
  }

  /// How many sessions a process that has loaded its models has memory for; nil on the CPU, whose memory the first process counts for all.
  private func room(of folder: CheckpointFolder, _ pipeline: Pipeline) throws -> Int? {
    let (plan, group) = pipeline
    guard !group.device.isCPU else { return nil }
    let steps = plan.steps(of: group.rank)
    // One that only decodes has no layers, and one device.
    let devices = try folder.layerDevices(steps.isEmpty ? WeightOptions() : weights.options, from: group.device)
    let needs = try folder.settings.imageSizes.map {
      try folder.sessionMemory(
        $0, sessionOptions(folder), on: devices, dtype: dtype.resolve(on: group.device), float8: weights.float8,
        stage: (steps, group.rank == plan.decoder))
    }
    let rooms = (needs.first ?? []).indices.compactMap { device -> Int? in
      guard let free = needs[0][device].device.freeMemory else { return nil }
      let activations = needs.map { $0[device].memory.activationBytes }.max() ?? 0
      return max(0, free - activations) / max(1, needs.map { $0[device].memory.cacheBytes }.max() ?? 1)
    }
    return rooms.min()
  }
}
