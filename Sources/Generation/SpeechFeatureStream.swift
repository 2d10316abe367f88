package import Models
package import Torch

/// Features of speech as it comes, block by block: each block is encoded in a window of some sound before it and a bounded
/// look-ahead, so that an endless session costs the same for every block.
///
/// Samples are normalised by all that was heard up to the window's end, as a whole clip is by all of it; a window alone would raise
/// silence to the level of speech. The result does not depend on the sizes in which sound arrives.
package struct SpeechFeatureStream {
  /// What a block is encoded with.
  package struct Window: Hashable, Sendable {
    /// Seconds of sound before the block.
    package var past: Double
    /// Seconds behind it: how long a block waits for sound beyond its own.
    package var lookAhead: Double

    package init(past: Double = 2, lookAhead: Double = 0.4) {
      (self.past, self.lookAhead) = (past, lookAhead)
    }
  }

  /// Index of the next block.
  package private(set) var block = 0

  /// Features `[1, N, width]` of N frames from samples with known mean and variance, frames so many samples apart.
  typealias Encode =
    @Sendable (
      _ encoder: Wav2Vec2, _ samples: [Float], _ frames: Int, _ known: (mean: Double, variance: Double),
      _ samplesPerFrame: Double
    ) throws -> Tensor

  private let encoder: Wav2Vec2
  private let encode: Encode
  /// Copies of the first frame's row that stand before it in the first block.
  private let leadingRows: Int
  private let geometry: LatentGeometry
  private let framesPerBlock: Int
  private let window: Window
  private var framesPerSecond: Int
  /// A frame and the sample at which it begins: frames are counted on from there.
  private var anchor = (frame: 0, sample: 0)
  /// Samples that a feature sees from its place on.
  private let reach: Int
  private var samples: [Float] = []
  /// Samples that are no longer kept, before `samples`.
  private var forgotten = 0
  private var hasEnded = false
  private var loudness = SoundStatistics()

  package init(
    _ encoder: Wav2Vec2, geometry: LatentGeometry = .livetalk, framesPerBlock: Int? = nil, window: Window = Window()
  ) {
    self.init(encoder, geometry: geometry, framesPerBlock: framesPerBlock, window: window, leadingRows: 0) {
      try $0.encode($1, frameCount: $2, normalisedBy: $3, samplesPerFrame: $4)
    }
  }

  /// - Parameters:
  ///   - leadingRows: copies of the first frame's row that stand before it in the first block.
  ///   - encode: what a family makes of sound.
  init(
    _ encoder: Wav2Vec2, geometry: LatentGeometry, framesPerBlock: Int?, window: Window = Window(), leadingRows: Int,
    encode: @escaping Encode
  ) {
    self.encoder = encoder
    self.encode = encode
    self.leadingRows = leadingRows
    self.geometry = geometry
    self.framesPerBlock = framesPerBlock ?? geometry.framesPerBlock
    self.window = window
    framesPerSecond = geometry.framesPerSecond
    // The last frame's feature sees a little past its own place.
    reach = encoder.configuration.receptiveField
  }

  private var pastFrames: Int { Int((window.past * Double(framesPerSecond)).rounded()) }
  private var lookAheadFrames: Int {
    let seconds = window.lookAhead - Double(reach) / Double(geometry.sampleRate)
    return max(0, Int((seconds * Double(framesPerSecond)).rounded(.down)))
  }

  /// Lets frames follow one another at another distance from the next block on.
  package mutating func setFramesPerSecond(_ rate: Int) {
    guard rate != framesPerSecond else { return }
    anchor = (firstFrame, sample(firstFrame))
    framesPerSecond = rate
  }

  /// Takes further samples, any number of them.
  package mutating func append(_ new: some Sequence<Float>) {
    require(!hasEnded, "The sound has ended.")
    samples.append(contentsOf: new)
  }

  /// Takes silence between utterances, which says nothing about how loud the speech is.
  package mutating func append(silence count: Int) {
    let start = forgotten + samples.count
    loudness.ignore(start..<start + count)
    append(repeatElement(0, count: count))
  }

  /// Says that no more sound will come: the blocks that are left are encoded with silence behind it.
  package mutating func end() { hasEnded = true }

  /// The features of the next block, `[1, frames, audioInputDim]`, or nil where its sound and look-ahead are not there yet.
  ///
  /// - Throws: `LiveTalkError` for frames too short to be encoded.
  package mutating func next() throws -> Tensor? {
    try next(before: nil)
  }

  /// The features of the next block, whose own sound must be there. The look-ahead is what is there and then `following`, which is not
  /// kept: a live session does not know yet what will be said next.
  package mutating func next(before following: [Float]) throws -> Tensor? { try next(before: .some(following)) }

  private mutating func next(before following: [Float]?) throws -> Tensor? {
    let frames = geometry.videoFrames(inBlock: block, framesPerBlock: framesPerBlock)
    let first = firstFrame
    let last = first + frames - 1
    let end = last + lookAheadFrames
    let lacking = sample(end) + reach - forgotten - samples.count
    var ahead: [Float] = []
    if lacking > 0, let following {
      guard sample(last + 1) - forgotten <= samples.count else { return nil }
      ahead = Array(following.prefix(lacking))
      ahead += [Float](repeating: 0, count: lacking - ahead.count)
    } else if lacking > 0 {
      guard hasEnded else { return nil }
      samples += [Float](repeating: 0, count: lacking)
    }
    let start = max(0, first - pastFrames)
    forget(before: sample(start))
    let known = Array(samples.prefix(sample(end) + reach - forgotten))
    loudness.take(known, from: forgotten)
    let features = try encode(
      encoder, known + ahead, end - start + 1, loudness.meanAndVariance,
      Double(geometry.sampleRate) / Double(framesPerSecond))
    defer { block += 1 }
    let own = features.narrow(1, first - start, frames)
    return block == 0 ? SpeechStates.leading(own, by: leadingRows) : own
  }

  /// Of the next block.
  private var firstFrame: Int { block == 0 ? 0 : geometry.videoFrames(latentFrames: block * framesPerBlock) }

  /// Where the sound of a frame begins.
  private func sample(_ frame: Int) -> Int {
    anchor.sample + (frame - anchor.frame) * geometry.sampleRate / framesPerSecond
  }

  private mutating func forget(before sample: Int) {
    let sample = min(sample, forgotten + samples.count)
    guard sample > forgotten else { return }
    samples.removeFirst(sample - forgotten)
    forgotten = sample
  }
}

/// Mean and variance of all samples so far.
private struct SoundStatistics {
  /// Samples seen, and those of them that count.
  private var (seen, count, sum, squares) = (0, 0, 0.0, 0.0)
  /// What does not count, by its samples' numbers, in order.
  private var ignored: [Range<Int>] = []

  mutating func ignore(_ range: Range<Int>) {
    if let last = ignored.last, last.upperBound == range.lowerBound {
      ignored[ignored.count - 1] = last.lowerBound..<range.upperBound
    } else {
      ignored.append(range)
    }
  }

  /// Takes those of `samples`, whose first has the number `start`, that are new.
  mutating func take(_ samples: some Collection<Float>, from start: Int) {
    for sample in samples.dropFirst(max(0, seen - start)) {
      defer { seen += 1 }
      while let range = ignored.first, range.upperBound <= seen { ignored.removeFirst() }
      if let range = ignored.first, range.contains(seen) { continue }
      sum += Double(sample)
      squares += Double(sample) * Double(sample)
      count += 1
    }
  }

  var meanAndVariance: (mean: Double, variance: Double) {
    let mean = sum / Double(max(count, 1))
    return (mean, max(0, squares / Double(max(count, 1)) - mean * mean))
  }
}
