import Basics
import Foundation
package import Models
package import Torch

// Letters: B batch, C channels, T video frames, F latent frames, H and W pixels, h and w latent pixels.

/// Weights of the terms of the autoencoder's loss.
package struct VAELossSettings: CheckedSettings {
  /// L1 of pixels.
  package var absolute = 1.0
  /// MSE of pixels.
  package var squared = 1.0
  /// KL divergence of the posterior from the standard normal distribution.
  package var divergence = 1e-6
  /// Scale of the posterior's deviation when latents are sampled; below 1 the decoder learns sooner.
  package var noise = 1.0
  /// How much of another moment of the clip is mixed into latents, at half of the places up to this share: what a transformer
  /// predicts of a face that moves is not of one moment everywhere, and a decoder that has seen such latents shows no seams there.
  package var mixing = 0.0
  /// L1 of spatial differences: sharp edges.
  package var edges = 0.5
  /// L1 of temporal differences: no shimmer.
  package var motion = 0.5
  /// Weights of pixels, for clips with `FaceTruth`.
  package var regions = FaceRegionSettings()

  package init() {}

  package func check(_ check: inout ConfigurationCheck) {
    check.notNegative("absolute", absolute)
    check.notNegative("squared", squared)
    check.notNegative("divergence", divergence)
    check.notNegative("noise", noise)
    check.require((0...1).contains(mixing), "mixing", mixing, mustBe: "from 0 to 1")
    check.notNegative("edges", edges)
    check.notNegative("motion", motion)
    check.settings("regions", regions)
    check.require(absolute + squared > 0, "absolute", absolute, mustBe: "above 0 where 'squared' is 0")
  }
}

/// The autoencoder's loss: reconstruction from sampled latents, and KL divergence.
package struct VAEObjective: Sendable {
  package let settings: VAELossSettings

  package init(_ settings: VAELossSettings = VAELossSettings()) { self.settings = settings }

  package struct Outcome: Sendable {
    /// The weighted sum of the terms.
    package let loss: Tensor
    /// The terms before their weights and the PSNR, detached, to log.
    package let parts: [(name: String, value: Tensor)]
    /// `[B, 3, T, H, W]`, not clamped, detached.
    package let reconstruction: Tensor
  }

  /// - Parameters:
  ///   - video: `[B, 3, T, H, W]` in [-1, 1]; frames past the last 4n + 1 are ignored.
  ///   - weights: of the pixels, `[B, 1, T, H, W]`; nil for uniform ones.
  ///   - generator: on the model's device.
  package func callAsFunction(
    _ vae: WanVAE, video: Tensor, weights: Tensor? = nil, _ generator: RandomGenerator
  ) -> Outcome {
    let (mean, logVariance) = posterior(vae.moments(video: video))  // [B, C, F, h, w]
    let noise = generator.normal(mean.shape, mean.dtype) * settings.noise
    let latent = mixed(mean + (logVariance * 0.5).exp() * noise, generator)
    let output = wide(vae.reconstruct(latent))  // [B, 3, T, H, W]
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

  /// Latents with other moments of their clips at some places, `[B, C, F, h, w]`. The first frame stays: it stands for one picture,
  /// the others for several.
  private func mixed(_ latent: Tensor, _ generator: RandomGenerator) -> Tensor {
    let frames = latent.size(2) - 1
    guard settings.mixing > 0, frames > 1 else { return latent }
    let moving = latent.narrow(2, 1, frames)
    let shift = generator.integers(1..<frames, [1]).intItem
    let other = Tensor.cat([moving.narrow(2, shift, frames - shift), moving.narrow(2, 0, shift)], 2)
    let places = [latent.size(0), 1, frames, latent.size(3), latent.size(4)]
    let share = (generator.uniform(places, latent.dtype) * 2 - 1).clamp(0, 1) * settings.mixing
    return Tensor.cat([latent.narrow(2, 0, 1), moving + (other - moving) * share], 2)
  }

  /// PSNR in dB: of the whole picture, and of mouths where they have a weight of their own.
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

  /// KL(N(mean, exp(logVariance)) ‖ N(0, 1)) in nats per latent value.
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
  /// The normalisation of latents: mean and divisor per channel, over the posterior means of all clips.
  ///
  /// The divisor is √(σ · mean σ), not σ: strong channels stay stronger. A transformer's errors are about equal in all channels; of all
  /// divisors that give latents a mean square of 1, these minimise the squared error in the autoencoder's own units.
  ///
  /// - Parameter clips: videos `[B, 3, T, H, W]` in [-1, 1], one after the other in memory.
  /// - Throws: `LiveTalkError` where there is no clip, or a channel is the same everywhere.
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
      // Parallel variance (Chan et al. 1979).
      let total = count + values
      for (channel, (newMean, newSquare)) in zip(newMeans, newSquares).enumerated() {
        let distance = newMean - mean[channel]
        mean[channel] += distance * values / total
        squares[channel] += newSquare + distance * distance * count * values / total
      }
      count = total
    }
    guard count > 0 else { throw LiveTalkError("There is no clip to measure latents over.") }
    let deviation = squares.map { ($0 / count).squareRoot() }
    let average = deviation.reduce(0, +) / Double(channels)
    self.init(mean: mean, deviation: deviation.map { ($0 * average).squareRoot() })
    if let problem { throw LiveTalkError("The autoencoder is not trained enough: \(problem).") }
  }
}
