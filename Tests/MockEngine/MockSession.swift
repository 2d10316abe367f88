package import Session
import Synchronization

/// A session over the mock engine that answers every text by saying it, as a hum of a tenth of a second a letter.
package actor MockSession: SessionHandle {
  package nonisolated let format: StreamFormat
  private let engine: any EngineSession
  private var state = ConversationState.idle
  private var eventReaders: [Int: AsyncStream<SessionEvent>.Continuation] = [:]
  private var frameReaders: [Int: AsyncStream<MediaFrame>.Continuation] = [:]
  private var nextReader = 0
  private var nextUtterance = 1
  private var texts: [UtteranceID: String] = [:]
  private var started: (utterance: UtteranceID, sample: Int)?
  private var sample = 0
  private var index = 0
  private var isClosed = false
  private var metrics = SessionMetrics()

  package static func open(_ engine: MockEngine, _ request: AvatarRequest) async throws -> MockSession {
    let session = MockSession(try await engine.open(request), engine.information)
    Task { await session.run() }
    return session
  }

  private init(_ engine: any EngineSession, _ information: EngineInformation) {
    self.engine = engine
    format = StreamFormat(
      size: engine.size, framesPerSecond: information.framesPerSecond, sampleRate: information.sampleRate)
  }

  package func send(_ command: SessionCommand) async {
    switch command {
    case .text(let text), .say(let text):
      let utterance = UtteranceID(rawValue: nextUtterance)
      nextUtterance += 1
      texts[utterance] = text
      move(.thinking)
      tell(.avatarTranscript(utterance, delta: text, at: 0))
      await engine.append(Self.hum(text.count), to: utterance)
      await engine.finish(utterance)
    case .interrupt:
      await engine.interrupt()
      tell(.playbackCleared(sample: sample))
      finish(wasInterrupted: true)
    case .appendUserAudio(let sound):
      if sound.samples.contains(where: { abs($0) > 0.05 }), state == .idle {
        move(.listening)
        tell(.userSpeechStarted)
      }
    case .commitUserAudio:
      tell(.userSpeechStopped)
      if state == .listening { move(.idle) }
    case .close: await close(.client)
    default: break
    }
  }

  package func events() -> AsyncStream<SessionEvent> {
    let (stream, continuation) = AsyncStream.makeStream(of: SessionEvent.self, bufferingPolicy: .bufferingOldest(1_000))
    guard !isClosed else {
      continuation.finish()
      return stream
    }
    let number = reader()
    eventReaders[number] = continuation
    continuation.onTermination = { _ in Task { await self.forget(number) } }
    continuation.yield(.state(state))
    return stream
  }

  package func frames() -> AsyncStream<MediaFrame> {
    let (stream, continuation) = AsyncStream.makeStream(of: MediaFrame.self, bufferingPolicy: .bufferingNewest(16))
    guard !isClosed else {
      continuation.finish()
      return stream
    }
    let number = reader()
    frameReaders[number] = continuation
    continuation.onTermination = { _ in Task { await self.forget(number) } }
    return stream
  }

  package func close(_ reason: CloseReason) async {
    guard !isClosed else { return }
    isClosed = true
    await engine.close()
    finish(wasInterrupted: true)
    tell(.closed(reason))
    for reader in eventReaders.values { reader.finish() }
    for reader in frameReaders.values { reader.finish() }
    (eventReaders, frameReaders) = ([:], [:])
  }

  private func reader() -> Int {
    nextReader += 1
    return nextReader
  }

  private func forget(_ number: Int) {
    eventReaders[number] = nil
    frameReaders[number] = nil
  }

  private func move(_ new: ConversationState) {
    guard new != state else { return }
    state = new
    tell(.state(new))
  }

  private func tell(_ event: SessionEvent) { for reader in eventReaders.values { reader.yield(event) } }

  private func run() async {
    let start = ContinuousClock.now
    do {
      while !isClosed {
        let block = try await engine.nextBlock()
        metrics.blocks += 1
        (metrics.steps, metrics.framesPerSecond) = (block.metrics.steps, block.metrics.framesPerSecond)
        for frame in block.frames {
          let due = start + .seconds(Double(sample) / Double(format.sampleRate))
          if ContinuousClock.now > due + .milliseconds(250) { metrics.missedDeadlines += 1 }
          try? await Task.sleep(until: due, clock: .continuous)
          guard !isClosed else { return }
          play(frame)
        }
        tell(.metrics(metrics))
      }
    } catch {
      if let error = error as? SessionError, !isClosed { tell(.error(error)) }
      await close(.failed)
    }
  }

  private func play(_ frame: OutputFrame) {
    if let utterance = frame.utterance, started?.utterance != utterance {
      started = (utterance, sample)
      move(.speaking)
      tell(.playbackStarted(utterance, sample: sample))
    }
    let out = MediaFrame(
      index: index, sample: sample, picture: frame.picture, samples: frame.samples, utterance: frame.utterance)
    for reader in frameReaders.values { reader.yield(out) }
    index += 1
    sample += frame.samples.count
    if frame.endsUtterance { finish(wasInterrupted: false) }
  }

  private func finish(wasInterrupted: Bool) {
    if let started {
      tell(
        .playbackFinished(
          started.utterance, playedSeconds: Double(sample - started.sample) / Double(format.sampleRate),
          wasInterrupted: wasInterrupted, text: texts[started.utterance] ?? ""))
      texts[started.utterance] = nil
    }
    started = nil
    move(.idle)
  }

  private static func hum(_ letters: Int) -> PCM {
    let rate = MockEngine.sampleRate
    let samples = (0..<(max(1, min(letters, 100)) * rate / 10)).map { index in
      let time = Float(index) / Float(rate)
      let envelope = 0.5 + 0.5 * Float(sinCosine(time * 25))
      return 0.3 * envelope * Float(sinCosine(time * 900))
    }
    return PCM(samples, rate: rate)
  }
}

/// A sine by its series, so that the mock needs no library.
private func sinCosine(_ angle: Float) -> Float {
  let turns = angle / (2 * .pi)
  let phase = (turns - turns.rounded(.down)) * 2 - 1
  return -4 * phase * (1 - abs(phase))
}

/// A voice that hums.
package struct MockVoice: Voice {
  package init() {}

  package func speech(of text: String) -> AsyncThrowingStream<SpeechEvent, any Error> {
    AsyncThrowingStream { continuation in
      continuation.yield(.text(text, at: 0))
      continuation.yield(
        .sound(PCM(Array(repeating: 0.1, count: 16_000 * max(1, min(text.count, 50)) / 10), rate: 16_000)))
      continuation.yield(.done)
      continuation.finish()
    }
  }
}
