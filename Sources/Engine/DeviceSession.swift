package import Basics
import Generation
import Media
import Models
package import Session
import Torch

/// One avatar on a device: its sound waits here, its blocks are computed on the device's threads.
///
/// While a block decodes, the next one is denoised where its sound is there already, where somebody has just spoken, as the silence that
/// follows has to come as fast as the speech did, and behind the first block, which is shorter than what the second takes.
///
/// In a pipeline of processes as many blocks are under way as go by while one is made. What was passed on comes out and is shown: the silence
/// before speech, and what an interruption leaves of speech, whose sound whoever plays it has stopped.
package actor DeviceSession: EngineSession {
  package nonisolated let size: VideoSize
  private let computer: BlockComputer
  private let decoder: BlockDecoder
  private let geometry: LatentGeometry
  private let framesPerBlock: Int
  private let encodePrompt: @Sendable (String) async throws -> Tensor
  private var giveBack: (@Sendable () async -> Void)?

  private var queue: SpeechQueue
  private var resamplers: [UtteranceID: Resamplers] = [:]
  private var pace: Pace
  private var seed: UInt64
  private var block = 0
  /// A session's first block, and the first of another picture, has fewer pictures.
  private var isFirst = true
  /// Blocks that were begun before they were asked for, the next one first.
  private var ahead: [Made] = []
  /// Ends with the denoising of the block that was begun last, of which it keeps nothing.
  private var lastDenoising: Task<Void, Never>?
  private var depth: BlocksAhead
  /// Whether a block that has left this process's steps goes on in others.
  private let isPipeline: Bool
  /// Pictures of silence since the last one of speech, if there was any.
  private var silentPictures: Int?
  /// What is denoised for the request under way.
  private var current: Made?
  private var isDecoding = false
  /// A change of the picture under way: no block is begun beside it.
  private var change: Task<Void, any Error>?

  /// Samples per second of what is heard: whatever the model hears, the voice keeps its brilliance.
  static let sampleRate = 48_000

  /// A block that is denoised, or on its way there.
  private struct Made {
    var pieces: [SpeechQueue.Piece]
    var plan: BlockPlan
    var isFirst: Bool
    var task: Task<(ComputedAvatar, Denoised)?, any Error>
    let begun = ContinuousClock.now

    var isSilent: Bool { pieces.allSatisfy { $0.utterance == nil } }
  }

  private struct Resamplers {
    let heard, driving: Resampler
    init(from rate: Int, driveRate: Int) throws {
      heard = try Resampler(from: rate, to: DeviceSession.sampleRate)
      driving = try Resampler(from: rate, to: driveRate)
    }

    func push(_ samples: [Float]?) throws -> (heard: [Float], drive: [Float]) {
      (try heard.push(samples), try driving.push(samples))
    }
  }

  init(
    _ request: AvatarRequest, size: ReferencePicture.Size, on worker: DeviceWorker, pace: Pace? = nil,
    encodePrompt: @escaping @Sendable (String) async throws -> Tensor, giveBack: @escaping @Sendable () async -> Void
  ) async throws {
    computer = BlockComputer(worker)
    decoder = BlockDecoder(worker)
    geometry = worker.models.geometry
    framesPerBlock = worker.options.framesPerBlock
    (depth, isPipeline) = (BlocksAhead(processes: worker.models.processes), worker.models.processes > 1)
    seed = request.seed
    self.encodePrompt = encodePrompt
    self.giveBack = giveBack
    self.size = VideoSize(width: size.width, height: size.height)
    queue = SpeechQueue(rate: Self.sampleRate, driveRate: geometry.sampleRate)
    self.pace =
      pace
      ?? Pace(
        steps: worker.options.steps, fewestSteps: worker.models.fewestSteps(from: worker.options.steps),
        framesPerSecond: geometry.framesPerSecond, sampleRate: geometry.sampleRate)
    let text = try await encodePrompt(request.prompt)
    try await computer.begin(request.picture, size, text: text, seed: request.seed)
  }

  // Sound

  package func append(_ sound: PCM, to utterance: UtteranceID) {
    guard queue.takes(utterance), !sound.samples.isEmpty else { return }
    do {
      let resamplers = try resamplers[utterance] ?? Resamplers(from: sound.rate, driveRate: geometry.sampleRate)
      self.resamplers[utterance] = resamplers
      let (heard, drive) = try resamplers.push(sound.samples)
      queue.append(heard, drive: drive, to: utterance)
      hurry()
    } catch {
      // A rate that cannot be resampled has no sound; the utterance ends like any other.
      resamplers[utterance] = nil
    }
  }

  package func finish(_ utterance: UtteranceID) {
    if let last = try? resamplers.removeValue(forKey: utterance)?.push(nil) {
      queue.append(last.heard, drive: last.drive, to: utterance)
    }
    queue.finish(utterance)
    hurry()
  }

  package func interrupt() {
    queue.interrupt()
    resamplers = [:]
    stop { !$0.isSilent }
  }

  /// Silence that is denoised gives way to speech; while it is decoded, speech is begun.
  private func hurry() {
    guard queue.isReady(for: secondsForSpeech) else { return }
    stop(\.isSilent)
    if isDecoding || isPipeline && !isFirst { beginAhead() }
  }

  /// Stops blocks that are not wanted any more. What is done already is shown if it was asked for, or has been passed on.
  private func stop(_ isUnwanted: (Made) -> Bool) {
    for made in [current].compactMap(\.self) + ahead where isUnwanted(made) { made.plan.stop.set() }
    // One that begins a video and was stopped has to be begun again as such.
    if !isPipeline { ahead.removeAll { isUnwanted($0) && !$0.isFirst } }
  }

  package var pending: Double { queue.seconds }
  package var hasSpeechReady: Bool {
    ahead.contains { !$0.isSilent && !$0.plan.stop.isSet } || queue.isReady(for: secondsForSpeech)
  }

  /// Seconds of sound that a block of speech is made from: its own and the look-ahead.
  private var secondsForSpeech: Double {
    Double(framesPerBlock * geometry.temporalStride) / Double(pace.level.framesPerSecond)
      + SpeechFeatureStream.Window().lookAhead
  }

  // Blocks

  package func nextBlock() async throws -> OutputBlock {
    guard giveBack != nil else { throw SessionError(.closed, "The session is over.", isFatal: true) }
    let start = ContinuousClock.now
    do {
      let (made, avatar, denoised) = try await denoiseNext()
      guard giveBack != nil else { throw SessionError(.closed, "The session is over.", isFatal: true) }
      beginAhead(behindFirst: made.isFirst)
      isDecoding = true
      defer { isDecoding = false }
      let decoded = try await decoder.frames(denoised, of: avatar)
      guard giveBack != nil else { throw SessionError(.closed, "The session is over.", isFatal: true) }
      let duration = Double(decoded.pictures.count) / Double(made.plan.level.framesPerSecond)
      // What was thrown away before it is not this block's.
      let seconds = (ContinuousClock.now - max(start, made.begun)) / .seconds(1)
      // A pipeline keeps up with its slowest process; how long a block was waited for says nothing of it.
      if block > 0 { pace.take(decoded.stages.max() ?? seconds, lasting: duration) }
      depth.take(decoded.stages, lasting: duration)
      defer { block += 1 }
      return OutputBlock(
        index: block,
        frames: zip(decoded.pictures, made.pieces).map {
          OutputFrame(
            picture: $0, samples: $1.samples, utterance: $1.utterance, offset: $1.offset,
            endsUtterance: $1.endsUtterance)
        },
        metrics: BlockMetrics(
          seconds: seconds, duration: duration, steps: made.plan.level.steps,
          framesPerSecond: made.plan.level.framesPerSecond))
    } catch {
      await close()
      throw sessionError(error)
    }
  }

  /// Begins blocks before they are asked for.
  ///
  /// - Parameter behindFirst: whether the block that is asked for begins a video.
  private func beginAhead(behindFirst: Bool = false) {
    // Behind a block that begins a video nothing is begun before it is sure to be kept.
    while change == nil, giveBack != nil, current?.isFirst != true, ahead.last?.isFirst != true,
      ahead.count(where: { !$0.plan.stop.isSet }) < depth.count, isNextHurried(behindFirst: behindFirst)
    {
      ahead.append(makeNext())
    }
  }

  /// Whether the next block is begun before it is asked for.
  private func isNextHurried(behindFirst: Bool) -> Bool {
    let isReady = queue.isReady(for: secondsForSpeech)
    // Speech whose sound is late is waited for, silence is not.
    if isPipeline { return isReady || !queue.isSpeaking }
    let recent = SpeechFeatureStream.Window().past * Double(geometry.framesPerSecond)
    return behindFirst || isReady || silentPictures.map { Double($0) < recent } == true
  }

  /// Denoises the next block; one that was stopped is begun again with what is to be said now.
  private func denoiseNext() async throws -> (Made, ComputedAvatar, Denoised) {
    while true {
      if ahead.isEmpty, let change { _ = try? await change.value }
      let made = ahead.isEmpty ? makeNext() : ahead.removeFirst()
      current = made
      defer { current = nil }
      if let (avatar, denoised) = try await made.task.value { return (made, avatar, denoised) }
      if made.isFirst { isFirst = true }
    }
  }

  /// Takes the next block's sound and lets it be denoised.
  private func makeNext() -> Made {
    let level = pace.level
    let wasFirst = isFirst
    let count = geometry.videoFrames(inBlock: isFirst ? 0 : 1, framesPerBlock: framesPerBlock)
    isFirst = false
    let pieces = queue.next(
      count, driveSamples: geometry.sampleRate / level.framesPerSecond, readyFor: secondsForSpeech)
    if let speech = pieces.lastIndex(where: { $0.utterance != nil }) {
      silentPictures = pieces.count - 1 - speech
    } else {
      silentPictures = silentPictures.map { $0 + pieces.count }
    }
    let plan = BlockPlan(
      sound: pieces.map { ($0.drive, $0.utterance != nil) }, following: queue.following(geometry.sampleRate),
      level: level)
    // Tasks that only meet at an actor may come to it in any order.
    let (computer, before) = (computer, lastDenoising)
    let task = Task {
      await before?.value
      return try await computer.denoise(plan)
    }
    lastDenoising = Task { _ = await task.result }
    return Made(pieces: pieces, plan: plan, isFirst: wasFirst, task: task)
  }

  // Changes

  package func setPrompt(_ prompt: String) async throws {
    let text = try await encodePrompt(prompt)
    try await computer.setText(text)
  }

  package func setAvatar(_ picture: Picture) async throws {
    guard giveBack != nil else { return }
    seed += 1
    let (before, blocks, seed) = (change, ([current].compactMap(\.self) + ahead).map(\.task), seed)
    let size = ReferencePicture.Size(height: size.height, width: size.width)
    let change = Task {
      _ = try? await before?.value
      // What was begun with the old picture is made with it: its sound is taken already.
      for block in blocks { _ = try? await block.value }
      try await computer.begin(picture, size, text: nil, seed: seed)
      isFirst = true
    }
    self.change = change
    defer { if self.change == change { self.change = nil } }
    try await change.value
  }

  package func close() async {
    guard let back = giveBack else { return }
    giveBack = nil
    interrupt()
    for made in ahead { made.plan.stop.set() }
    ahead = []
    // Both threads are done with this session then: a process that ends while libtorch computes crashes.
    await computer.end()
    await decoder.end()
    await back()
  }
}
