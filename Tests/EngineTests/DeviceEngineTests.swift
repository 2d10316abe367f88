import Basics
import Models
import Session
import Testing
import Torch

@testable import Engine
@testable import Generation

@Suite struct DeviceEngineTests {
  private func blocks(_ session: any EngineSession, _ count: Int) async throws -> [OutputBlock] {
    var blocks: [OutputBlock] = []
    for _ in 0..<count { blocks.append(try await session.nextBlock()) }
    return blocks
  }

  @Test func `every picture leaves with the samples that drove it`() async throws {
    let engine = try await smallEngine()
    let session = try await engine.open(request())
    #expect(session.size == VideoSize(width: 32, height: 32))
    let said = speech(2.1)
    // In pieces of any size.
    let id = UtteranceID(rawValue: 1)
    var rest = said.samples[...]
    for size in [1, 7, 4000, 30_000, 100_000] {
      await session.append(PCM(Array(rest.prefix(size)), rate: 48_000), to: id)
      rest = rest.dropFirst(size)
    }
    await session.finish(id)
    #expect(await session.hasSpeechReady)
    let made = try await blocks(session, 5)
    #expect(made.map(\.index) == [0, 1, 2, 3, 4] && made.map(\.frames.count) == [9, 12, 12, 12, 12])
    let frames = made.flatMap(\.frames)
    for (block, frame) in made.flatMap({ block in block.frames.map { (block, $0) } }) {
      #expect(frame.samples.count == 48_000 / block.metrics.framesPerSecond)
      #expect(frame.picture.size == session.size)
    }
    let spoken = frames.filter { $0.utterance == id }
    #expect(Array(spoken.flatMap(\.samples).prefix(said.samples.count)) == said.samples)
    #expect(spoken.flatMap(\.samples).dropFirst(said.samples.count).allSatisfy { $0 == 0 })
    #expect(spoken.filter(\.endsUtterance).count == 1 && spoken.last!.endsUtterance && spoken[0].offset == 0)
    #expect(frames.filter { $0.utterance == nil }.allSatisfy { $0.samples.allSatisfy { $0 == 0 } })
    await session.close()
  }

  @Test func `speech of other rates is as long as it was`() async throws {
    let engine = try await smallEngine()
    let session = try await engine.open(request())
    for (number, rate) in [8000, 16_000, 22_050, 24_000].enumerated() {
      let id = UtteranceID(rawValue: number + 1)
      await session.append(speech(0.5, rate: rate), to: id)
      await session.finish(id)
      #expect(await abs(session.pending - 0.5) < 0.002)
      let block = try await session.nextBlock()
      let spoken = block.frames.filter { $0.utterance == id }
      #expect(spoken.last!.endsUtterance && spoken.flatMap(\.samples).contains { abs($0) > 0.2 })
    }
    await session.close()
  }

  @Test func `fewer steps and pictures leave all of the sound`() async throws {
    let models = try AvatarModels(random: smallPreset(), device: .cpu, dtype: .float32)
    let worker = DeviceWorker(models, options: SessionOptions(models.settings))
    let text = RandomGenerator(seed: 1).normal([1, 16, models.transformer.config.textDim])
    let size = ReferencePicture.Size(height: 32, width: 32)
    let slow = Pace(steps: 2, fewestSteps: 2, framesPerSecond: 8, sampleRate: 16_000)
    let session = try await DeviceSession(
      request(), size: size, on: worker, pace: slow, encodePrompt: { _ in text }, giveBack: {})
    let said = speech(5)
    let id = UtteranceID(rawValue: 1)
    await session.append(said, to: id)
    await session.finish(id)
    let made = try await blocks(session, 5)
    #expect(made.allSatisfy { $0.metrics.steps <= 2 && $0.metrics.framesPerSecond <= 8 })
    #expect(made[0].metrics.duration == 9.0 / 8 && made[0].frames.allSatisfy { $0.samples.count == 6000 })
    let spoken = made.flatMap(\.frames).filter { $0.utterance == id }.flatMap(\.samples)
    #expect(Array(spoken.prefix(said.samples.count)) == said.samples)
    await session.close()
  }

  @Test func `while nobody speaks no picture stands still`() async throws {
    let engine = try await smallEngine()
    let session = try await engine.open(request())
    let frames = try await blocks(session, 4).flatMap(\.frames)
    #expect(zip(frames, frames.dropFirst()).allSatisfy { $0.picture != $1.picture })
    #expect(Set(frames.map(\.picture)).count == frames.count)
    await session.close()
  }

  @Test func `an interruption drops what was not made, and what still comes`() async throws {
    try await expectInterruption(try await smallEngine().open(request()))
  }

  @Test func `one seed gives one video, whatever is computed beside it`() async throws {
    let engine = try await smallEngine()
    func video(_ seed: UInt64) async throws -> [Picture] {
      let session = try await engine.open(request(seed: seed))
      let id = UtteranceID(rawValue: 1)
      await session.append(speech(3), to: id)
      await session.finish(id)
      let frames = try await blocks(session, 3).flatMap(\.frames).map(\.picture)
      await session.close()
      return frames
    }
    async let first = video(1)
    async let other = video(2)
    let (one, two) = (try await first, try await other)
    let again = try await video(1)
    #expect(one == again && one != two)
  }

  @Test func `the N+1st session is refused and its place comes back`() async throws {
    let engine = try await smallEngine(maxSessions: 2)
    let one = try await engine.open(request())
    let two = try await engine.open(request())
    await #expect(throws: AdmissionError.full(sessions: 2, retryAfter: 15)) { try await engine.open(request()) }
    #expect(await engine.load().sessions == 2)
    await one.close()
    await one.close()
    #expect(await engine.load().sessions == 1)
    #expect(await engine.load().free == 1)
    let three = try await engine.open(request())
    await two.close()
    await three.close()
    #expect(await engine.load().sessions == 0)
  }

  @Test func `a session that does not fit in the memory is refused before it starts`() async throws {
    let needed = try await smallEngine().information.memoryPerSession
    let engine = try await smallEngine(memoryBudget: needed * 3 / 2)
    let one = try await engine.open(request())
    #expect(await engine.load().free == 0)
    await #expect(throws: AdmissionError.self) { try await engine.open(request()) }
    await one.close()
    await engine.drain()
    await #expect(throws: AdmissionError.draining(retryAfter: 30)) { try await engine.open(request()) }
  }

  @Test func `the memory of a session is that of its keys and values and of its decoder`() throws {
    let models = try AvatarModels(random: .tiny, device: .cpu, dtype: .float32)
    let worker = DeviceWorker(models, options: SessionOptions(models.settings))
    // 2 · 6 layers · 15 frames · 64 tokens · 96 channels · 4 bytes.
    let keys = 2 * 6 * 15 * 64 * 96 * 4
    let bytes = try worker.memory(ReferencePicture.Size(height: 128, width: 128))[0]
    #expect(bytes > keys && bytes < keys + 40_000_000)
  }

  @Test func `an engine that is not ready says so`() async throws {
    let engine = try DeviceEngine(random: smallPreset())
    await #expect(throws: AdmissionError.warmingUp(retryAfter: 10)) { try await engine.open(request()) }
  }

  @Test func `a session whose pictures are not numbers ends, the others go on`() async throws {
    let engine = try await smallEngine()
    let good = try await engine.open(request())
    let bad = try await engine.open(request("broken"))
    _ = try await good.nextBlock()
    let error = await #expect(throws: SessionError.self) { try await bad.nextBlock() }
    #expect(error?.code == .engineFailed && error?.isFatal == true)
    #expect(await engine.load().sessions == 1)
    #expect(try await good.nextBlock().frames.count == 12)
    let after = await #expect(throws: SessionError.self) { try await bad.nextBlock() }
    #expect(after?.code == .closed)
    await good.close()
  }

  @Test func `prompts and pictures change, and bad ones leave everything as it was`() async throws {
    let engine = try await smallEngine()
    let session = try await engine.open(request())
    _ = try await blocks(session, 2)
    try await session.setPrompt("Another direction.")
    #expect(try await session.nextBlock().frames.count == 12)
    let error = await #expect(throws: SessionError.self) { try await session.setPrompt("unreadable") }
    #expect(error?.code == .badPrompt && error?.isFatal == false)
    try await session.setAvatar(Picture(width: 2, height: 2, bytes: [UInt8](repeating: 200, count: 12)))
    // A video of another person begins anew.
    #expect(try await blocks(session, 2).map(\.frames.count) == [9, 12])
    await session.close()
    let tooSmall = AvatarRequest(picture: Picture(width: 1, height: 1, bytes: [0, 0, 0]), prompt: "")
    let small = await #expect(throws: SessionError.self) { try await engine.open(tooSmall) }
    #expect(small?.code == .badPicture)
    var wrong = request()
    wrong.size = VideoSize(width: 33, height: 32)
    let size = await #expect(throws: SessionError.self) { try await engine.open(wrong) }
    #expect(size?.code == .badSize)
    #expect(await engine.load().sessions == 0)
  }
}

/// Blocks that are stopped before they are committed.
@Suite struct StoppedBlockTests {
  @Test func `a stopped block is begun again as though nothing had been`() throws {
    let models = try AvatarModels(random: smallPreset(), device: .cpu, dtype: .float32)
    func session() throws -> AvatarSession {
      let generator = RandomGenerator(seed: 5)
      let noise = NoiseSource(
        initial: { block, shape in RandomGenerator(seed: UInt64(block)).normal(shape) },
        renewed: { block, step, shape in RandomGenerator(seed: UInt64(100 + 10 * block + step)).normal(shape) })
      return try models.session(
        referenceLatent: generator.normal([1, 16, 1, 4, 4]),
        text: generator.normal([1, 16, models.transformer.config.textDim]), options: SessionOptions(models.settings),
        noise: noise)
    }
    try withInferenceMode {
      let (plain, stopped) = (try session(), try session())
      let generator = RandomGenerator(seed: 6)
      // Further than the window, so that a stopped block has written over what was there.
      for block in 0..<8 {
        let features = generator.normal([1, plain.videoFramesInNextBlock, models.transformer.config.audioInputDim])
        let other = generator.normal([1, plain.videoFramesInNextBlock, models.transformer.config.audioInputDim])
        var passes = 0
        let none = stopped.denoise(audioFeatures: other) {
          passes += 1
          return passes > block % 5
        }
        #expect(none == nil && stopped.rollout.block == block)
        let again = try #require(stopped.denoise(audioFeatures: features) { false })
        #expect(plain.denoise(audioFeatures: features).maxAbsDifference(again) == 0)
      }
    }
  }

  @Test func `another picture in the middle of speech loses none of it`() async throws {
    let engine = try await smallEngine()
    let session = try await engine.open(request())
    let id = UtteranceID(rawValue: 1)
    let said = speech(6)
    await session.append(said, to: id)
    await session.finish(id)
    var frames: [OutputFrame] = []
    for block in 0..<10 {
      async let change: Void = block % 3 == 1 ? session.setAvatar(face) : ()
      frames += try await session.nextBlock().frames
      try await change
    }
    #expect(Array(frames.filter { $0.utterance == id }.flatMap(\.samples).prefix(said.samples.count)) == said.samples)
    await session.close()
  }

  @Test func `speech that comes while silence is made is not kept waiting for it`() async throws {
    let engine = try await smallEngine()
    let session = try await engine.open(request())
    _ = try await session.nextBlock()
    var indices: [Int] = []
    // Whenever it comes, the block under way or the next one is speech, and none is lost.
    for number in 1...10 {
      async let block = session.nextBlock()
      try await Task.sleep(for: .milliseconds(number))
      let id = UtteranceID(rawValue: number)
      await session.append(speech(0.7), to: id)
      await session.finish(id)
      let made = try await block
      indices.append(made.index)
      if !made.hasSpeech {
        let next = try await session.nextBlock()
        indices.append(next.index)
        #expect(next.frames[0].utterance == id)
      } else {
        #expect(made.frames[0].utterance == id)
      }
    }
    #expect(indices == Array(1...indices.count))
    await session.close()
  }
}
