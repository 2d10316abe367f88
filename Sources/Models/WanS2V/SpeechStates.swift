import Basics
package import Torch

// S hidden states, T places at 50 a second, N video frames, E width of a state.

/// Features of speech for Wan2.2-S2V: all hidden states of the speech encoder for each video frame.
package enum SpeechStates {
  /// Places per second of the encoder's own, and of the resampled states that frames are taken from.
  static let (encoderRate, resampledRate) = (50, 30)

  /// All hidden states of a sound as a whole, `[S, T, E]`.
  ///
  /// - Parameter known: mean and variance of the sound that these samples are a part of; nil for their own.
  /// - Throws: `LiveTalkError` for a sound too short to have a single place.
  package static func states(
    _ encoder: Wav2Vec2, _ samples: [Float], normalisedBy known: (mean: Double, variance: Double)? = nil
  ) throws -> Tensor {
    let least = encoder.configuration.receptiveField
    guard samples.count >= least else {
      throw LiveTalkError("A sound of \(samples.count) samples cannot be encoded: it takes at least \(least).")
    }
    let input = known.map { AudioFeatures.normalized(samples, $0) } ?? AudioFeatures.normalized(samples)
    return Tensor.cat(encoder.hiddenStates(input.unsqueeze(0)), 0)
  }

  /// States `[S, T, E]` at 50 a second stretched to 30 a second, from the first to the last.
  package static func resampled(_ states: Tensor) -> Tensor {
    let count = Int(Double(states.size(1)) / Double(encoderRate) * Double(resampledRate))
    return states.transpose(1, 2).interpolateLinear(count, alignCorners: true).transpose(1, 2)
  }

  /// Which of the places at 30 a second each video frame takes: the nearest one, with nothing between.
  package static func places(frames: Int, framesPerSecond: Int) -> [Int] {
    (0..<frames).map { Int((Double($0) / Double(framesPerSecond) * Double(resampledRate)).rounded(.toNearestOrEven)) }
  }

  /// Features of so many video frames, `[1, N, S·E]`, as the published code makes them of a whole sound; zeros past its end.
  package static func features(_ states: Tensor, frames: Int, framesPerSecond: Int = 25) -> Tensor {
    let rows = resampled(states).transpose(0, 1).flatten(1)  // [T30, S·E]
    let places = places(frames: frames, framesPerSecond: framesPerSecond).prefix { $0 < rows.size(0) }
    let taken = rows.indexSelect(0, Tensor(Array(places), device: rows.device))
    return taken.pad(0, 0, 0, frames - taken.size(0)).unsqueeze(0)
  }

  /// Features of frames that are so many samples apart, from a part of a longer sound whose mean and variance are known, `[1, N, S·E]`.
  ///
  /// - Throws: `LiveTalkError` for a sound too short to have a single place.
  package static func features(
    _ encoder: Wav2Vec2, _ samples: [Float], frames: Int, normalisedBy known: (mean: Double, variance: Double),
    samplesPerFrame: Double
  ) throws -> Tensor {
    let states = try states(encoder, samples, normalisedBy: known)
    return states.permute(0, 2, 1).flatten(0, 1).unsqueeze(0).linearSamples(
      frames, every: samplesPerFrame / Double(encoder.configuration.hop))
  }

  /// Features `[1, N, width]` with so many copies of the first row before it.
  package static func leading(_ features: Tensor, by count: Int) -> Tensor {
    guard count > 0 else { return features }
    let first = features.narrow(1, 0, 1)
    return Tensor.cat([first.expand(first.size(0), count, first.size(2)), features], 1)
  }

  /// Clips that the published systems make of a sound of so many places at 50 a second: always one more than it fills.
  package static func publishedClips(places: Int, framesPerClip: Int) -> Int {
    let resampled = Int(Double(places) / Double(encoderRate) * Double(resampledRate))
    return Int(Double(resampled) / (Double(framesPerClip) * 1.2)) + 1
  }
}
