import Basics
import Models
import Synchronization
import Testing
import Torch

@testable import Engine
@testable import Generation
@testable import Session

/// The tiny system at the smallest size: what a block costs is counted in milliseconds.
func smallPreset() -> ModelPreset {
  let tiny = ModelPreset.tiny
  return ModelPreset(
    name: "small", transformer: tiny.transformer, vae: tiny.vae, textEncoder: tiny.textEncoder,
    audioEncoder: tiny.audioEncoder, size: ReferencePicture.Size(height: 32, width: 32))
}

let face = Picture(width: 20, height: 30, bytes: (0..<1800).map { UInt8($0 % 251) })

func request(_ prompt: String = "A person.", seed: UInt64 = 0) -> AvatarRequest {
  AvatarRequest(picture: face, prompt: prompt, seed: seed)
}

/// An engine that is ready. The prompt "broken" makes pictures that are not numbers.
func smallEngine(maxSessions: Int = 4, memoryBudget: Int? = nil) async throws -> DeviceEngine {
  let models = try AvatarModels(random: smallPreset(), device: .cpu, dtype: .float32)
  let engine = try DeviceEngine(
    models: [models], name: "small", options: SessionOptions(models.settings), maxSessions: maxSessions,
    memoryBudget: memoryBudget,
    encodePrompt: { prompt in
      if prompt == "unreadable" { throw TorchError("It has no letters.") }
      let text = RandomGenerator(seed: UInt64(prompt.utf8.count)).normal([1, 16, models.transformer.config.textDim])
      return prompt == "broken" ? text * .nan : text
    })
  try await engine.prepare()
  return engine
}

/// A tone of 440 Hz that is never 0 for long.
func speech(_ seconds: Double, rate: Int = 48_000) -> PCM {
  PCM((0..<Int(seconds * Double(rate))).map { 0.3 * sine(Double($0) / Double(rate) * 440) }, rate: rate)
}

/// Of so many turns.
private func sine(_ turns: Double) -> Float {
  let x = turns - turns.rounded(.down)
  // Bhaskara's approximation: a test tone need not be pure.
  let half = x < 0.5 ? x * 2 : x * 2 - 1
  let value = 16 * half * (1 - half) / (5 - 4 * half * (1 - half))
  return Float(x < 0.5 ? value : -value)
}

/// Time that passes when a session sleeps.
final class MockClock: SessionClock {
  private let time = Mutex(0.0)
  var now: Double { time.withLock { $0 } }
  func sleep(until end: Double) async throws { time.withLock { $0 = max($0, end) } }
}

struct Silent: Responder {
  var hears: Bool { true }
  func respond(to request: ResponseRequest) -> AsyncThrowingStream<SpeechEvent, any Error> {
    AsyncThrowingStream { $0.finish() }
  }
}

/// An interruption drops what was not made, and what still comes of the same utterance; the next one is spoken.
func expectInterruption(_ session: any EngineSession) async throws {
  let (one, two) = (UtteranceID(rawValue: 1), UtteranceID(rawValue: 2))
  await session.append(speech(10), to: one)
  #expect(try await session.nextBlock().hasSpeech)
  await session.interrupt()
  await session.append(speech(10), to: one)
  #expect(await session.pending == 0)
  #expect(await !session.hasSpeechReady)
  #expect(try await !session.nextBlock().hasSpeech)
  await session.append(speech(1), to: two)
  await session.finish(two)
  #expect(try await session.nextBlock().frames[0].utterance == two)
  await session.close()
}
