import Foundation
import Testing
import Torch

@testable import Engine
@testable import Generation
@testable import Session

/// A conversation over the real engine, on a simulated clock: three minutes, or as many as LIVETALK_LIVE_MINUTES says.
@Suite struct EndlessLiveTests {
  @Test func `sound and picture stay together, and memory does not grow`() async throws {
    let minutes = ProcessInfo.processInfo.environment["LIVETALK_LIVE_MINUTES"].flatMap(Int.init) ?? 3
    let engine = try await smallEngine()
    let device = try await engine.open(request())
    let clock = MockClock()
    let session = LiveSession(
      engine: device, information: engine.information, parts: LiveParts(responder: Silent()), clock: clock,
      starts: false)
    var reader = await session.frames().makeAsyncIterator()
    var (expected, heard, largest, sent) = (0, 0.0, 0.0, 0)
    var memory: [Int] = []
    for minute in 0..<minutes {
      await session.send(.appendSpeech(speech(7.3, rate: 22_050)))
      await session.send(.finishSpeech)
      for _ in 0..<(60 * 16) {
        await session.produce()
        let before = await session.nextIndex
        guard await session.playNext() else { break }
        guard await session.nextIndex > before, let frame = await reader.next() else { continue }
        sent += 1
        #expect(frame.sample == expected)
        expected = frame.sample + frame.samples.count
        let due = await session.origin! + Double(frame.sample) / 48_000
        largest = max(largest, abs(clock.now + 0.06 - due))
        if frame.utterance != nil { heard += Double(frame.samples.count) / 48_000 }
      }
      memory.append(Device.cpu.memory.current)
      if minute % 10 == 9 { print("minute \(minute + 1): \(memory[minute] / 1_000_000) MB, drift \(largest) s") }
    }
    #expect(largest <= 0.04 && sent > minutes * 300)
    #expect(abs(heard - 7.3 * Double(minutes)) <= 0.07 * Double(minutes))
    // Buffers find their sizes in the first minute.
    if let first = memory.dropFirst().first, let last = memory.last {
      #expect(Double(last) <= Double(first) * 1.03, "\(memory.map { $0 / 1_000_000 }) MB")
    }
    print("live: \(sent) pictures, \(largest) s off, \(memory.map { $0 / 1_000_000 }) MB")
    await session.close(.client)
    #expect(await engine.load().sessions == 0)
  }
}
