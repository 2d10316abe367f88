import Media
import Session

/// Sound of a stream at another rate.
struct SoundResampler {
  private let resampler: Resampler
  private let rate: Int

  init(from source: Int, to rate: Int) throws {
    resampler = try Resampler(from: source, to: rate)
    self.rate = rate
  }

  /// What is ready behind these samples; nil ends the sound and gives the rest.
  func push(_ samples: [Float]?) throws -> PCM {
    var output: [Float] = []
    if let samples {
      try samples.withUnsafeBufferPointer { try resampler.push($0, into: &output) }
    } else {
      try resampler.push(nil, into: &output)
    }
    return PCM(output, rate: rate)
  }

  /// A whole sound at another rate.
  static func whole(_ sound: PCM, at rate: Int) throws -> PCM {
    guard sound.rate != rate else { return sound }
    let resampler = try SoundResampler(from: sound.rate, to: rate)
    return PCM(try resampler.push(sound.samples).samples + resampler.push(nil).samples, rate: rate)
  }
}
