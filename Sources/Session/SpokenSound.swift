/// The sound of an utterance: kept until it is over, because a false interruption goes on where it was.
struct SpokenSound {
  let id: UtteranceID
  private(set) var rate = 0
  private(set) var samples: [Float] = []
  var isWhole = false
  /// What the engine calls what was given to it: a number that is used up when speech is stopped.
  var segment: UtteranceID?
  /// Seconds of the utterance before the segment.
  var base = 0.0
  /// Samples that were given to the engine or need not be, and whether it knows that they are all.
  var given = 0
  var isFinished = false

  init(_ id: UtteranceID) { self.id = id }

  var seconds: Double { rate > 0 ? Double(samples.count) / Double(rate) : 0 }

  /// - Returns: whether the rate is that of the sound before.
  mutating func append(_ sound: PCM) -> Bool {
    if rate == 0 { rate = sound.rate }
    guard rate == sound.rate else { return false }
    samples += sound.samples
    return true
  }

  /// The sound that is still to be given.
  mutating func takeRest() -> PCM {
    defer { given = samples.count }
    return PCM(Array(samples[given...]), rate: max(rate, 1))
  }

  /// Goes back: what comes after so many seconds is given again.
  mutating func restart(from seconds: Double) {
    given = min(samples.count, Int((seconds * Double(rate)).rounded()))
    base = Double(given) / Double(max(rate, 1))
    (segment, isFinished) = (nil, false)
  }
}

/// Readers of one series of values.
struct Readers<Value: Sendable> {
  private var continuations: [Int: AsyncStream<Value>.Continuation] = [:]
  private var last = 0
  private var isOver = false

  /// A stream of the values from now on, after the given ones.
  mutating func add(
    _ policy: AsyncStream<Value>.Continuation.BufferingPolicy, first: [Value] = []
  ) -> AsyncStream<Value> {
    let (stream, continuation) = AsyncStream.makeStream(of: Value.self, bufferingPolicy: policy)
    for value in first { continuation.yield(value) }
    if isOver {
      continuation.finish()
    } else {
      last += 1
      continuations[last] = continuation
    }
    return stream
  }

  /// - Parameter cutsOff: whether a reader that is full is given up; else it loses values.
  mutating func yield(_ value: Value, cutsOff: Bool) {
    for (number, continuation) in continuations {
      switch continuation.yield(value) {
      case .terminated: continuations[number] = nil
      case .dropped where cutsOff:
        continuation.finish()
        continuations[number] = nil
      default: break
      }
    }
  }

  mutating func finish() {
    isOver = true
    for continuation in continuations.values { continuation.finish() }
    continuations = [:]
  }
}
