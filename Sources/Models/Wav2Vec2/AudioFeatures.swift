import Foundation
import Torch

/// What is done to a sound before the speech encoder.
public enum AudioFeatures {
  /// Video frames of so many latent frames: one for the first, four for each further one.
  public static func videoFrames(latentFrames: Int) -> Int { 4 * latentFrames - 3 }

  /// Samples that a video of so many latent frames takes.
  public static func sampleCount(latentFrames: Int, framesPerSecond: Double, sampleRate: Int = 16_000) -> Int {
    Int(Double(4 * latentFrames - 4) / framesPerSecond * Double(sampleRate))
  }

  /// The part of a sound that a video takes. A shorter sound stays as it is: its features are stretched over the video.
  public static func trimmed(
    _ samples: [Float], latentFrames: Int, framesPerSecond: Double, sampleRate: Int = 16_000
  ) -> [Float] {
    let count = sampleCount(latentFrames: latentFrames, framesPerSecond: framesPerSecond, sampleRate: sampleRate)
    return Array(samples.prefix(max(count, 0)))
  }

  /// The samples with zero mean and unit (population) variance, `[S]`; 1e-7 keeps silence finite.
  public static func normalized(_ samples: [Float]) -> Tensor {
    let x = Tensor(samples).to(.float64)
    let centred = x - x.mean()
    return (centred / (centred.square().mean() + 1e-7).sqrt()).to(.float32)
  }
}
