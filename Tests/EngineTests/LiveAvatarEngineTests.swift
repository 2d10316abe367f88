import Basics
import Foundation
import Models
import Session
import Testing
import Torch

@testable import Engine
@testable import Generation

/// The smallest Live Avatar as a live avatar: 25 pictures a second, a memory for each step.
@Suite struct LiveAvatarEngineTests {
  private static let size = ReferencePicture.Size(height: 64, width: 64)

  private func models() throws -> LiveAvatarModels {
    let tiny = LiveAvatarPreset.liveAvatarTiny
    return try LiveAvatarModels(
      random: LiveAvatarPreset(
        name: "small", transformer: tiny.transformer, rank: tiny.rank, vae: tiny.vae, textEncoder: tiny.textEncoder,
        audioEncoder: tiny.audioEncoder, size: Self.size, textLength: tiny.textLength),
      device: .cpu, dtype: .float32)
  }

  private func text(_ prompt: String, _ models: LiveAvatarModels) -> Tensor {
    RandomGenerator(seed: UInt64(prompt.utf8.count)).normal([1, 16, models.textWidth])
  }

  private func engine(maxSessions: Int = 4, memoryBudget: Int? = nil) async throws -> DeviceEngine {
    let models = try models()
    let engine = try DeviceEngine(
      models: [models], name: "small", options: SessionOptions(models.settings), maxSessions: maxSessions,
      memoryBudget: memoryBudget, encodePrompt: { text($0, models) })
    try await engine.prepare()
    return engine
  }

  private func blocks(_ session: any EngineSession, _ count: Int) async throws -> [OutputBlock] {
    var blocks: [OutputBlock] = []
    for _ in 0..<count { blocks.append(try await session.nextBlock()) }
    return blocks
  }

  private func say(_ sound: PCM, _ number: Int, to session: any EngineSession) async -> UtteranceID {
    let id = UtteranceID(rawValue: number)
    await session.append(sound, to: id)
    await session.finish(id)
    return id
  }

  @Test func `every picture leaves with the samples that drove it, 25 a second`() async throws {
    let engine = try await engine()
    #expect(engine.information.framesPerSecond == 25 && engine.information.framesPerBlock == 12)
    let session = try await engine.open(request())
    let said = speech(1.7)
    let id = await say(said, 1, to: session)
    let made = try await blocks(session, 5)
    #expect(made.map(\.index) == [0, 1, 2, 3, 4] && made.map(\.frames.count) == [9, 12, 12, 12, 12])
    let frames = made.flatMap(\.frames)
    #expect(frames.allSatisfy { $0.picture.size == VideoSize(width: 64, height: 64) })
    for block in made {
      #expect(block.metrics.steps == 4)
      #expect(block.frames.allSatisfy { $0.samples.count == 48_000 / block.metrics.framesPerSecond })
    }
    let spoken = frames.filter { $0.utterance == id }
    #expect(Array(spoken.flatMap(\.samples).prefix(said.samples.count)) == said.samples)
    #expect(spoken.filter(\.endsUtterance).count == 1 && spoken[0].offset == 0)
    // The silence after it lives.
    #expect(zip(frames, frames.dropFirst()).allSatisfy { $0.picture != $1.picture })
    await session.close()
    #expect(await engine.load().sessions == 0)
  }

  /// Never slower than 25 pictures a second, however long a block takes: what is compared must not depend on the machine.
  private func steadySession(_ worker: DeviceWorker, _ models: LiveAvatarModels, seed: UInt64) async throws
    -> DeviceSession
  {
    // No lower rate divides a prime.
    let pace = Pace(steps: 4, fewestSteps: 4, framesPerSecond: 25, sampleRate: 29)
    #expect(pace.levels.count == 1)
    return try await DeviceSession(
      request(seed: seed), size: Self.size, on: worker, pace: pace, encodePrompt: { text($0, models) }, giveBack: {})
  }

  /// What is played to somebody is what the loop makes of the same sound, step by step and by hand.
  @Test func `a live session makes what the loop makes of the same sound, to the last bit`() async throws {
    let models = try models()
    var options = SessionOptions(models.settings)
    let session = try await steadySession(DeviceWorker(models, options: options), models, seed: 7)
    let said = speech(3, rate: 16_000)
    _ = await say(said, 1, to: session)
    let live = try await blocks(session, 6).flatMap(\.frames).map(\.picture.bytes)
    await session.close()
    options.seed = 7
    let byHand = try withInferenceMode {
      let loop = try models.session(
        image: ReferencePicture.prepared(face, Self.size), textEmbedding: text("A person.", models),
        options: options)
      var (stream, rest) = (models.speechStream(framesPerBlock: 3), said.samples[...])
      return try (0..<6).flatMap { _ in
        let count = 640 * loop.videoFramesInNextBlock
        stream.append(rest.prefix(count))
        rest = rest.dropFirst(count)
        let features = try #require(try stream.next(before: Array(rest.prefix(16_000))))
        return try loop.next(audioFeatures: features).read()
      }
    }
    // By number: a picture's bytes would fill the log.
    #expect(live.count == 69 && byHand.count == 69)
    #expect(zip(live, byHand).enumerated().filter { $1.0 != $1.1 }.map(\.offset) == [])
  }

  @Test func `an interruption drops what was not made, and what still comes`() async throws {
    try await expectInterruption(try await engine().open(request()))
  }

  @Test func `sessions beside each other make what each makes alone`() async throws {
    let models = try models()
    let worker = DeviceWorker(models, options: SessionOptions(models.settings))
    func video(_ seed: UInt64, _ seconds: Double) async throws -> [Picture] {
      let session = try await steadySession(worker, models, seed: seed)
      _ = await say(speech(seconds), 1, to: session)
      // Past the change of the sink, and of what the window holds.
      let frames = try await blocks(session, 6).flatMap(\.frames).map(\.picture)
      await session.close()
      return frames
    }
    async let first = video(1, 4)
    async let other = video(2, 1)
    let (one, two) = (try await first, try await other)
    let same = (try await video(1, 4) == one, try await video(2, 1) == two, one == two)
    #expect(same.0 && same.1 && !same.2)
  }

  @Test func `another direction before the first block is as though it had been the first`() async throws {
    let engine = try await engine()
    func video(_ prompt: String, then other: String?) async throws -> [Picture] {
      let session = try await engine.open(request(prompt))
      if let other { try await session.setPrompt(other) }
      let frames = try await blocks(session, 2).flatMap(\.frames).map(\.picture)
      await session.close()
      return frames
    }
    let (first, second) = ("A person.", "Another direction.")
    let changed = try await video(first, then: second)
    let same = (try await video(second, then: nil) == changed, try await video(first, then: nil) == changed)
    #expect(same.0 && !same.1)
  }

  @Test func `another picture begins a video anew, and speech goes on`() async throws {
    let engine = try await engine()
    let session = try await engine.open(request())
    let said = speech(2)
    let id = await say(said, 1, to: session)
    var made = try await blocks(session, 2)
    try await session.setAvatar(Picture(width: 2, height: 2, bytes: [UInt8](repeating: 200, count: 12)))
    made += try await blocks(session, 4)
    // A block that was begun with the old picture is made with it.
    #expect(made.map(\.frames.count).filter { $0 == 9 }.count == 2)
    let spoken = made.flatMap(\.frames).filter { $0.utterance == id }.flatMap(\.samples)
    #expect(Array(spoken.prefix(said.samples.count)) == said.samples)
    await session.close()
  }

  @Test func `a machine that is too slow gets fewer pictures, never fewer steps`() async throws {
    let models = try models()
    let worker = DeviceWorker(models, options: SessionOptions(models.settings))
    let levels = Pace(
      steps: 4, fewestSteps: models.fewestSteps(from: 4), framesPerSecond: 25, sampleRate: 16_000
    ).levels
    #expect(levels.allSatisfy { $0.steps == 4 } && levels.map(\.framesPerSecond) == [25, 20, 16, 10, 8])
    let slow = Pace(steps: 4, fewestSteps: 4, framesPerSecond: 10, sampleRate: 16_000)
    let session = try await DeviceSession(
      request(), size: Self.size, on: worker, pace: slow, encodePrompt: { text($0, models) }, giveBack: {})
    let said = speech(5)
    let id = await say(said, 1, to: session)
    let spoken = try await blocks(session, 5).flatMap(\.frames).filter { $0.utterance == id }.flatMap(\.samples)
    #expect(Array(spoken.prefix(said.samples.count)) == said.samples)
    await session.close()
  }

  @Test func `a session takes the memory of its steps' caches, and one that does not fit is refused`() async throws {
    let models = try models()
    let worker = DeviceWorker(models, options: SessionOptions(models.settings))
    // 4 steps · keys and values · 4 layers · 12 frames · 16 tokens · 96 channels · 4 bytes.
    let caches = 4 * 2 * 4 * 12 * 16 * 96 * 4
    let needed = try worker.memory(Self.size)[0]
    #expect(needed > caches && needed < caches + 20_000_000)
    let engine = try await engine(memoryBudget: needed * 3 / 2)
    #expect(engine.information.memoryPerSession == needed)
    let one = try await engine.open(request())
    await #expect(throws: AdmissionError.self) { try await engine.open(request()) }
    await one.close()
    #expect(await engine.load().free == 1)
  }

  /// Models whose sessions say that they take memory of two devices.
  private struct OnTwoDevices: SessionModels {
    let models: LiveAvatarModels
    /// Of the keys and values of a session on each device.
    let caches: [Int]

    let devices = [Device.cpu, .cpu]
    var vae: WanVAE { models.vae }
    var audioEncoder: Wav2Vec2 { models.audioEncoder }
    var settings: CheckpointSettings { models.settings }
    var textWidth: Int { models.textWidth }
    var pixelsPerToken: (height: Int, width: Int) { models.pixelsPerToken }
    var geometry: LatentGeometry { models.geometry }

    func encode(
      image: Tensor, options: SessionOptions, tap: RolloutTap?
    ) throws -> (_ textEmbedding: Tensor) throws -> any BlockSession {
      try models.encode(image: image, options: options, tap: tap)
    }
    func fewestSteps(from steps: Int) -> Int { models.fewestSteps(from: steps) }
    func memory(_ size: ReferencePicture.Size, options: SessionOptions) throws -> [MemoryEstimate] {
      caches.map { MemoryEstimate(weights: [], caches: [.init(name: "blocks", bytes: $0)], activations: []) }
    }
    func audioFeatures(of clip: Clip, isLive: Bool) throws -> () throws -> Tensor {
      try models.audioFeatures(of: clip, isLive: isLive)
    }
    func speechStream(framesPerBlock: Int) -> SpeechFeatureStream {
      models.speechStream(framesPerBlock: framesPerBlock)
    }
  }

  @Test(arguments: [[100, 40], [40, 100]])
  func `of several devices the one with the least room says how many sessions there are`(caches: [Int]) async throws {
    let models = try models()
    let engine = try DeviceEngine(
      models: [OnTwoDevices(models: models, caches: caches)], name: "small", options: SessionOptions(models.settings),
      maxSessions: 4, memoryBudget: 150, encodePrompt: { text($0, models) })
    try await engine.prepare()
    #expect(engine.information.memoryPerSession == 140 && engine.information.devices == ["cpu", "cpu"])
    #expect(await engine.load().free == 1)
    let one = try await engine.open(request())
    await #expect(throws: AdmissionError.memory(needed: 100, free: 50, retryAfter: 15)) {
      try await engine.open(request())
    }
    await one.close()
  }

  @Test func `a stopped block is begun again as though nothing had been`() throws {
    let models = try models()
    try withInferenceMode {
      func session() throws -> any BlockSession {
        try models.session(
          image: ReferencePicture.prepared(face, Self.size), textEmbedding: text("A person.", models),
          options: SessionOptions(models.settings))
      }
      let (plain, stopped) = (try session(), try session())
      let generator = RandomGenerator(seed: 6)
      // Past the change of the sink and the window.
      for block in 0..<7 {
        let features = generator.normal([1, 12, models.transformer.config.audioInputDim])
        let other = generator.normal([1, 12, models.transformer.config.audioInputDim])
        var steps = 0
        let none = stopped.denoise(audioFeatures: other) {
          steps += 1
          return steps > block % 5
        }
        #expect(none == nil && stopped.block == block)
        let again = try #require(stopped.denoise(audioFeatures: features) { false })
        #expect(plain.denoise(audioFeatures: features).equals(again))
      }
    }
  }

  @Test func `a folder of Live Avatar is served like one of LiveTalk`() async throws {
    let place = FileManager.default.temporaryDirectory.appendingPathComponent("live-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: place) }
    try RandomCheckpoint(LiveAvatarPreset.liveAvatarTiny).write(to: place)
    let engine = try DeviceEngine(
      loading: CheckpointFolder(place), devices: [.cpu], dtype: .float32, maxSessions: 1)
    try await engine.prepare()
    #expect(engine.information.framesPerSecond == 25)
    #expect(engine.information.videoSizes == [VideoSize(width: 128, height: 128)])
    let session = try await engine.open(request("A person speaks."))
    #expect(try await blocks(session, 2).map(\.frames.count) == [9, 12])
    try await session.setPrompt("A person laughs.")
    #expect(try await session.nextBlock().frames.count == 12)
    await session.close()
  }
}
