import Foundation
package import NN
package import Torch

// The causal video autoencoders of Wan 2.1 (arXiv 2503.20314, section 4.1) and Wan 2.2; keys as in the published Wan2.1_VAE and
// Wan2.2_VAE. What Wan 2.2 has beyond Wan 2.1 is in WanVAEResidual.swift.
//
// Letters: B batch, C channels, T video frames, F latent frames, H and W pixels, h and w latent pixels.

/// A Wan autoencoder: pixels `[B, 3, T, H, W]` in [-1, 1] to normalised latents `[B, C, F, h, w]` and back, T = 4F - 3.
///
/// Causal in time: a frame depends on itself and earlier ones only, so that a video can be decoded as it comes
/// (`stream()`). It computes in the type of its weights, whatever the input has. All of it can be differentiated.
package struct WanVAE: Sendable {
  package let configuration: WanVAEConfiguration
  let encoder: WanVAEEncoder
  let decoder: WanVAEDecoder
  let toMoments: CausalConvolution  // "conv1"
  let fromLatent: CausalConvolution  // "conv2"

  package init(_ configuration: WanVAEConfiguration, _ path: ParameterPath) {
    self.configuration = configuration
    let channels = configuration.latentChannels
    encoder = WanVAEEncoder(configuration, path / "encoder")
    toMoments = CausalConvolution(2 * channels, 2 * channels, kernel: [1, 1, 1], path / "conv1")
    fromLatent = CausalConvolution(channels, channels, kernel: [1, 1, 1], path / "conv2")
    decoder = WanVAEDecoder(configuration, path / "decoder")
  }

  /// The model that `weights` hold, its sizes read off their shapes.
  ///
  /// - Parameters:
  ///   - name: what errors call the weights, such as a file.
  ///   - statistics: of its latents, where they are not the published ones.
  /// - Throws: `TorchError` or `CheckpointMismatch`, which lists every missing, misshaped and unused key.
  package init(
    weights: [String: Tensor], name: String, statistics: LatentStatistics? = nil, device: Device = .cpu,
    dtype: DType? = nil
  ) throws {
    let store = ParameterStore(weights: weights, name: name, device: device, dtype: dtype)
    self.init(try WanVAEConfiguration(readingFrom: weights, statistics: statistics), store.root)
    try store.finish()
  }

  package var dtype: DType { fromLatent.weight.dtype }
  package var device: Device { fromLatent.weight.device }

  /// An image `[B, 3, 1, H, W]` in [-1, 1] as a normalised latent `[B, C, 1, h, w]`.
  package func encode(image: Tensor) -> Tensor {
    require(image.size(2) == 1, "An image is one frame.")
    return encode(video: image)
  }

  /// A video `[B, 3, T, H, W]` in [-1, 1] as a normalised latent `[B, C, 1 + (T-1)/4, h, w]`, without sampling.
  ///
  /// Frames after the last whole group of 4 are ignored, as the reference does.
  package func encode(video: Tensor) -> Tensor {
    let (mean, inverseDeviation) = latentConstants
    return (moments(video: video).narrow(1, 0, configuration.latentChannels) - mean) * inverseDeviation
  }

  /// The mean and the log-variance `[B, 2C, F, h, w]` of the latent distribution, mean first, not normalised.
  package func moments(video: Tensor) -> Tensor { moments(video: video, tap: nil) }

  package func moments(video: Tensor, tap: WanVAETap?) -> Tensor {
    let group = configuration.framesPerGroup
    let frames = 1 + (video.size(2) - 1) / group * group
    let framesPerPass = max(1, WanVAEConfiguration.latentFramesPerPass * configuration.temporalStride / group) * group
    var cache = FeatureCache()
    var parts: [Tensor] = []
    var start = 0
    while start < frames {
      // The first frame is a group of its own.
      let end = min(frames, start == 0 ? framesPerPass - group + 1 : start + framesPerPass)
      let pixels = video.narrow(2, start, end - start).to(device, dtype)
      parts.append(encoder(pixels.folded(configuration.patchSize), &cache, tap))
      start = end
    }
    let moments = toMoments(joined(parts))
    tap?("moments", moments)
    return moments
  }

  /// A normalised latent `[B, C, F, h, w]` as a video `[B, 3, 4F - 3, H, W]`, in [-1, 1] with `clamped`.
  package func decode(_ latent: Tensor, clamped: Bool = true) -> Tensor {
    decode(latent, clamped: clamped, stream())
  }

  /// A latent as the moments have it, not normalised, as a video, not clamped: what the autoencoder is trained with.
  package func reconstruct(_ sample: Tensor) -> Tensor {
    decode(sample, clamped: false, WanVAEDecodeStream(self, takesNormalised: false))
  }

  private func decode(_ latent: Tensor, clamped: Bool, _ fresh: WanVAEDecodeStream) -> Tensor {
    var stream = fresh
    let pass = WanVAEConfiguration.latentFramesPerPass
    return joined(
      Swift.stride(from: 0, to: latent.size(2), by: pass).map {
        stream.decode(latent.narrow(2, $0, min(pass, latent.size(2) - $0)), clamped: clamped)
      })
  }

  /// A decoder that is given the latent frames of one video as they come.
  package func stream() -> WanVAEDecodeStream { WanVAEDecodeStream(self) }

  /// Decoded video `[1, 3, T, H, W]` in [-1, 1] as 8-bit RGB `[T, H, W, 3]`, rounded towards zero as the reference rounds.
  package static func pixels(_ video: Tensor) -> Tensor {
    require(video.rank == 5 && video.size(0) == 1, "Pixels are those of one video.")
    let unit = (video.select(0, 0).permute(1, 2, 3, 0).to(.float32) * 0.5 + 0.5).clamp(0, 1)
    return (unit * 255).to(.uint8).contiguous()
  }

  /// The mean and the reciprocal of the deviation `[1, C, 1, 1, 1]`. The reciprocal is rounded to the model's type before use.
  package var latentConstants: (mean: Tensor, inverseDeviation: Tensor) {
    func row(_ values: [Double]) -> Tensor { Tensor(values, [1, values.count, 1, 1, 1]).to(dtype).to(device) }
    return (row(configuration.latentMean), row(configuration.latentDeviation).reciprocal())
  }

  private func joined(_ parts: [Tensor]) -> Tensor { parts.count == 1 ? parts[0] : Tensor.cat(parts, 2) }
}

/// Is told the name and the value of an intermediate result.
package typealias WanVAETap = (_ name: String, _ value: Tensor) -> Void
