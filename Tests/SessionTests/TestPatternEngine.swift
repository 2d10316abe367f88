@testable import Session

/// An engine without a model: a bar that moves with time and a square as bright as the sound is loud.
///
/// Everything else is as a real engine does it: blocks on request, places, sound that leaves with the pictures it drove.
actor TestPatternEngine: AvatarEngine {
  nonisolated let information: EngineInformation
  private var open = 0
  private let computeSeconds: Double
  private let clock: any SessionClock

  /// - Parameters:
  ///   - computeSeconds: how long a block takes.
  init(
    size: VideoSize = VideoSize(width: 64, height: 64), sampleRate: Int = 48_000, maxSessions: Int = 1000,
    computeSeconds: Double = 0,
    clock: any SessionClock = SystemClock()
  ) {
    self.computeSeconds = computeSeconds
    self.clock = clock
    information = EngineInformation(
      model: "test pattern", devices: ["none"], framesPerSecond: 16, sampleRate: sampleRate, framesPerBlock: 12,
      videoSizes: [size], memoryPerSession: 3 * size.width * size.height, maxSessions: maxSessions)
  }

  func load() -> EngineLoad {
    EngineLoad(isReady: true, sessions: open, free: information.maxSessions - open, memory: 0)
  }

  func open(_ request: AvatarRequest) throws -> any EngineSession {
    guard open < information.maxSessions else { throw AdmissionError.full(sessions: open, retryAfter: 5) }
    open += 1
    return TestPatternSession(
      information: information, size: request.size ?? information.videoSizes[0], computeSeconds: computeSeconds,
      clock: clock
    ) { [weak self] in await self?.giveBack() }
  }

  private func giveBack() { open -= 1 }
}

/// A session of the test pattern.
actor TestPatternSession: EngineSession {
  nonisolated let size: VideoSize
  private let information: EngineInformation
  private let computeSeconds: Double
  private let clock: any SessionClock
  private var giveBack: (@Sendable () async -> Void)?
  private var queue: SpeechQueue
  private var block = 0
  /// Pictures of each brightness, made once: a thousand sessions share one processor.
  private var pictures: [Int: RGBImage] = [:]

  init(
    information: EngineInformation, size: VideoSize, computeSeconds: Double, clock: any SessionClock,
    giveBack: @escaping @Sendable () async -> Void
  ) {
    self.information = information
    self.size = size
    self.computeSeconds = computeSeconds
    self.clock = clock
    self.giveBack = giveBack
    queue = SpeechQueue(rate: information.sampleRate, driveRate: information.sampleRate)
  }

  private var lookAhead: Double { 0.4 }
  private var blockSeconds: Double { Double(information.framesPerBlock) / Double(information.framesPerSecond) }

  func append(_ sound: PCM, to utterance: UtteranceID) {
    let samples = resampled(sound)
    queue.append(samples, drive: samples, to: utterance)
  }

  func finish(_ utterance: UtteranceID) { queue.finish(utterance) }
  func interrupt() { queue.interrupt() }
  var pending: Double { queue.seconds }
  var hasSpeechReady: Bool { queue.isReady(for: blockSeconds + lookAhead) }

  func nextBlock() async throws -> OutputBlock {
    let start = clock.now
    guard giveBack != nil else { throw SessionError(.closed, "The session is over.", isFatal: true) }
    let pieces = queue.next(
      information.framesPerBlock, driveSamples: information.sampleRate / information.framesPerSecond,
      readyFor: blockSeconds + lookAhead)
    if computeSeconds > 0 { try await clock.sleep(until: start + computeSeconds) }
    guard giveBack != nil else { throw SessionError(.closed, "The session is over.", isFatal: true) }
    let frames = pieces.enumerated().map { index, piece in
      OutputFrame(
        picture: picture(number: block * pieces.count + index, piece.samples), samples: piece.samples,
        utterance: piece.utterance, offset: piece.offset, endsUtterance: piece.endsUtterance)
    }
    defer { block += 1 }
    return OutputBlock(
      index: block, frames: frames,
      metrics: BlockMetrics(
        seconds: clock.now - start, duration: blockSeconds, steps: 4, framesPerSecond: information.framesPerSecond))
  }

  func setPrompt(_ prompt: String) {}
  func setAvatar(_ picture: RGBImage) {}

  func close() async {
    let back = giveBack
    giveBack = nil
    await back?()
  }

  /// A bar at the picture's number, and a square in the middle as bright as the sound is loud.
  private func picture(number: Int, _ samples: [Float]) -> RGBImage {
    var loudest: Float = 0
    for index in stride(from: 0, to: samples.count, by: 10) { loudest = max(loudest, samples[index].magnitude) }
    let level = Int(min(loudest, 1) * 15)
    let column = number % min(size.width, 16)
    let key = level * 1000 + column
    if let known = pictures[key] { return known }
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
    let picture = RGBImage(width: size.width, height: size.height, bytes: bytes)
    pictures[key] = picture
    return picture
  }

  /// At the engine's rate, by linear interpolation: enough for a test pattern.
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
