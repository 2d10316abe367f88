/// What waits to be sent: pictures, each with the sound that is heard while it is shown.
///
/// It is emptied in ticks of 20 ms. Where nothing waits, a tick is silence, so that the sound sent never stops. Before it begins it
/// waits for some ticks, which take up the jitter of what comes in: one at first, and one more each time that was too little. Silence that a
/// standing delay does not need is skipped.
struct PlayoutQueue: Sendable {
  struct Picture: Sendable, Equatable {
    /// RGB8.
    let pixels: [UInt8]
    /// Samples from the tick's first one.
    let offset: Int
  }

  struct Tick: Sendable, Equatable {
    var samples: [Int16]
    var pictures: [Picture] = []
    /// The stream's sample that follows the last one sent; nil where nothing of the stream was.
    var played: Int?
  }

  private struct Chunk {
    var pixels: [UInt8]?
    /// Those not yet sent.
    var samples: ArraySlice<Int16>
    /// The stream's number of the first of them.
    var sample: Int
  }

  /// Samples of one tick: 20 ms, as Opus packets have.
  let tickSamples: Int
  private var chunks: [Chunk] = []
  private var isPlaying = false
  /// Ticks to wait before beginning, those of them still to come, and the most.
  private var patience = 1
  private var waiting = 1
  private static let mostPatience = 5
  /// The least that waited after a tick, over the last ticks, in samples.
  private var least = Int.max
  private var ticks = 0
  /// Samples to be skipped where there is silence.
  private var excess = 0
  /// What is faded out after `clear`.
  private var tail: [Int16] = []

  /// Samples that wait.
  private(set) var count = 0
  /// Ticks that were silent because the next frame came too late.
  private(set) var underruns = 0

  /// - Parameter sampleRate: a multiple of 50.
  init(sampleRate: Int) {
    precondition(sampleRate > 0 && sampleRate % 50 == 0, "20 ms are a whole number of samples")
    tickSamples = sampleRate / 50
  }

  /// A picture that is shown when the first of its samples is heard.
  mutating func append(pixels: [UInt8], samples: [Float], at sample: Int) {
    let pulses = samples.map { value -> Int16 in
      value.isFinite ? Int16(min(max((value * 32768).rounded(), -32768), 32767)) : 0
    }
    chunks.append(Chunk(pixels: pixels, samples: pulses[...], sample: sample))
    count += pulses.count
  }

  /// Drops what waits from a sample of the stream on. What is heard at that moment fades out within 5 ms.
  mutating func clear(from sample: Int) {
    guard let first = chunks.firstIndex(where: { $0.sample + $0.samples.count > sample }) else { return }
    if first == 0, chunks[0].sample >= sample {
      let length = tickSamples / 4
      let heard = chunks.lazy.flatMap(\.samples).prefix(length)
      tail = heard.enumerated().map { Int16(Int($1) * (length - $0) / length) }
    }
    var kept = Array(chunks[..<first])
    if chunks[first].sample < sample {
      var cut = chunks[first]
      cut.samples = cut.samples.prefix(sample - cut.sample)
      kept.append(cut)
    }
    chunks = kept
    count = chunks.reduce(0) { $0 + $1.samples.count }
    if chunks.isEmpty { (isPlaying, waiting) = (false, patience) }
  }

  mutating func next() -> Tick {
    guard isPlaying else {
      if !chunks.isEmpty { waiting -= 1 }
      isPlaying = waiting <= 0
      return Tick(samples: silence())
    }
    if chunks.isEmpty {
      runDry()
      return Tick(samples: silence())
    }
    skipStandingSilence()
    var tick = Tick(samples: [])
    while tick.samples.count < tickSamples, !chunks.isEmpty {
      if let pixels = chunks[0].pixels {
        tick.pictures.append(Picture(pixels: pixels, offset: tick.samples.count))
        chunks[0].pixels = nil
      }
      let taken = min(tickSamples - tick.samples.count, chunks[0].samples.count)
      tick.samples += chunks[0].samples.prefix(taken)
      chunks[0].samples = chunks[0].samples.dropFirst(taken)
      chunks[0].sample += taken
      count -= taken
      tick.played = chunks[0].sample
      if chunks[0].samples.isEmpty { chunks.removeFirst() }
    }
    if tick.samples.count < tickSamples {
      tick.samples += Array(repeating: 0, count: tickSamples - tick.samples.count)
      runDry()
    }
    return tick
  }

  /// The gap itself makes the delay longer; the next beginning has to know.
  private mutating func runDry() {
    underruns += 1
    patience = min(patience + 1, Self.mostPatience)
    (isPlaying, waiting) = (false, 1)
  }

  private mutating func silence() -> [Int16] {
    defer { tail = [] }
    return tail + Array(repeating: 0, count: tickSamples - tail.count)
  }

  /// Where over a second more than three ticks always waited, what is beyond two of them goes, as soon as it is silent.
  private mutating func skipStandingSilence() {
    least = min(least, count)
    ticks += 1
    if ticks >= 50 {
      excess = least > 3 * tickSamples ? least - 2 * tickSamples : 0
      if excess > 0 { patience = max(patience - 1, 1) }
      (least, ticks) = (.max, 0)
    }
    guard excess >= tickSamples, chunks[0].pixels == nil, chunks[0].samples.count > tickSamples,
      chunks[0].samples.prefix(tickSamples).allSatisfy({ abs(Int($0)) < 64 })
    else { return }
    chunks[0].samples = chunks[0].samples.dropFirst(tickSamples)
    chunks[0].sample += tickSamples
    count -= tickSamples
    excess -= tickSamples
  }
}
