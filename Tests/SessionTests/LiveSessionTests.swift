import Basics
import MockEngine
import Synchronization
import Testing

@testable import Session

@Suite struct LiveSessionTests {
  private func isLoud(_ frame: MediaFrame) -> Bool { frame.samples.contains { $0.magnitude > 0.1 } }

  @Test func `frames follow one another without a gap, each with its sound`() async throws {
    let stage = try await Stage()
    await stage.play(1)
    await stage.session.send(.say("Hello."))
    await stage.settle()
    await stage.play(3)
    let frames = stage.frames
    #expect(frames.count > 60 && frames.map(\.index) == Array(0..<frames.count))
    #expect(zip(frames, frames.dropFirst()).allSatisfy { $0.sample + $0.samples.count == $1.sample })
    let spoken = frames.filter { $0.utterance == first }
    #expect(spoken.flatMap(\.samples) == tone(1).samples)
    // The picture of the pattern is as bright as its own sound is loud.
    for frame in frames {
      let loudest = stride(from: 0, to: 3000, by: 10).reduce(0) { max($0, frame.samples[$1].magnitude) }
      let level = Int(min(loudest, 1) * 15)
      #expect(frame.picture.bytes[3 * (32 * 64 + 32)] == UInt8(17 * level))
    }
    let events = await stage.allEvents()
    #expect(events.contains(.playbackStarted(first, sample: spoken[0].sample)))
    #expect(events.contains(.playbackFinished(first, playedSeconds: 1, wasInterrupted: false, text: "Hello.")))
    #expect(events.last == .closed(.client))
  }

  @Test func `speech begins within a picture of being ready, whatever silence waits`() async throws {
    let stage = try await Stage()
    await stage.play(1.3)
    let asked = stage.clock.now
    await stage.session.send(.say("Hello."))
    await stage.settle()
    await stage.play(0.25)
    let spoken = try #require(stage.frames.first { $0.utterance == first })
    let sentAt = await stage.session.origin! + Double(spoken.sample) / 48_000 - 0.06
    #expect(sentAt - asked <= 0.13)
  }

  @Test func `never more than a block is generated ahead`() async throws {
    let stage = try await Stage()
    await stage.session.send(.appendSpeech(tone(20)))
    await stage.session.send(.finishSpeech)
    for _ in 0..<100 {
      await stage.play(0.0625)
      #expect(await stage.session.queue.seconds <= 1.5)
      let made = await Double(stage.session.metrics.blocks) * 0.75
      let played = Double(stage.frames.count) / 16
      #expect(made - played <= 1.5)
    }
  }

  @Test func `an interruption is heard within a picture, and the client is told what to drop`() async throws {
    let echo = Echo(answer: [.text("One two three four."), .sound(tone(4)), .done])
    let stage = try await Stage(echo: echo)
    await stage.session.send(.text("Hello."))
    await stage.settle()
    await stage.play(2)
    #expect(isLoud(try #require(stage.frames.last)))
    await stage.session.send(.interrupt)
    let cut = stage.frames.count
    await stage.play(1)
    #expect(!stage.frames[cut...].dropFirst().contains { isLoud($0) })
    #expect(stage.frames[cut...].allSatisfy { $0.utterance == nil })
    await stage.settle()
    let truncated = echo.state.withLock { $0.truncated.first }
    let played = try #require(truncated)
    #expect(played.0 == first && abs(played.1 - 1.9) < 0.2 && played.2 == "One two")
    let events = await stage.allEvents()
    #expect(finished(events) == [first] && events.contains { if case .playbackCleared = $0 { true } else { false } })
    #expect(await stage.engine.pending == 0)
  }

  @Test func `cutting off fades the sound within 10 ms`() async throws {
    let stage = try await Stage()
    await stage.session.send(.appendSpeech(tone(4)))
    await stage.play(1)
    await stage.session.send(.interrupt)
    let cut = stage.frames.count
    await stage.play(0.2)
    let samples = stage.frames[cut].samples
    #expect(samples[0].magnitude > 0.1 && samples[480...].allSatisfy { $0 == 0 })
    let steps = zip(samples, samples.dropFirst()).map { ($0 - $1).magnitude }
    #expect(try #require(steps.max()) < 0.01)
  }

  @Test func `the user's speech ducks the avatar at once, stops it after half a second, and is answered`() async throws
  {
    let echo = Echo(answer: [.text("Yes."), .sound(tone(6)), .done])
    let stage = try await Stage(echo: echo)
    await stage.session.send(.text("Hello."))
    await stage.settle()
    await stage.play(4)
    let before = stage.frames.count
    await stage.play(0.25, hearing: 0.5)
    let quiet = stage.frames[before...].last!
    #expect(quiet.samples.allSatisfy { $0.magnitude < 0.06 } && quiet.utterance == first)
    await stage.play(0.75, hearing: 0.5)
    #expect(await stage.session.conversation.state == .listening)
    await stage.play(0.75, hearing: 0)
    await stage.settle()
    let requests = echo.state.withLock { $0.requests }
    #expect(requests.count == 2 && requests[1].text == nil)
    let sound = try #require(requests[1].sound)
    #expect((1.0...2.2).contains(sound.seconds) && sound.rate == 16_000)
    await stage.play(1)
    #expect(try #require(stage.frames.last).utterance == second)
    #expect(echo.state.withLock { $0.heard } > 16_000)
  }

  @Test func `a prepared answer is played as soon as the turn is over, and not before`() async throws {
    let echo = Echo(answer: [.text("Yes."), .sound(tone(2)), .done])
    let stage = try await Stage(echo: echo)
    await stage.play(1, hearing: 0)
    await stage.play(1, hearing: 0.5)
    let end = stage.frames.count
    await stage.play(0.3125, hearing: 0)
    await stage.settle()
    #expect(echo.state.withLock { $0.requests.count } == 1)
    await stage.play(0.125, hearing: 0)
    #expect(await stage.session.queue.frames.contains { $0.utterance == first }, "its first block is made")
    await stage.play(1.5, hearing: 0)
    let spoken = try #require(stage.frames.firstIndex { $0.utterance == first })
    // 0.512 s of silence, and what the sound and the pictures do not meet by.
    #expect((8...10).contains(spoken - end), "\(spoken - end) pictures after the last word")
    #expect(await stage.session.metrics.heldFrames == 0)
    let samples = stage.frames[spoken...].prefix { $0.utterance == first }.flatMap(\.samples)
    #expect(Array(tone(2).samples.prefix(samples.count)) == samples && samples.count > 40_000)
  }

  @Test func `a user who goes on after a pause does not hear what was prepared`() async throws {
    let echo = Echo(answer: [.text("Yes."), .sound(tone(2)), .done])
    let stage = try await Stage(echo: echo)
    await stage.play(1, hearing: 0)
    await stage.play(1, hearing: 0.5)
    await stage.play(0.3125, hearing: 0)
    await stage.settle()
    await stage.play(0.125, hearing: 0)
    await stage.play(1, hearing: 0.5)
    #expect(stage.frames.allSatisfy { $0.utterance == nil && !isLoud($0) })
    #expect(await stage.session.metrics.heldFrames == 0)
    await stage.play(0.3125, hearing: 0)
    await stage.settle()
    await stage.play(1, hearing: 0)
    #expect(try #require(stage.frames.last).utterance == second)
    let requests = echo.state.withLock { $0.requests }
    #expect(requests.count == 2 && requests[1].sound!.seconds > requests[0].sound!.seconds + 1, "the whole turn")
    let events = await stage.allEvents()
    #expect(!events.contains { if case .playbackCleared = $0 { true } else { false } }, "the client had none of it")
  }

  @Test func `after a false interruption the avatar goes on where it was`() async throws {
    let echo = Echo(hears: false, answer: [.text("Yes."), .sound(tone(8)), .done])
    let stage = try await Stage(echo: echo, transcriber: Dictation(words: ""))
    await stage.session.send(.text("Hello."))
    await stage.settle()
    await stage.play(4)
    await stage.play(0.7, hearing: 0.5)
    await stage.settle()
    #expect(await stage.session.conversation.held != nil)
    await stage.play(0.5, hearing: 0)
    #expect(try #require(stage.frames.last).utterance == nil)
    for _ in 0..<8 {
      await stage.play(0.5, hearing: 0)
      await stage.settle()
    }
    await stage.play(4, hearing: 0)
    let spoken = stage.frames.filter { $0.utterance == first }.flatMap(\.samples)
    // Every sample was heard once, to a picture.
    #expect(abs(spoken.count - tone(8).samples.count) <= 3 * 3000)
    let events = await stage.allEvents()
    #expect(finished(events) == [first])
    #expect(
      events.contains { if case .playbackFinished(_, let seconds, false, _) = $0 { seconds == 8 } else { false } })
  }

  @Test func `a client that tells what it played decides what was heard`() async throws {
    let stage = try await Stage()
    await stage.session.send(.played(sample: 0))
    await stage.session.send(.say("Hello."))
    await stage.settle()
    await stage.play(0.8)
    #expect(await stage.session.conversation.utterances.first?.isHeard == false)
    let spoken = try #require(stage.frames.first { $0.utterance == first })
    await stage.session.send(.played(sample: spoken.sample + 24_000))
    #expect(await abs(stage.session.conversation.utterances[0].played - 0.5) < 0.001)
    await stage.session.send(.played(sample: 1_000_000_000))
    await stage.session.send(.interrupt)
    let events = await stage.allEvents()
    #expect(events.contains { if case .error(let error) = $0 { error.code == .badSound } else { false } })
    #expect(
      events.contains { if case .playbackFinished(first, let seconds, true, _) = $0 { seconds == 0.5 } else { false } })
  }

  @Test func `a client that falls silent about what it played is not waited for`() async throws {
    let stage = try await Stage()
    await stage.session.send(.played(sample: 0))
    await stage.session.send(.say("Hello."))
    await stage.settle()
    await stage.play(4)
    #expect(finished(await stage.allEvents()) == [first])
  }

  @Test func `an answer that breaks off ends with an apology`() async throws {
    let echo = Echo(answer: [.text("Well"), .sound(tone(0.5))])
    echo.state.withLock { $0.failure = SessionError(.responderFailed, "Gone.") }
    let stage = try await Stage(echo: echo)
    await stage.session.send(.text("Hello."))
    await stage.settle()
    await stage.play(4)
    #expect(stage.frames.contains { $0.utterance == second })
    let events = await stage.allEvents()
    #expect(finished(events) == [first, second] && events.contains(.error(SessionError(.responderFailed, "Gone."))))
  }

  @Test func `an interruption cancels the answer that is on its way`() async throws {
    let echo = Echo(answer: [.sound(tone(0.5))])  // and never anything more
    let stage = try await Stage(echo: echo)
    await stage.session.send(.text("Hello."))
    await stage.settle()
    await stage.session.send(.interrupt)
    await stage.settle()
    #expect(echo.state.withLock { $0.wasCancelled })
  }

  @Test func `closing ends all streams and gives everything back`() async throws {
    let stage = try await Stage()
    await stage.play(1)
    await stage.session.close(.draining)
    let isOver = await stage.session.playNext()
    #expect(!isOver && stage.echo.state.withLock { $0.isClosed })
    await #expect(throws: SessionError.self) { try await stage.engine.nextBlock() }
    var late = await stage.session.events().makeAsyncIterator()
    _ = await late.next()
    #expect(await late.next() == nil)
  }

  @Test func `bad sound and long texts are refused with a code`() async throws {
    var settings = LiveSettings()
    settings.longestUtterance = 1
    let stage = try await Stage(settings: settings)
    await stage.session.send(.appendUserAudio(PCM([0], rate: 48_000)))
    await stage.session.send(.appendUserAudio(PCM([.nan], rate: 16_000)))
    await stage.session.send(.say(String(repeating: "a", count: 4_097)))
    await stage.session.send(.appendSpeech(tone(2)))
    await stage.session.send(.setAvatar("nobody"))
    let codes = await stage.allEvents().compactMap { if case .error(let error) = $0 { error.code } else { nil } }
    #expect(codes == [.badSound, .badSound, .tooMuch, .tooMuch, .unknownAvatar])
  }

  @Test func `a slow engine holds the picture and the sound, and both stay together`() async throws {
    let clock = MockClock()
    let host = MockEngine(clock: clock)
    let engine = try host.open(
      AvatarRequest(picture: Picture(width: 1, height: 1, bytes: [0, 0, 0]), prompt: ""))
    let session = LiveSession(
      engine: engine, information: host.information, parts: LiveParts(responder: Echo()), clock: clock, starts: false)
    await session.produce()
    _ = await session.playNext()
    // Nothing is produced for two seconds: 12 pictures wait, the rest is held.
    for _ in 0..<32 { _ = await session.playNext() }
    let metrics = await session.metrics
    #expect(metrics.missedDeadlines == 1 && metrics.heldFrames > 15)
    // The computer stood still for three seconds: one frame makes up for it.
    clock.pass(3)
    _ = await session.playNext()
    let due = await session.origin! + Double(session.nextSample) / 48_000
    #expect(abs(due - clock.now - 0.06) <= 0.0625)
  }

  @Test func `after an hour sound and picture are where the clock is, and nothing has grown`() async throws {
    let stage = try await Stage(sampleRate: 8000)
    for _ in 0..<60 {
      stage.frames = []
      await stage.session.send(.appendSpeech(tone(5, rate: 11_025)))
      await stage.session.send(.finishSpeech)
      await stage.play(60)
      let last = try #require(stage.frames.last)
      let due = await stage.session.origin! + Double(last.sample) / 8000
      #expect(abs(stage.clock.now + 0.06 - due) <= 0.04)
      #expect(abs(stage.frames.filter { $0.utterance != nil }.count - 80) <= 1)
    }
    #expect(stage.clock.now > 3599)
    #expect(await stage.session.sounds.isEmpty)
    #expect(await stage.session.leaving.count <= 1)
    #expect(await stage.session.metrics.missedDeadlines == 0)
  }

  @Test func `a session plays by itself in real time`() async throws {
    let host = MockEngine()
    let engine = try host.open(
      AvatarRequest(picture: Picture(width: 1, height: 1, bytes: [0, 0, 0]), prompt: ""))
    let session = LiveSession(
      engine: engine, information: host.information, parts: LiveParts(responder: Echo(), voice: Beep()))
    var count = 0
    let start = ContinuousClock.now
    var speaking: Int?
    await session.send(.say("Hello."))
    for await frame in await session.frames() {
      count += 1
      if frame.utterance != nil, speaking == nil { speaking = count }
      if count == 20 { break }
    }
    let took = ContinuousClock.now - start
    let first = try #require(speaking)
    #expect(took > .seconds(1) && first <= 8, "silence gave way to speech")
    await session.close(.client)
    #expect(host.openSessions == 0)
  }
}

@Suite struct SpeechQueueTests {
  private let two = UtteranceID(rawValue: 2)

  @Test func `an utterance begins with a picture of its own and its last one is filled up`() {
    var queue = SpeechQueue(rate: 6, driveRate: 2)
    queue.append([1, 1, 1, 1, 1, 1, 1], drive: [1, 1, 1], to: first)
    #expect(!queue.isReady(for: 2) && queue.next(1, driveSamples: 1, readyFor: 2)[0].utterance == nil)
    queue.finish(first)
    queue.append([2, 2, 2], drive: [2], to: two)
    queue.finish(two)
    let pieces = queue.next(5, driveSamples: 1, readyFor: 2)
    #expect(pieces.map(\.utterance) == [first, first, first, two, nil])
    #expect(
      pieces.map(\.offset) == [0, 3, 6, 0, 0] && pieces.map(\.endsUtterance) == [false, false, true, true, false])
    #expect(pieces[2].samples == [1, 0, 0] && pieces.allSatisfy { $0.samples.count == 3 && $0.drive.count == 1 })
  }

  @Test func `late sound is waited for in silence, and what follows is known without being taken`() {
    var queue = SpeechQueue(rate: 2, driveRate: 2)
    queue.append([1, 2, 3], drive: [1, 2, 3], to: first)
    #expect(queue.following(2) == [0, 0], "what has not begun does not drive anything yet")
    #expect(!queue.isSpeaking)
    #expect(queue.next(3, driveSamples: 1, readyFor: 1).map(\.samples) == [[1], [2], [3]])
    #expect(queue.next(1, driveSamples: 1, readyFor: 1)[0].utterance == nil)
    #expect(queue.isSpeaking)
    queue.append([4, 5], drive: [4, 5], to: first)
    #expect(queue.following(3) == [4, 5, 0])
    #expect(queue.next(1, driveSamples: 1, readyFor: 1)[0].offset == 3)
    queue.interrupt()
    queue.append([6], drive: [6], to: first)
    #expect(queue.seconds == 0 && !queue.isReady(for: 0) && !queue.isSpeaking)
  }
}
