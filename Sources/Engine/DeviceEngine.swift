import Basics
import Foundation
package import Generation
import Models
package import Session
package import Torch

/// Sessions of one checkpoint on one or more devices of this machine.
package actor DeviceEngine: AvatarEngine {
  package nonisolated let information: EngineInformation
  private let workers: [DeviceWorker]
  private let prompts: PromptReader
  private let sizes: [ReferencePicture.Size]
  private var sessions: [Int]
  private var isReady = false
  private var isDraining = false
  /// Bytes that sessions may take in all of each device of one worker; nil where only their number is bounded.
  private let memoryBudget: [Int]?
  /// Sessions that these are enough for on one worker.
  private let fitting: Int?
  /// What is always asked of the machine; nil for as much as it can do.
  private let pace: Pace?

  /// - Parameters:
  ///   - models: one for each device, of one checkpoint.
  ///   - maxSessions: on all devices together.
  ///   - memoryBudget: bytes on one device for what sessions keep, beside its models; by default what the device has free now, but for
  ///     what making a block takes.
  ///   - isPaced: whether a machine that is too slow is asked for less; not where pictures are compared.
  ///   - encodePrompt: gives the text encoder's output `[1, textRows, textDim]`; called on a thread of its own.
  /// - Throws: `TorchError` where there is no model.
  package init(
    models: [any SessionModels], name: String, options: SessionOptions, maxSessions: Int, memoryBudget: Int? = nil,
    isPaced: Bool = true, encodePrompt: @escaping @Sendable (String) throws -> Tensor
  ) throws {
    guard let first = models.first else { throw TorchError("An engine has at least one device.") }
    workers = models.map { DeviceWorker($0, options: options) }
    sessions = [Int](repeating: 0, count: models.count)
    sizes = first.settings.imageSizes
    prompts = PromptReader(encodePrompt)
    let needs = try sizes.map { try first.memory($0, options: options) }
    let budgets = first.devices.indices.map { device -> Int? in
      let place = first.devices[device]
      let free = place.isCPU ? availableMemory() : place.freeMemory
      return memoryBudget ?? free.map { max(0, $0 - (needs.map { $0[device].activationBytes }.max() ?? 0)) }
    }
    self.memoryBudget = budgets.contains(nil) ? nil : budgets.compactMap(\.self)
    let most = first.devices.indices.map { device in needs.map { $0[device].cacheBytes }.max() ?? 0 }
    fitting = self.memoryBudget.flatMap { zip($0, most).map { $0 / max(1, $1) }.min() }
    let geometry = first.geometry
    pace = isPaced ? nil : Pace(only: Pace.Level(steps: options.steps, framesPerSecond: geometry.framesPerSecond))
    information = EngineInformation(
      model: name, provenance: first.settings.provenance, devices: models.flatMap { $0.devices.map(\.description) },
      framesPerSecond: geometry.framesPerSecond, sampleRate: DeviceSession.sampleRate,
      framesPerBlock: options.framesPerBlock * geometry.temporalStride,
      videoSizes: sizes.map { VideoSize(width: $0.width, height: $0.height) },
      memoryPerSession: most.reduce(0, +), maxSessions: maxSessions)
  }

  /// Loads a checkpoint of any family on devices.
  ///
  /// - Parameters:
  ///   - weights: how the transformer's are kept, the layers of each of `devices` perhaps on others behind it.
  ///   - steps: denoising steps of a block, before any degradation.
  /// - Throws: `FileError`, `CheckpointMismatch`, `TorchError`.
  package init(
    loading folder: CheckpointFolder, devices: [Device], dtype: DType, weights: WeightOptions = WeightOptions(),
    maxSessions: Int, steps: Int = 4, memoryBudget: Int? = nil, report: (String) -> Void = { _ in }
  ) throws {
    let models = try withInferenceMode {
      try devices.map {
        try folder.loadModels(device: $0, dtype: dtype, weights: weights, report: report)
      }
    }
    guard let device = devices.first else { throw TorchError("An engine has at least one device.") }
    var options = SessionOptions(folder.settings)
    options.steps = steps
    try self.init(
      models: models, name: folder.root.lastPathComponent, options: options, maxSessions: maxSessions,
      memoryBudget: memoryBudget, encodePrompt: Self.textEncoder(of: folder, device, dtype))
  }

  /// The first process of a pipeline, whose others run a `PipelineFollower`.
  ///
  /// - Parameter folder: that of the models, with the text encoder.
  /// - Throws: `LiveTalkError` where the processes have no memory for a session.
  package init(
    pipeline models: PipelinedModels, of folder: CheckpointFolder, options: SessionOptions, maxSessions: Int
  ) throws {
    guard models.room != 0 else {
      throw LiveTalkError(
        "A process of the pipeline has no memory left for a conversation: more processes or --fp8 take less.")
    }
    try self.init(
      models: [models], name: folder.root.lastPathComponent, options: options,
      maxSessions: min(maxSessions, models.room ?? maxSessions),
      encodePrompt: Self.textEncoder(of: folder, models.device, models.dtype))
  }

  private static func textEncoder(of folder: CheckpointFolder, _ device: Device, _ dtype: DType)
    -> @Sendable (String) throws -> Tensor
  {
    { try folder.encodeText($0, device: device, dtype: PromptEncoder.type(for: dtype)) }
  }

  /// Random weights of a preset's sizes, for benchmarks and tests. A prompt's text is noise.
  package init(random preset: ModelPreset, device: Device = .cpu, maxSessions: Int = 4, memoryBudget: Int? = nil) throws
  {
    let models = try AvatarModels(random: preset, device: device, dtype: .float32)
    try self.init(
      models: [models], name: preset.name, options: SessionOptions(models.settings), maxSessions: maxSessions,
      memoryBudget: memoryBudget,
      encodePrompt: { prompt in
        let seed = prompt.utf8.reduce(UInt64(5381)) { $0 &* 33 &+ UInt64($1) }
        return RandomGenerator(seed: seed).normal([1, models.settings.textRows, models.transformer.config.textDim])
      })
  }

  /// Computes a short session on every device, so that what is made on first use is made before anybody waits; then takes sessions.
  package func prepare() async throws {
    guard let size = sizes.first else { throw SessionError(.badSize, "The checkpoint names no size of video.") }
    let gray = Picture(width: 16, height: 16, bytes: [UInt8](repeating: 128, count: 768))
    for worker in workers {
      let session = try await DeviceSession(
        AvatarRequest(picture: gray, prompt: "A person."), size: size, on: worker,
        encodePrompt: { [prompts] in try await prompts.read($0) }, giveBack: {})
      for _ in 0..<2 { _ = try await session.nextBlock() }
      await session.close()
    }
    isReady = true
  }

  /// Takes no session from now on; those that are open go on.
  package func drain() { isDraining = true }

  package func load() -> EngineLoad {
    let open = sessions.reduce(0, +)
    return EngineLoad(
      isReady: isReady && !isDraining, sessions: open, free: isReady && !isDraining ? free : 0,
      memory: Set(workers.flatMap(\.models.devices)).reduce(0) { $0 + $1.memory.current })
  }

  /// Sessions that could be opened now.
  private var free: Int {
    let places = information.maxSessions - sessions.reduce(0, +)
    guard let fitting else { return max(0, places) }
    return max(0, min(places, sessions.reduce(0) { $0 + max(0, fitting - $1) }))
  }

  package func open(_ request: AvatarRequest) async throws -> any EngineSession {
    if isDraining { throw AdmissionError.draining(retryAfter: 30) }
    guard isReady else { throw AdmissionError.warmingUp(retryAfter: 10) }
    let size = try size(for: request)
    let open = sessions.reduce(0, +)
    guard open < information.maxSessions else { throw AdmissionError.full(sessions: open, retryAfter: 15) }
    let index = sessions.indices.min { sessions[$0] < sessions[$1] } ?? 0
    let needed = try workers[index].memory(size)
    for (needed, budget) in zip(needed, memoryBudget ?? []) where (sessions[index] + 1) * needed > budget {
      throw AdmissionError.memory(needed: needed, free: max(0, budget - sessions[index] * needed), retryAfter: 15)
    }
    // The place is taken before anything is awaited.
    sessions[index] += 1
    do {
      return try await DeviceSession(
        request, size: size, on: workers[index], pace: pace,
        encodePrompt: { [prompts] in try await prompts.read($0) },
        giveBack: { [weak self] in await self?.giveBack(index) })
    } catch {
      sessions[index] -= 1
      throw error is AdmissionError ? error : sessionError(error)
    }
  }

  private func giveBack(_ index: Int) {
    sessions[index] -= 1
    // Others that go on would wait for it, and would need the memory again.
    if sessions[index] == 0 { for device in workers[index].models.devices { device.releaseCachedMemory() } }
  }

  private func size(for request: AvatarRequest) throws -> ReferencePicture.Size {
    let picture = request.picture
    guard information.pictureSides.contains(picture.width), information.pictureSides.contains(picture.height) else {
      let (low, high) = (information.pictureSides.lowerBound, information.pictureSides.upperBound)
      throw SessionError(
        .badPicture, "A picture has from \(low) to \(high) pixels along each side, not \(picture.size).")
    }
    if let size = request.size {
      guard information.videoSizes.contains(size) else {
        let list = information.videoSizes.map(\.description).joined(separator: ", ")
        throw SessionError(.badSize, "There is no video of \(size) here: choose \(list).")
      }
      return ReferencePicture.Size(height: size.height, width: size.width)
    }
    let given = ReferencePicture.Size(height: picture.height, width: picture.width)
    guard let size = ReferencePicture.size(of: sizes, closestTo: given) else {
      throw SessionError(.badSize, "The checkpoint names no size of video.")
    }
    return size
  }
}

/// Reads prompts on a thread of its own, and keeps the newest.
actor PromptReader {
  private let thread = PinnedThread(name: "livetalk-prompts")
  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }
  private let encode: @Sendable (String) throws -> Tensor
  private var known: [(prompt: String, text: Tensor)] = []

  init(_ encode: @escaping @Sendable (String) throws -> Tensor) { self.encode = encode }

  /// - Throws: `SessionError` (`badPrompt`).
  func read(_ prompt: String) throws -> Tensor {
    if let index = known.firstIndex(where: { $0.prompt == prompt }) {
      known.append(known.remove(at: index))
      return known[known.count - 1].text
    }
    do {
      let text = try withTorchErrors { try withInferenceMode { try encode(prompt) } }
      known.append((prompt, text))
      if known.count > 16 { known.removeFirst() }
      return text
    } catch {
      throw SessionError(.badPrompt, "The prompt cannot be read: \(userSentence(error))")
    }
  }
}
