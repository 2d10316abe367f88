import Basics
import Distributed
import Engine
import Foundation
import Generation
import Models
import Session
import Torch

extension Probe {
  /// Live sessions with a tiny Live Avatar: in one process, or over a pipeline, whose first process prints what one process does.
  ///
  /// Arguments: `blocks`, which are stopped between steps; `ahead`, which are begun before any is read; `talk`, whole conversations;
  /// `interrupt`, some whose interruptions come at any moment; `idle SECONDS`, one with a pause in which nothing is asked for; `endless`;
  /// `room`, what fits the processes' memory.
  static func live(_ arguments: [String], _ group: ProcessGroup?) async throws {
    let models = try smallLiveAvatar()
    let options = SessionOptions(models.settings)
    guard let group else { return try await live(arguments, models, models) }
    let plan = try PipelinePlan(steps: options.steps, ranks: group.size)
    guard group.rank == 0 else {
      let decodesOnly = plan.steps(of: group.rank).isEmpty
      return try PipelineFollower(
        plan, group, models: decodesOnly ? nil : models, vae: models.vae, options: options,
        room: arguments.first == "room" ? 3 - group.rank : nil
      ).run()
    }
    let pipeline = try PipelinedModels(plan, group, models)
    if arguments.first == "room" { say("room \(pipeline.room.map(String.init) ?? "none")") }
    try await live(arguments, pipeline, models)
    try pipeline.stop()
  }

  private static func live(
    _ arguments: [String], _ models: any SessionModels, _ alone: LiveAvatarModels
  ) async throws {
    switch arguments.first {
    case "blocks": try stopBlocks(models)
    case "ahead": try runAhead(models)
    case "talk": try await talk(engine(models))
    case "interrupt": try await interrupt(engine(models), alone)
    case "idle":
      let session = try await engine(models).open(request(1))
      for _ in 0..<2 { try await show("idle", session) }
      // Nobody asks for anything; then somebody does.
      try await Task.sleep(for: .seconds(arguments.dropFirst().first.flatMap(Int.init) ?? 1))
      for _ in 0..<2 { try await show("idle", session) }
      await session.close()
    case "endless":
      let session = try await engine(models).open(request(1))
      while true {
        pause()
        try await show("endless", session)
      }
    case "room": return
    default: throw TorchError("usage: distributed-probe live blocks|ahead|talk|interrupt|idle SECONDS|endless|room")
    }
  }

  /// The smallest videos: what a block costs is counted in milliseconds.
  private static func smallLiveAvatar() throws -> LiveAvatarModels {
    var preset = LiveAvatarPreset.liveAvatarTiny
    preset.size = size
    return try LiveAvatarModels(random: preset, device: .cpu, dtype: .float32)
  }

  private static var size: ReferencePicture.Size { ReferencePicture.Size(height: 64, width: 64) }
  private static var face: Picture {
    Picture(width: 20, height: 30, bytes: (0..<1800).map { UInt8($0 % 251) })
  }

  private static func request(_ seed: UInt64) -> AvatarRequest {
    AvatarRequest(picture: face, prompt: "A person.", seed: seed)
  }

  private static func session(_ models: any SessionModels, _ options: SessionOptions) throws -> any BlockSession {
    try models.session(
      image: ReferencePicture.prepared(Picture(width: 20, height: 30, bytes: face.bytes), size),
      textEmbedding: text("A person.", models.textWidth), options: options)
  }

  private static func text(_ prompt: String, _ width: Int) -> Tensor {
    RandomGenerator(seed: UInt64(prompt.utf8.count)).normal([1, 16, width])
  }

  private static func engine(_ models: any SessionModels) async throws -> DeviceEngine {
    let width = models.textWidth
    let engine = try DeviceEngine(
      models: [models], name: "small", options: SessionOptions(models.settings), maxSessions: 2, isPaced: false,
      encodePrompt: { text($0, width) })
    try await engine.prepare()
    return engine
  }

  /// A voice's sound at 16 kHz that is nowhere silent for long.
  private static func speech(_ seconds: Double, seed: UInt64) -> [Float] {
    let count = Int(seconds * 16_000)
    let noise = RandomGenerator(seed: 90 + seed).normal([count]).array(Float.self)
    return (0..<count).map { 0.2 * noise[$0] * Float(1.2 + sin(Double($0) / 700)) }
  }

  private static func say(_ samples: [Float], _ number: Int, to session: any EngineSession) async {
    let id = UtteranceID(rawValue: number)
    await session.append(PCM(samples, rate: 16_000), to: id)
    await session.finish(id)
  }

  @discardableResult
  private static func show(_ name: String, _ session: any EngineSession) async throws -> OutputBlock {
    let block = try await session.nextBlock()
    let pictures = checksum(block.frames.flatMap(\.picture.bytes))
    let (sound, spoken) = (checksum(block.frames.flatMap(\.samples)), block.frames.count { $0.utterance != nil })
    say("\(name) block \(block.index): \(block.frames.count) frames \(pictures), sound \(sound), \(spoken) spoken")
    return block
  }

  // MARK: What is shown does not depend on when what happens

  /// Sessions of the models themselves, one after the other, whose blocks are stopped between steps and begun again with other sound.
  private static func stopBlocks(_ models: any SessionModels) throws {
    for seed in [3, 4] as [UInt64] {
      try withInferenceMode {
        var options = SessionOptions(models.settings)
        options.seed = seed
        let session = try session(models, options)
        let generator = RandomGenerator(seed: 6)
        func features() -> Tensor {
          generator.normal([1, 12, LiveAvatarPreset.liveAvatarTiny.transformer.audioInputDim])
        }
        // Past the change of the sink, and of what the window holds.
        for block in 0..<7 {
          var asked = 0
          let wrong = features()
          let none = session.denoise(audioFeatures: wrong) {
            asked += 1
            return asked > block % 2
          }
          guard none == nil, session.block == block else { throw TorchError("Block \(block) was not stopped.") }
          if block == 3 { session.setText(text("Another direction.", models.textWidth)) }
          guard let latents = session.denoise(audioFeatures: features(), unless: { false }) else {
            throw TorchError("Nobody stopped block \(block).")
          }
          let frames = try session.decode(latents).read()
          say("seed \(seed) block \(block): \(frames.count) frames \(checksum(frames.flatMap(\.self)))")
        }
        session.end()
      }
    }
  }

  /// Begins four blocks, waits for nothing, and then reads them.
  private static func runAhead(_ models: any SessionModels) throws {
    try withInferenceMode {
      let session = try session(models, SessionOptions(models.settings))
      let generator = RandomGenerator(seed: 6)
      func next() -> PendingFrames {
        session.next(
          audioFeatures: generator.normal([1, 12, LiveAvatarPreset.liveAvatarTiny.transformer.audioInputDim]))
      }
      _ = try next().read()
      say("ready")
      block(for: 3)
      let blocks = (0..<4).map { _ in next() }
      say("begun")
      for frames in blocks { say("block \(checksum(try frames.read().flatMap(\.self)))") }
      session.end()
    }
  }

  /// Sessions one after the other, then two at a time.
  private static func talk(_ engine: DeviceEngine) async throws {
    for (seed, prompt) in [(7, nil), (8, "Another direction.")] as [(UInt64, String?)] {
      let session = try await engine.open(request(seed))
      if let prompt { try await session.setPrompt(prompt) }
      await say(speech(3, seed: seed), 1, to: session)
      for _ in 0..<6 { try await show("seed \(seed)", session) }
      await session.close()
    }
    let sessions = try await [engine.open(request(9)), engine.open(request(10))]
    try await sessions[1].setAvatar(Picture(width: 2, height: 2, bytes: (0..<12).map { UInt8(20 * $0) }))
    for (seed, session) in zip([9, 10] as [UInt64], sessions) { await say(speech(1.5, seed: seed), 1, to: session) }
    for _ in 0..<3 { for (name, session) in zip("ab", sessions) { try await show("\(name)", session) } }
    // With blocks under way that nobody will see.
    for session in sessions { await session.close() }
    say("sessions \(await engine.load().sessions)")
  }

  // MARK: Interruptions

  /// Interruptions and speech at any moment of a block's way. What comes out is what one process makes, block by block, of the sound with which it
  /// is shown.
  private static func interrupt(_ engine: DeviceEngine, _ alone: LiveAvatarModels) async throws {
    for seed in [1, 2] as [UInt64] {
      let session = try await engine.open(request(seed))
      var blocks: [OutputBlock] = []
      func next() async throws { blocks.append(try await session.nextBlock()) }
      let sounds = (1...3).map { speech(4, seed: 10 * seed + UInt64($0)) }
      for (number, sound) in sounds.enumerated() {
        // Speech comes while silence is made, and is interrupted while it is made.
        async let silence = session.nextBlock()
        try await Task.sleep(for: .milliseconds(number * 14))
        await say(sound, number + 1, to: session)
        blocks.append(try await silence)
        for _ in 0..<number % 3 { try await next() }
        async let spoken = session.nextBlock()
        try await Task.sleep(for: .milliseconds((3 - number) * 12))
        await session.interrupt()
        blocks.append(try await spoken)
        guard await session.pending == 0 else { throw TorchError("Sound waits after an interruption.") }
        try await next()
      }
      await session.close()
      let expected = try replay(blocks, sounds, alone, seed: seed)
      let same = zip(blocks, expected).count { $0.frames.map(\.picture.bytes) == $1 }
      let spoken = Set(blocks.flatMap(\.frames).compactMap { $0.utterance?.rawValue })
      say("seed \(seed): \(same == blocks.count) of \(blocks.count) blocks, utterances \(spoken.sorted())")
    }
  }

  /// The pictures that one session makes of the sound of these blocks, by hand.
  private static func replay(
    _ blocks: [OutputBlock], _ sounds: [[Float]], _ models: LiveAvatarModels, seed: UInt64
  ) throws -> [[[UInt8]]] {
    try withInferenceMode {
      var options = SessionOptions(models.settings)
      options.seed = seed
      let session = try session(models, options)
      var stream = models.speechStream(framesPerBlock: 3)
      return try blocks.map { block in
        var following = [Float](repeating: 0, count: 16_000)
        for frame in block.frames {
          guard let utterance = frame.utterance else {
            stream.append(silence: 640)
            continue
          }
          let sound = sounds[utterance.rawValue - 1].dropFirst(frame.offset / 3)
          stream.append(sound.prefix(640) + [Float](repeating: 0, count: max(0, 640 - sound.count)))
          let rest = sound.dropFirst(640).prefix(16_000)
          following = rest + [Float](repeating: 0, count: 16_000 - rest.count)
        }
        if block.frames.last?.utterance == nil { following = [Float](repeating: 0, count: 16_000) }
        guard let features = try stream.next(before: following) else { throw TorchError("A block has no sound.") }
        return try session.next(audioFeatures: features).read()
      }
    }
  }
}
