package import Session
import Synchronization

/// An engine that computes nothing: its avatar opens a drawn mouth as far as its sound is loud.
package final class MockEngine: AvatarEngine {
  package struct Faults: Sendable {
    /// Seconds that a block takes.
    package var blockSeconds = 0.0
    /// Whether a session fails when it is to speak.
    package var failsOnSpeech = false
    package init() {}
  }

  package static let sampleRate = 16_000
  package static let framesPerSecond = 16
  package static let framesPerBlock = 12

  package let information: EngineInformation
  private let faults: Faults
  private let sessions = Mutex(0)
  private let isReady = Mutex(true)

  package init(maxSessions: Int = 4, side: Int = 64, faults: Faults = Faults()) {
    self.faults = faults
    information = EngineInformation(
      model: "mock", devices: ["cpu"], framesPerSecond: Self.framesPerSecond, sampleRate: Self.sampleRate,
      framesPerBlock: Self.framesPerBlock, videoSizes: [VideoSize(width: side, height: side)],
      memoryPerSession: 1_000_000, maxSessions: maxSessions)
  }

  package var openSessions: Int { sessions.withLock { $0 } }

  package func setReady(_ ready: Bool) { isReady.withLock { $0 = ready } }

  package func load() async -> EngineLoad {
    let count = openSessions
    return EngineLoad(
      isReady: isReady.withLock { $0 }, sessions: count, free: information.maxSessions - count,
      memory: count * 1_000_000)
  }

  package func open(_ request: AvatarRequest) async throws -> any EngineSession {
    guard isReady.withLock({ $0 }) else { throw AdmissionError.warmingUp(retryAfter: 1) }
    let most = information.maxSessions
    let isTaken = sessions.withLock { count in
      guard count < most else { return false }
      count += 1
      return true
    }
    guard isTaken else { throw AdmissionError.full(sessions: most, retryAfter: 3) }
    return MockEngineSession(request.picture, size: information.videoSizes[0], faults: faults) {
      self.sessions.withLock { $0 -= 1 }
    }
  }
}

/// A session of the mock: sound in, the picture with a mouth out.
final class MockEngineSession: EngineSession {
  private struct State {
    var picture: RGBImage
    var sound: [(utterance: UtteranceID, samples: [Float], place: Int)] = []
    var finished: Set<UtteranceID> = []
    var last = UtteranceID(rawValue: 0)
    var ignoredUpTo = UtteranceID(rawValue: 0)
    var block = 0
    var isClosed = false
  }

  let size: VideoSize
  private let faults: MockEngine.Faults
  private let state: Mutex<State>
  private let onClose: @Sendable () -> Void
  private static let samplesPerFrame = MockEngine.sampleRate / MockEngine.framesPerSecond

  init(_ picture: RGBImage, size: VideoSize, faults: MockEngine.Faults, onClose: @escaping @Sendable () -> Void) {
    (self.size, self.faults, self.onClose) = (size, faults, onClose)
    state = Mutex(State(picture: picture.scaled(to: size)))
  }

  func append(_ sound: PCM, to utterance: UtteranceID) async {
    state.withLock { state in
      guard utterance > state.ignoredUpTo else { return }
      state.last = max(state.last, utterance)
      let samples = sound.resampled(to: MockEngine.sampleRate)
      if let index = state.sound.firstIndex(where: { $0.utterance == utterance }) {
        state.sound[index].samples += samples
      } else {
        state.sound.append((utterance, samples, 0))
      }
    }
  }

  func finish(_ utterance: UtteranceID) async { state.withLock { _ = $0.finished.insert(utterance) } }

  func interrupt() async {
    state.withLock { state in
      state.ignoredUpTo = max(state.ignoredUpTo, state.last)
      state.sound = []
    }
  }

  var pending: Double {
    get async {
      state.withLock { $0.sound.reduce(0) { $0 + Double($1.samples.count - $1.place) } / Double(MockEngine.sampleRate) }
    }
  }

  var hasSpeechReady: Bool {
    get async {
      state.withLock { state in
        guard let first = state.sound.first else { return false }
        return state.finished.contains(first.utterance)
          || first.samples.count - first.place >= Self.samplesPerFrame * MockEngine.framesPerBlock
      }
    }
  }

  func nextBlock() async throws -> OutputBlock {
    if faults.blockSeconds > 0 { try await Task.sleep(for: .seconds(faults.blockSeconds)) }
    return try state.withLock { state in
      guard !state.isClosed else { throw SessionError(.closed, "The session is over.", isFatal: true) }
      if faults.failsOnSpeech, !state.sound.isEmpty {
        throw SessionError(.engineFailed, "The mock was told to fail.", isFatal: true)
      }
      let frames = (0..<MockEngine.framesPerBlock).map { _ in frame(&state) }
      state.block += 1
      return OutputBlock(
        index: state.block - 1, frames: frames,
        metrics: BlockMetrics(
          seconds: faults.blockSeconds,
          duration: Double(MockEngine.framesPerBlock) / Double(MockEngine.framesPerSecond), steps: 4,
          framesPerSecond: MockEngine.framesPerSecond))
    }
  }

  private func frame(_ state: inout State) -> OutputFrame {
    guard let first = state.sound.first else {
      return OutputFrame(picture: state.picture, samples: Array(repeating: 0, count: Self.samplesPerFrame))
    }
    var samples = Array(first.samples[first.place..<min(first.place + Self.samplesPerFrame, first.samples.count)])
    let isLast = first.place + samples.count >= first.samples.count && state.finished.contains(first.utterance)
    let loudness = (samples.reduce(0) { $0 + $1 * $1 } / Float(max(1, samples.count))).squareRoot()
    samples += Array(repeating: 0, count: Self.samplesPerFrame - samples.count)
    state.sound[0].place = min(first.place + Self.samplesPerFrame, first.samples.count)
    if isLast { state.sound.removeFirst() }
    return OutputFrame(
      picture: state.picture.withMouth(loudness), samples: samples, utterance: first.utterance, offset: first.place,
      endsUtterance: isLast)
  }

  func setPrompt(_ prompt: String) async throws {}

  func setAvatar(_ picture: RGBImage) async throws { state.withLock { $0.picture = picture.scaled(to: size) } }

  func close() async {
    let isFirst = state.withLock { state in
      defer { state.isClosed = true }
      return !state.isClosed
    }
    if isFirst { onClose() }
  }
}

extension PCM {
  /// By the nearest sample: for a mock.
  func resampled(to rate: Int) -> [Float] {
    guard rate != self.rate else { return samples }
    return (0..<(samples.count * rate / self.rate)).map { samples[$0 * self.rate / rate] }
  }
}

extension RGBImage {
  func scaled(to size: VideoSize) -> RGBImage {
    var bytes = [UInt8](repeating: 0, count: 3 * size.width * size.height)
    for y in 0..<size.height {
      for x in 0..<size.width {
        let source = 3 * (y * height / size.height * width + x * width / size.width)
        for channel in 0..<3 { bytes[3 * (y * size.width + x) + channel] = self.bytes[source + channel] }
      }
    }
    return RGBImage(width: size.width, height: size.height, bytes: bytes)
  }

  /// A dark bar below the middle, as high as the sound is loud.
  func withMouth(_ loudness: Float) -> RGBImage {
    var bytes = bytes
    let top = height * 68 / 100
    let rows = Int(min(1, loudness * 4) * Float(height) / 10) + 1
    for y in top..<min(height, top + rows) {
      for x in (width * 2 / 5)..<(width * 3 / 5) {
        let place = 3 * (y * width + x)
        (bytes[place], bytes[place + 1], bytes[place + 2]) = (60, 10, 20)
      }
    }
    return RGBImage(width: width, height: height, bytes: bytes)
  }
}
