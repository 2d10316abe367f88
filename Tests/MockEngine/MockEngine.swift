package import Basics
package import Session
import Synchronization

/// An engine without a model, for what stands above an engine: a bar that moves with time and a square as bright as the sound is loud.
///
/// Everything else is as a real engine does it: blocks on request, places, sound that leaves with the pictures it drove.
package final class MockEngine: AvatarEngine {
  package struct Faults: Sendable {
    /// How long a block takes.
    package var blockSeconds = 0.0
    /// Whether a session fails when it is to speak.
    package var failsOnSpeech = false
    package init() {}
  }

  package let information: EngineInformation
  private let faults: Faults
  private let clock: any SessionClock
  private let sessions = Mutex(0)
  private let isReady = Mutex(true)
  private let pattern = TestPattern()

  package init(
    side: Int = 64, sampleRate: Int = 48_000, maxSessions: Int = 1000, faults: Faults = Faults(),
    clock: any SessionClock = SystemClock()
  ) {
    (self.faults, self.clock) = (faults, clock)
    information = EngineInformation(
      model: "mock", devices: ["none"], framesPerSecond: 16, sampleRate: sampleRate, framesPerBlock: 12,
      videoSizes: [VideoSize(width: side, height: side)], memoryPerSession: 3 * side * side, maxSessions: maxSessions)
  }

  package var openSessions: Int { sessions.withLock { $0 } }

  package func setReady(_ ready: Bool) { isReady.withLock { $0 = ready } }

  package func load() -> EngineLoad {
    let count = openSessions
    return EngineLoad(
      isReady: isReady.withLock { $0 }, sessions: count, free: information.maxSessions - count, memory: 0)
  }

  package func open(_ request: AvatarRequest) throws -> any EngineSession {
    guard isReady.withLock({ $0 }) else { throw AdmissionError.warmingUp(retryAfter: 1) }
    let most = information.maxSessions
    let hasPlace = sessions.withLock { count in
      guard count < most else { return false }
      count += 1
      return true
    }
    guard hasPlace else { throw AdmissionError.full(sessions: most, retryAfter: 3) }
    return MockEngineSession(
      information: information, size: request.size ?? information.videoSizes[0], pattern: pattern, faults: faults,
      clock: clock
    ) { self.sessions.withLock { $0 -= 1 } }
  }
}

/// A session of the mock.
package actor MockEngineSession: EngineSession {
  package nonisolated let size: VideoSize
  private let information: EngineInformation
  private let pattern: TestPattern
  private let faults: MockEngine.Faults
  private let clock: any SessionClock
  private var giveBack: (@Sendable () -> Void)?
  private var queue: SpeechQueue
  private var block = 0

  init(
    information: EngineInformation, size: VideoSize, pattern: TestPattern, faults: MockEngine.Faults,
    clock: any SessionClock, giveBack: @escaping @Sendable () -> Void
  ) {
    self.information = information
    self.size = size
    self.pattern = pattern
    self.faults = faults
    self.clock = clock
    self.giveBack = giveBack
    queue = SpeechQueue(rate: information.sampleRate, driveRate: information.sampleRate)
  }

  private var lookAhead: Double { 0.4 }
  private var blockSeconds: Double { Double(information.framesPerBlock) / Double(information.framesPerSecond) }

  package func append(_ sound: PCM, to utterance: UtteranceID) {
    let samples = resampled(sound)
    queue.append(samples, drive: samples, to: utterance)
  }

  package func finish(_ utterance: UtteranceID) { queue.finish(utterance) }
  package func interrupt() { queue.interrupt() }
  package var pending: Double { queue.seconds }
  package var hasSpeechReady: Bool { queue.isReady(for: blockSeconds + lookAhead) }

  package func nextBlock() async throws -> OutputBlock {
    let start = clock.now
    guard giveBack != nil else { throw SessionError(.closed, "The session is over.", isFatal: true) }
    let pieces = queue.next(
      information.framesPerBlock, driveSamples: information.sampleRate / information.framesPerSecond,
      readyFor: blockSeconds + lookAhead)
    if faults.failsOnSpeech, pieces.contains(where: { $0.utterance != nil }) {
      throw SessionError(.engineFailed, "The mock was told to fail.", isFatal: true)
    }
    if faults.blockSeconds > 0 { try await clock.sleep(until: start + faults.blockSeconds) }
    guard giveBack != nil else { throw SessionError(.closed, "The session is over.", isFatal: true) }
    let frames = pieces.enumerated().map { index, piece in
      OutputFrame(
        picture: pattern.picture(number: block * pieces.count + index, piece.samples, size: size),
        samples: piece.samples, utterance: piece.utterance, offset: piece.offset, endsUtterance: piece.endsUtterance)
    }
    defer { block += 1 }
    return OutputBlock(
      index: block, frames: frames,
      metrics: BlockMetrics(
        seconds: clock.now - start, duration: blockSeconds, steps: 4, framesPerSecond: information.framesPerSecond))
  }

  package func setPrompt(_ prompt: String) {}
  package func setAvatar(_ picture: Picture) {}

  package func close() async {
    giveBack?()
    giveBack = nil
  }

  /// At the engine's rate, by linear interpolation: enough for a mock.
  private func resampled(_ sound: PCM) -> [Float] {
    guard sound.rate != information.sampleRate else { return sound.samples }
    let count = Int((Double(sound.samples.count) * Double(information.sampleRate) / Double(sound.rate)).rounded())
    guard let last = sound.samples.indices.last else { return [] }
    return (0..<count).map { index in
      let place = Double(index) * Double(sound.rate) / Double(information.sampleRate)
      let (whole, share) = (min(Int(place), last), Float(place - place.rounded(.down)))
      return sound.samples[whole] * (1 - share) + sound.samples[min(whole + 1, last)] * share
    }
  }
}

/// The pictures of all sessions, each made once: a thousand sessions share one processor.
final class TestPattern: Sendable {
  private struct Key: Hashable {
    var size: VideoSize
    var level, column: Int
  }
  private let pictures = Mutex<[Key: Picture]>([:])

  /// A bar at the picture's number, and a square in the middle as bright as the sound is loud.
  func picture(number: Int, _ samples: [Float], size: VideoSize) -> Picture {
    var loudest: Float = 0
    for index in stride(from: 0, to: samples.count, by: 10) { loudest = max(loudest, samples[index].magnitude) }
    let level = Int(min(loudest, 1) * 15)
    let column = number % min(size.width, 16)
    let key = Key(size: size, level: level, column: column)
    if let known = pictures.withLock({ $0[key] }) { return known }
    var bytes = [UInt8](repeating: 32, count: 3 * size.width * size.height)
    for y in 0..<size.height {
      for x in 0..<size.width {
        let isSquare =
          (size.width / 4..<3 * size.width / 4).contains(x) && (size.height / 4..<3 * size.height / 4).contains(y)
        let isBar = x * 16 / size.width == column
        guard isSquare || isBar else { continue }
        let value = isSquare ? UInt8(level * 17) : 200
        for channel in 0..<3 { bytes[3 * (y * size.width + x) + channel] = value }
      }
    }
    let picture = Picture(width: size.width, height: size.height, bytes: bytes)
    pictures.withLock { $0[key] = picture }
    return picture
  }
}
