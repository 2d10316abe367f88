import Foundation
import Models
import Torch

// Letters: B batch, C channels, T video frames, F latent frames, H and W pixels, h and w latent pixels.

/// How much each part of the autoencoder's loss counts.
package struct VAELossSettings: CheckedSettings {
  /// Mean absolute difference of pixels.
  package var absolute = 1.0
  /// Mean squared difference of pixels.
  package var squared = 1.0
  /// Mean divergence of a latent's distribution from the standard normal one. It keeps latents bounded, and no more.
  package var divergence = 1e-6
  /// How much of a latent's deviation is drawn; below 1 training begins sooner to see through the noise.
  package var noise = 1.0
  /// Mean absolute difference of the differences between neighbouring pixels: edges stay sharp.
  package var edges = 0.5
  /// The same between neighbouring frames: what is still does not shimmer.
  package var motion = 0.5
  /// Where a pixel's difference counts more; of drawn people, whose faces are known.
  package var regions = FaceRegionSettings()

  package init() {}

  package func check(_ check: inout ConfigurationCheck) {
    check.notNegative("absolute", absolute)
    check.notNegative("squared", squared)
    check.notNegative("divergence", divergence)
    check.notNegative("noise", noise)
    check.notNegative("edges", edges)
    check.notNegative("motion", motion)
    check.settings("regions", regions)
    check.require(absolute + squared > 0, "absolute", absolute, mustBe: "above 0 where 'squared' is 0")
  }
}

/// What the autoencoder is trained with: videos are drawn from their latent distribution and should come out as they were.
package struct VAEObjective: Sendable {
  package let settings: VAELossSettings

  package init(_ settings: VAELossSettings = VAELossSettings()) { self.settings = settings }

  /// The loss of one step, its parts, and what came out.
  package struct Outcome: Sendable {
    /// The weighted sum, from which gradients flow.
    package let loss: Tensor
    /// Each part before its weight and the quality in dB, outside the graph, for the log.
    package let parts: [(name: String, value: Tensor)]
    /// `[B, 3, T, H, W]`, not clamped, outside the graph.
    package let reconstruction: Tensor
  }

  /// - Parameters:
  ///   - video: `[B, 3, T, H, W]` in [-1, 1]; frames past the last whole group of 4 after the first count for nothing.
  ///   - weights: of the pixels, `[B, 1, T, H, W]`; nil for all the same. The log has the parts with them.
  ///   - generator: draws the noise; on the device of the model.
  package func callAsFunction(
    _ vae: WanVAE, video: Tensor, weights: Tensor? = nil, _ generator: RandomGenerator
  ) -> Outcome {
    let (mean, logVariance) = posterior(vae.moments(video: video))  // [B, C, F, h, w]
    let noise = generator.normal(mean.shape, mean.dtype) * settings.noise
    let output = wide(vae.reconstruct(mean + (logVariance * 0.5).exp() * noise))  // [B, 3, T, H, W]
    let target = wide(video.narrow(2, 0, output.size(2)).to(vae.device)).to(output.dtype)
    let plain = output - target
    let weights = weights?.narrow(2, 0, output.size(2)).to(output.device, output.dtype)
    let difference = weights.map { plain * $0 } ?? plain
    var parts = [
      (name: "absolute", weight: settings.absolute, value: difference.abs().mean()),
      (name: "squared", weight: settings.squared, value: (difference * plain).mean()),
      (name: "divergence", weight: settings.divergence, value: divergence(mean, logVariance)),
      (
        name: "edges", weight: settings.edges,
        value: (meanChange(difference, along: 3) + meanChange(difference, along: 4)) * 0.5
      ),
    ]
    if output.size(2) > 1 { parts.append(("motion", settings.motion, meanChange(difference, along: 2))) }
    let loss = parts.dropFirst().reduce(parts[0].value * parts[0].weight) { $0 + $1.value * $1.weight }
    let quality = withGradients(false) { decibels(plain, weights) }
    return Outcome(
      loss: loss, parts: parts.map { ($0.name, $0.value.detach()) } + quality, reconstruction: output.detach())
  }

  /// Peak signal-to-noise ratios in dB: of the whole picture, and of the mouths' boxes where there are any.
  private func decibels(_ difference: Tensor, _ weights: Tensor?) -> [(name: String, value: Tensor)] {
    let squares = difference.detach().square()
    func ratio(_ meanSquare: Tensor) -> Tensor { (meanSquare / 4).clamp(1e-10, 1).log() * (-10 / Foundation.log(10.0)) }
    var ratios = [(name: "psnr", value: ratio(squares.mean()))]
    if let weights, settings.regions.mouth > max(settings.regions.eyes, 1) {
      let mouth = (weights .>= settings.regions.mouth).to(squares.dtype)
      let count = mouth.sum() * Double(squares.size(1))
      ratios.append(("psnrMouth", ratio((squares * mouth).sum() / count.clamp(1, .infinity))))
    }
    return ratios
  }

  /// The mean and the log-variance, in fp32 at least. The variance is bounded so that an untrained encoder stays finite.
  private func posterior(_ moments: Tensor) -> (mean: Tensor, logVariance: Tensor) {
    let halves = wide(moments).chunks(2, 1)
    return (halves[0], halves[1].clamp(-30, 20))
  }

  /// Of N(mean, exp(logVariance)) from N(0, 1), in nats per number of the latent.
  private func divergence(_ mean: Tensor, _ logVariance: Tensor) -> Tensor {
    (mean.square() + logVariance.exp() - 1 - logVariance).mean() * 0.5
  }

  /// The differences of two videos' neighbours are the neighbours' difference of their difference.
  private func meanChange(_ difference: Tensor, along dim: Int) -> Tensor {
    let count = difference.size(dim) - 1
    return (difference.narrow(dim, 1, count) - difference.narrow(dim, 0, count)).abs().mean()
  }

  private func wide(_ x: Tensor) -> Tensor { x.dtype.size < 4 ? x.to(.float32) : x }
}

extension LatentStatistics {
  /// The statistics by which a transformer's latents are normalised, of what an encoder gives over all clips, without sampling.
  ///
  /// A channel is not divided by its own deviation, but by the root of that times the channels' mean deviation: strong channels stay
  /// stronger. A transformer errs alike in all channels, more or less; of all divisors that leave latents a mean square of 1, these
  /// let the errors have the smallest sum of squares in the autoencoder's own units.
  ///
  /// - Parameter clips: videos `[B, 3, T, H, W]` in [-1, 1], one after the other in memory.
  /// - Throws: `TrainingError` where there is no clip, or a channel is the same everywhere.
  package init(of vae: WanVAE, over clips: some Sequence<Tensor>) throws {
    let channels = vae.configuration.latentChannels
    var count = 0.0
    var mean = [Double](repeating: 0, count: channels)
    var squares = mean  // of the distances from the mean
    for clip in clips {
      let (values, newMeans, newSquares) = withInferenceMode {
        let latent = vae.moments(video: clip).narrow(1, 0, channels).to(.float64)
        let values = latent.count / channels
        let variance = latent.variance(0, 2, 3, 4, unbiased: false)
        return (
          Double(values), latent.mean(0, 2, 3, 4).array(Double.self), (variance * Double(values)).array(Double.self)
        )
      }
      // Two sets' squares add up, and those of the distance between their means (Chan et al. 1979).
      let total = count + values
      for (channel, (newMean, newSquare)) in zip(newMeans, newSquares).enumerated() {
        let distance = newMean - mean[channel]
        mean[channel] += distance * values / total
        squares[channel] += newSquare + distance * distance * count * values / total
      }
      count = total
    }
    guard count > 0 else { throw TrainingError("There is no clip to measure latents over.") }
    let deviation = squares.map { ($0 / count).squareRoot() }
    let average = deviation.reduce(0, +) / Double(channels)
    self.init(mean: mean, deviation: deviation.map { ($0 * average).squareRoot() })
    if let problem { throw TrainingError("The autoencoder is not trained enough: \(problem).") }
  }
}
