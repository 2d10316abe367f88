import Basics
import MockEngine
import Synchronization
import Testing

@testable import Session

/// Time that passes when it is told to.
final class MockClock: SessionClock {
  private let time = Mutex(0.0)
  var now: Double { time.withLock { $0 } }
  /// Sleeping is what makes the time pass: there is one sleeper, who steps the session.
  func sleep(until end: Double) async throws { time.withLock { $0 = max($0, end) } }
  func pass(_ seconds: Double) { time.withLock { $0 += seconds } }
}

/// Answers with what it is told to, and keeps what it was asked and told.
final class Echo: Responder {
  struct State {
    var requests: [ResponseRequest] = []
    var truncated: [(UtteranceID, Double, String)] = []
    var answer: [SpeechEvent] = []
    var failure: SessionError?
    var wasCancelled = false
    var heard = 0
    var isClosed = false
  }

  let hears: Bool
  let state: Mutex<State>

  init(hears: Bool = true, answer: [SpeechEvent] = []) {
    self.hears = hears
    state = Mutex(State(answer: answer))
  }

  func respond(to request: ResponseRequest) -> AsyncThrowingStream<SpeechEvent, any Error> {
    let (answer, failure) = state.withLock {
      $0.requests.append(request)
      return ($0.answer, $0.failure)
    }
    return stream(answer, failure)
  }

  func stream(_ answer: [SpeechEvent], _ failure: SessionError?) -> AsyncThrowingStream<SpeechEvent, any Error> {
    AsyncThrowingStream { continuation in
      continuation.onTermination = { if case .cancelled = $0 { self.state.withLock { $0.wasCancelled = true } } }
      for event in answer { continuation.yield(event) }
      if let failure { continuation.finish(throwing: failure) } else if answer.last == .done { continuation.finish() }
    }
  }

  func hear(_ sound: PCM) async { state.withLock { $0.heard += sound.samples.count } }
  func truncate(_ utterance: UtteranceID, playedSeconds: Double, text: String) async {
    state.withLock { $0.truncated.append((utterance, playedSeconds, text)) }
  }
  func close() async { state.withLock { $0.isClosed = true } }
}

/// Reads every text in a second.
struct Beep: Voice {
  func speech(of text: String) -> AsyncThrowingStream<SpeechEvent, any Error> {
    AsyncThrowingStream { continuation in
      continuation.yield(.text(text))
      continuation.yield(.sound(tone(1)))
      continuation.yield(.done)
      continuation.finish()
    }
  }
}

/// Takes every loud window for speech.
struct LoudnessDetector: VoiceActivityDetector {
  func probability(of window: [Float]) async throws -> Float { (window.max() ?? 0) > 0.1 ? 0.9 : 0.05 }
  func reset() async {}
}

struct Dictation: Transcriber {
  let words: String
  func transcribe(_ sound: PCM) async throws -> String { words }
}

/// A rising ramp: each sample tells its place.
func tone(_ seconds: Double, rate: Int = 48_000) -> PCM {
  PCM((0..<Int(seconds * Double(rate))).map { 0.2 + 0.5 * Float($0 % rate) / Float(rate) }, rate: rate)
}

/// A session that is stepped picture by picture, and all that left it.
final class Stage {
  let clock = MockClock()
  let engine: MockEngineSession
  let session: LiveSession
  let echo: Echo
  private let eventStream: AsyncStream<SessionEvent>
  private let frameStream: AsyncStream<MediaFrame>
  private var eventReader: AsyncStream<SessionEvent>.Iterator
  private var frameReader: AsyncStream<MediaFrame>.Iterator
  var frames: [MediaFrame] = []
  var events: [SessionEvent] = []

  init(
    echo: Echo = Echo(), voice: (any Voice)? = Beep(), transcriber: (any Transcriber)? = nil,
    settings: LiveSettings = LiveSettings(), sampleRate: Int = 48_000
  ) async throws {
    let host = MockEngine(sampleRate: sampleRate, clock: clock)
    let request = AvatarRequest(picture: Picture(width: 1, height: 1, bytes: [0, 0, 0]), prompt: "")
    engine = try #require(try host.open(request) as? MockEngineSession)
    self.echo = echo
    session = LiveSession(
      engine: engine, information: host.information,
      parts: LiveParts(responder: echo, voice: voice, transcriber: transcriber, detector: LoudnessDetector()),
      settings: settings, clock: clock, starts: false)
    eventStream = await session.events()
    frameStream = await session.frames()
    eventReader = eventStream.makeAsyncIterator()
    frameReader = frameStream.makeAsyncIterator()
  }

  /// Plays so many seconds, picture by picture.
  func play(_ seconds: Double, hearing loudness: Float? = nil) async {
    for _ in 0..<Int((seconds * 16).rounded()) {
      if let loudness {
        await session.send(.appendUserAudio(PCM([Float](repeating: loudness, count: 1000), rate: 16_000)))
      }
      await session.produce()
      let before = await session.nextIndex
      guard await session.playNext() else { break }
      if await session.nextIndex > before, let frame = await frameReader.next() { frames.append(frame) }
    }
  }

  /// Lets what was begun beside the session come to an end: until no sound has come in for 50 ms of real time.
  func settle() async {
    var (pending, quiet) = (await engine.pending, 0)
    while quiet < 5 {
      try? await Task.sleep(for: .milliseconds(10))
      let now = await engine.pending
      quiet = now == pending ? quiet + 1 : 0
      pending = now
    }
  }

  func allEvents() async -> [SessionEvent] {
    await session.close(.client)
    var all: [SessionEvent] = []
    while let event = await eventReader.next() { all.append(event) }
    return all
  }
}
