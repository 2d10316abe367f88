import Testing

@testable import WebRTC

/// At 8 kHz a tick has 160 samples; a picture at 16 a second has 500.
struct PlayoutQueueTests {
  private var queue = PlayoutQueue(sampleRate: 8000)

  private mutating func give(_ number: Int, level: Float = 0.5) {
    queue.append(pixels: [UInt8(number % 256)], samples: Array(repeating: level, count: 500), at: number * 500)
  }

  @Test("What is empty is silence, without end")
  mutating func silence() {
    for _ in 0..<3 {
      let tick = queue.next()
      #expect(tick.samples == Array(repeating: 0, count: 160))
      #expect(tick.pictures.isEmpty && tick.played == nil)
    }
    #expect(queue.underruns == 0)
  }

  @Test("Every sample is sent once and in order, and each picture with its first sample")
  mutating func order() {
    for number in 0..<16 {
      queue.append(
        pixels: [UInt8(number)], samples: (0..<500).map { Float(number * 500 + $0) / 32768 }, at: number * 500)
    }
    #expect(queue.next().played == nil, "the first tick waits for what comes late")
    var samples: [Int16] = []
    var shown: [Int] = []
    for _ in 0..<50 {
      let tick = queue.next()
      for picture in tick.pictures {
        #expect(samples.count + picture.offset == Int(picture.pixels[0]) * 500)
        shown.append(Int(picture.pixels[0]))
      }
      samples += tick.samples
      #expect(tick.played == samples.count)
    }
    #expect(samples == (0..<8000).map { Int16($0) })
    #expect(shown == Array(0..<16))
    #expect(queue.count == 0)
  }

  @Test("A frame that comes too late leaves a gap, and only that one")
  mutating func underrun() {
    give(0)
    _ = queue.next()
    var ticks = (0..<4).map { _ in queue.next() }
    #expect(ticks.map(\.played) == [160, 320, 480, 500])
    #expect(ticks[3].samples.prefix(20).allSatisfy { $0 != 0 } && ticks[3].samples.dropFirst(20).allSatisfy { $0 == 0 })
    #expect(queue.underruns == 1)
    give(1)
    ticks = (0..<2).map { _ in queue.next() }
    #expect(ticks.map(\.played) == [nil, 660])
    #expect(queue.underruns == 1)
  }

  @Test("Frames that come with a jitter of 15 ms make it run dry once at most, also after an interruption")
  mutating func steady() {
    var given = 0
    // In milliseconds: a frame every 62.5, late by up to 15.
    for time in 0..<10_000 {
      let late = [0, 7, 15, 3, 11][given % 5]
      if Double(time) >= Double(given) * 62.5 + Double(late) {
        give(given)
        given += 1
      }
      if time % 20 == 0 { _ = queue.next() }
      if time == 5020 { queue.clear(from: .min) }
    }
    #expect(queue.underruns <= 1)
    #expect(queue.count < 1000)
  }

  @Test("Clearing drops all that waits, fades out in 5 ms, and says where it was")
  mutating func clear() {
    for number in 0..<10 { give(number) }
    _ = queue.next()
    #expect(queue.next().played == 160)
    queue.clear(from: .min)
    #expect(queue.count == 0)
    let tick = queue.next()
    #expect(tick.played == nil)
    #expect(tick.samples[0] > 15_000)
    #expect(zip(tick.samples, tick.samples.dropFirst()).allSatisfy { $0 >= $1 })
    #expect(tick.samples.dropFirst(40).allSatisfy { $0 == 0 })
    #expect(queue.next().samples == Array(repeating: 0, count: 160))
    // What comes then is sent at once, whatever its number.
    give(3)
    _ = queue.next()
    #expect(queue.next().played == 3 * 500 + 160)
  }

  @Test("Clearing from a sample keeps what is before it")
  mutating func clearFrom() {
    for number in 0..<4 { give(number) }
    queue.clear(from: 700)
    #expect(queue.count == 700)
    _ = queue.next()
    var played: Int?
    for _ in 0..<5 { played = queue.next().played ?? played }
    #expect(played == 700)
  }

  @Test("Silence that a standing delay does not need is skipped, speech is not", arguments: [Float(0), 0.5])
  mutating func standing(level: Float) {
    var given = 0
    for _ in 0..<8 {
      give(given, level: level)
      given += 1
    }
    for time in 0..<20_000 {
      if Double(time) >= Double(given - 8) * 62.5 {
        give(given, level: level)
        given += 1
      }
      if time % 20 == 0 { _ = queue.next() }
    }
    #expect(level == 0 ? queue.count <= 3 * 160 + 500 + 160 : queue.count > 3500, "\(queue.count) samples wait")
    #expect(queue.underruns == 0)
  }

  @Test("What is no number is silent, what is too loud is clipped")
  mutating func values() {
    queue.append(pixels: [0], samples: [.nan, .infinity, 2, -2] + Array(repeating: 0, count: 156), at: 0)
    _ = queue.next()
    #expect(queue.next().samples.prefix(4) == [0, 0, 32767, -32768])
  }
}
