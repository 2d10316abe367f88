import Foundation
import Testing

@testable import Evaluation

@Suite struct SeriesMatchTests {
  /// Something like the opening of a mouth.
  private func series(_ count: Int, shift: Double = 0, pace: Double = 1) -> [Double] {
    (0..<count).map { (frame: Int) -> Double in
      let t = (Double(frame) - shift) * pace
      let (fast, faster, slow) = (sin(0.5 * t), sin(0.93 * t + 2), sin(0.31 * t + 3))
      return fast + 0.7 * faster + 0.4 * slow
    }
  }

  @Test func `correlation is what the formula says`() throws {
    // By hand: a − 2 = (−1, 0, 1), b − 3 = (−1, 1, 0); their product sums to 1, their squares to 2.
    let value = try #require(correlation([1, 2, 3], [2, 4, 3]))
    #expect(abs(value - 0.5) < 1e-12)
    let line = series(40)
    #expect(abs(try #require(correlation(line, line.map { 3 - 2 * $0 })) + 1) < 1e-12)
    #expect(correlation(line, [Double](repeating: 0.1, count: 40)) == nil)
    #expect(correlation([1, 2], [1, 2]) == nil && correlation([1, 2, 3], [1, 2]) == nil)
  }

  @Test(arguments: [-3.0, -1, 0, 0.5, 2, 4.25])
  func `a shift is found to a fraction of a frame`(shift: Double) throws {
    let match = try #require(
      SeriesMatch(read: series(160, shift: shift), known: series(160), framesPerSecond: 16))
    // Late is positive; a parabola is not quite the shape of the top.
    #expect(abs(match.lag - shift * 62.5) < 6, "\(match.lag)")
    #expect(match.best > 0.97 && match.best <= 1 && match.correlation <= match.best + 1e-9)
  }

  @Test func `another clip's sound does not fit`() throws {
    let (known, other) = (series(160), series(160, pace: 1.37))
    let read = MouthSeries(open: known, width: known.map { -$0 })
    let truth = MouthSeries(open: known, width: known)
    let sync = try #require(
      LipSync(read: read, truth: truth, other: MouthSeries(open: other, width: other), framesPerSecond: 16))
    let width = try #require(sync.width)
    #expect(abs(sync.opening.correlation - 1) < 1e-9 && abs(width.correlation + 1) < 1e-9)
    #expect(abs(try #require(sync.control).correlation) < 0.3)
    let still = MouthSeries(open: [Double](repeating: 0, count: 160), width: known)
    #expect(LipSync(read: still, truth: truth, other: nil, framesPerSecond: 16) == nil)
  }

  @Test func `the envelope of a sound is its level in every frame`() {
    // Frames of 1000 samples: silent, loud, 20 dB less, 60 dB less.
    let levels: [Float] = [0, 0.5, 0.05, 0.0005]
    var samples: [Float] = []
    for level in levels {
      for index in 0..<1000 { samples.append(index % 2 == 0 ? level : -level) }
    }
    let envelope = speechEnvelope(samples, sampleRate: 16_000, frames: 5, framesPerSecond: 16)
    #expect(envelope.count == 5 && envelope[0] == 0 && envelope[1] == 1 && envelope[3] == 0 && envelope[4] == 0)
    #expect(abs(envelope[2] - 0.5) < 1e-6)
    let silence = speechEnvelope([Float](repeating: 0, count: 4000), sampleRate: 16_000, frames: 4, framesPerSecond: 16)
    #expect(silence == [0, 0, 0, 0])
  }

  @Test func `a mouth that closes in silence follows the speech`() throws {
    let envelope = (0..<64).map { (frame: Int) -> Double in
      let isSilent = (frame / 8) % 2 == 0
      return isSilent ? 0 : 0.5 + 0.5 * Double(frame % 2)
    }
    let follows = try #require(
      SpeechFollowing(opening: envelope.map { 0.1 + 0.5 * $0 }, envelope: envelope, other: nil, framesPerSecond: 16))
    #expect(abs(follows.envelope.correlation - 1) < 1e-9)
    #expect(abs(try #require(follows.silentOpening) - 0.1 / 0.475) < 1e-9)
    let open = try #require(
      SpeechFollowing(opening: envelope.map { 0.6 - 0.1 * $0 }, envelope: envelope, other: nil, framesPerSecond: 16))
    #expect(open.envelope.correlation < -0.9 && (open.silentOpening ?? 0) > 1)
  }
}
