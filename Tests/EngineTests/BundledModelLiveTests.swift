import Basics
import Foundation
import Media
import Models
import Testing
import Torch

@testable import Engine
@testable import Generation
@testable import Session

/// The bundled model as a live avatar.
@Suite(.serialized) struct BundledModelLiveTests {
  private static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private func folder() throws -> CheckpointFolder {
    try CheckpointFolder(Self.root.appendingPathComponent("Models/mini"))
  }

  private func engine(_ folder: CheckpointFolder) async throws -> DeviceEngine {
    let engine = try DeviceEngine(loading: folder, devices: [.cpu], dtype: .float32, maxSessions: 2)
    try await engine.prepare()
    return engine
  }

  private func leo() throws -> AvatarRequest {
    let picture = try Picture(contentsOf: Self.root.appendingPathComponent("Models/mini/avatars/leo.png").path)
    return AvatarRequest(
      picture: picture,
      prompt: "A man with a calm face keeps the head still while speaking English.")
  }

  private func voice(_ seconds: Double) throws -> PCM {
    let sound = try Sound(
      contentsOf: Self.root.appendingPathComponent("Examples/librivox_austen.wav").path, sampleRate: 24_000)
    return PCM(Array(sound.samples.prefix(Int(seconds * 24_000))), rate: 24_000)
  }

  /// How far the mouth is open in each frame, from 0 to 1.
  private func openings(_ frames: [OutputFrame], _ reader: FaceReader) -> [Double] {
    frames.map { frame in
      withInferenceMode {
        let size = frame.picture.size
        let pixels = Tensor(frame.picture.bytes, [1, size.height, size.width, 3]).permute(0, 3, 1, 2).to(.float32)
        let columns = reader(FaceReader.pictures(pixels / 127.5 - 1)).columns
        return Double(columns.array(Float.self)[FaceColumn.mouthOpen.rawValue])
      }
    }
  }

  @Test func `the lips are closed while nobody speaks, and the face moves`() async throws {
    let folder = try folder()
    let engine = try await engine(folder)
    let session = try await engine.open(try leo())
    var silent: [OutputFrame] = []
    var spoken: [OutputFrame] = []
    for _ in 0..<4 { silent += try await session.nextBlock().frames }
    let id = UtteranceID(rawValue: 1)
    await session.append(try voice(4), to: id)
    await session.finish(id)
    for _ in 0..<6 { spoken += try await session.nextBlock().frames }
    for _ in 0..<3 { silent += try await session.nextBlock().frames }
    await session.close()
    let reader = try folder.loadFaceReader()
    let (quiet, loud) = (openings(silent, reader), openings(spoken.filter { $0.utterance != nil }, reader))
    func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
    print("mouth: \(mean(quiet)) in silence, \(mean(loud)) in speech, \(loud.max() ?? 0) at most")
    #expect(mean(quiet) < mean(loud) / 2)
    #expect(zip(silent, silent.dropFirst()).allSatisfy { $0.picture != $1.picture })
  }

  /// For figures of a quiet machine: LIVETALK_LIVE_SECONDS=20.
  @Test(.enabled(if: ProcessInfo.processInfo.environment["LIVETALK_LIVE_SECONDS"] != nil))
  func `one session runs live in real time`() async throws {
    let seconds = ProcessInfo.processInfo.environment["LIVETALK_LIVE_SECONDS"].flatMap(Double.init) ?? 20
    Torch.keepFreedMemory()
    let engine = try await engine(try folder())
    let opening = ContinuousClock.now
    let device = try await engine.open(try leo())
    let opened = ContinuousClock.now - opening
    let session = LiveSession(
      engine: device, information: engine.information, parts: LiveParts(responder: Silent()))
    let voice = try voice(seconds)
    let (cpu, blocks) = (clock(), await session.metrics.blocks)
    var (said, first): (ContinuousClock.Instant?, Duration?) = (nil, nil)
    var (count, silent) = (0, 0)
    for await frame in await session.frames() {
      count += 1
      if count == 40 {
        said = .now
        await session.send(.appendSpeech(voice))
        await session.send(.finishSpeech)
      }
      if frame.utterance != nil, first == nil, let said { first = ContinuousClock.now - said }
      silent = frame.utterance == nil ? silent + 1 : 0
      // Longer than any picture is held in the middle of speech.
      if first != nil, silent == 100 { break }
    }
    let metrics = await session.metrics
    let work = Double(clock() - cpu) / Double(CLOCKS_PER_SEC) / Double(max(1, metrics.blocks - blocks))
    let times = await session.blockTimes.percentiles
    print(
      "live: opened in \(opened), first frame after say \(first ?? .zero), block p50 \(times.p50) s, p99 \(times.p99) s, \(work) s of processor time a block, "
        + "\(metrics.missedDeadlines) missed, \(metrics.heldFrames) held, \(metrics.steps) steps, "
        + "\(metrics.framesPerSecond) frames a second, \(Device.cpu.memory.current / 1_000_000) MB")
    await session.close(.client)
    #expect(metrics.missedDeadlines == 0 && metrics.steps == 4 && metrics.framesPerSecond == 16)
  }
}
