import Foundation
import NN
import Torch

// The causal video autoencoder of Wan 2.1 (arXiv 2503.20314, section 4.1; keys as in the published Wan2.1_VAE).
//
// Letters: B batch, C channels, T video frames, F latent frames, H and W pixels, h and w latent pixels.

/// What a Wan autoencoder is made of. Every size can be read off its weights.
///
/// The published code also names scales with attention outside the middle; it has none, and cannot run with any.
public struct WanVAEConfiguration: Equatable, Sendable {
  /// Channels at full resolution ("dim").
  public let width: Int
  /// Channels of a latent ("z_dim").
  public let latentChannels: Int
  /// Channels of each level as a multiple of `width`, full resolution first ("dim_mult").
  public let widthMultipliers: [Int]
  /// Residual blocks of a level in the encoder; the decoder has one more ("num_res_blocks").
  public let residualBlocks: Int
  /// Whether the step from one level to the next also halves the frames ("temperal_downsample").
  public let temporalDownsampling: [Bool]
  /// The mean and the standard deviation of each latent channel, by which latents are normalised.
  public let latentMean: [Double]
  public let latentDeviation: [Double]

  /// - Parameters:
  ///   - latentMean: by default what Wan 2.1 was published with, for 16 channels; else zeros.
  ///   - latentDeviation: by default what Wan 2.1 was published with, for 16 channels; else ones.
  public init(
    width: Int, latentChannels: Int, widthMultipliers: [Int], residualBlocks: Int,
    temporalDownsampling: [Bool], latentMean: [Double]? = nil, latentDeviation: [Double]? = nil
  ) {
    self.width = width
    self.latentChannels = latentChannels
    self.widthMultipliers = widthMultipliers
    self.residualBlocks = residualBlocks
    self.temporalDownsampling = temporalDownsampling
    let published = latentChannels == Self.publishedMean.count
    self.latentMean =
      latentMean ?? (published ? Self.publishedMean : [Double](repeating: 0, count: latentChannels))
    self.latentDeviation =
      latentDeviation ?? (published ? Self.publishedDeviation : [Double](repeating: 1, count: latentChannels))
  }

  /// The published model: 126,892,531 parameters.
  public static let wan21 = WanVAEConfiguration(
    width: 96, latentChannels: 16, widthMultipliers: [1, 2, 4, 4], residualBlocks: 2,
    temporalDownsampling: [false, true, true])

  private static let publishedMean = [
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922,
    -0.9497, 0.2503, -0.2921,
  ]
  private static let publishedDeviation = [
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253,
    2.8251, 1.9160,
  ]

  /// Pixels along one side of a latent pixel.
  public var spatialStride: Int { 1 << (widthMultipliers.count - 1) }
  /// Video frames of every latent frame but the first, which is one video frame.
  public var temporalStride: Int { 1 << temporalDownsampling.count { $0 } }
  /// Video frames that are encoded together after the first; what does not fill a group is dropped. The reference takes 4.
  var framesPerGroup: Int { max(4, temporalStride) }

  /// Channels of each level, full resolution first.
  var levelWidths: [Int] { widthMultipliers.map { $0 * width } }
}

// MARK: - Read off the weights

extension WanVAEConfiguration {
  /// The configuration that `weights`, keyed as published, have the shapes of.
  ///
  /// What the shapes contradict elsewhere is found when the model is loaded.
  /// - Parameter statistics: of its latents; without any, what `init` takes by default.
  /// - Throws: `TorchError` where the tensors that tell the sizes are not there, or the statistics are not those of its channels.
  public init(readingFrom weights: [String: Tensor], statistics: LatentStatistics? = nil) throws {
    func length(_ key: String) throws -> Int {
      guard let tensor = weights[key], tensor.rank > 0, tensor.size(0) > 0 else {
        throw TorchError("The weights are no Wan autoencoder: there is no '\(key)'.")
      }
      return tensor.size(0)
    }
    let width = try length("encoder.conv1.weight")
    var multipliers: [Int] = []
    var temporal: [Bool] = []
    var residualBlocks = 0
    var blocksHere = 0
    for index in 0... {
      let element = "encoder.downsamples.\(index)"
      if weights["\(element).residual.2.weight"] != nil {
        let channels = try length("\(element).residual.2.weight")
        guard channels % width == 0 else {
          throw TorchError(
            "The weights are no Wan autoencoder: '\(element)' has \(channels) channels, not a multiple of \(width).")
        }
        if blocksHere == 0 { multipliers.append(channels / width) }
        blocksHere += 1
        residualBlocks = max(residualBlocks, blocksHere)
      } else if weights["\(element).resample.1.weight"] != nil {
        temporal.append(weights["\(element).time_conv.weight"] != nil)
        blocksHere = 0
      } else {
        break
      }
    }
    guard !multipliers.isEmpty, multipliers.count == temporal.count + 1 else {
      throw TorchError("The weights are no Wan autoencoder: its levels under 'encoder.downsamples' are not whole.")
    }
    let channels = try length("conv2.weight")
    try statistics?.check(channels: channels)
    self.init(
      width: width, latentChannels: channels, widthMultipliers: multipliers, residualBlocks: residualBlocks,
      temporalDownsampling: temporal, latentMean: statistics?.mean, latentDeviation: statistics?.deviation)
  }
}

// MARK: - The model

/// The Wan 2.1 autoencoder: pixels `[B, 3, T, H, W]` in [-1, 1] to normalised latents `[B, C, F, h, w]` and back, T = 4F - 3.
///
/// Causal in time: a frame depends on itself and earlier ones only, so that a video can be decoded as it comes
/// (`stream()`). It computes in the type of its weights, whatever the input has. All of it can be differentiated.
public struct WanVAE: Sendable {
  public let configuration: WanVAEConfiguration
  let encoder: WanVAEEncoder
  let decoder: WanVAEDecoder
  let toMoments: CausalConvolution  // "conv1"
  let fromLatent: CausalConvolution  // "conv2"

  public init(_ configuration: WanVAEConfiguration, _ path: ParameterPath) {
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
  public init(
    weights: [String: Tensor], name: String, statistics: LatentStatistics? = nil, device: Device = .cpu,
    dtype: DType? = nil
  ) throws {
    let store = ParameterStore(weights: weights, name: name, device: device, dtype: dtype)
    self.init(try WanVAEConfiguration(readingFrom: weights, statistics: statistics), store.root)
    try store.finish()
  }

  public var dtype: DType { fromLatent.weight.dtype }
  public var device: Device { fromLatent.weight.device }

  /// An image `[B, 3, 1, H, W]` in [-1, 1] as a normalised latent `[B, C, 1, h, w]`.
  public func encode(image: Tensor) -> Tensor {
    require(image.size(2) == 1, "An image is one frame.")
    return encode(video: image)
  }

  /// A video `[B, 3, T, H, W]` in [-1, 1] as a normalised latent `[B, C, 1 + (T-1)/4, h, w]`, without sampling.
  ///
  /// Frames after the last whole group of 4 are ignored, as the reference does.
  public func encode(video: Tensor) -> Tensor {
    let (mean, inverseDeviation) = latentConstants
    return (moments(video: video).narrow(1, 0, configuration.latentChannels) - mean) * inverseDeviation
  }

  /// The mean and the log-variance `[B, 2C, F, h, w]` of the latent distribution, mean first, not normalised.
  public func moments(video: Tensor) -> Tensor { moments(video: video, tap: nil) }

  package func moments(video: Tensor, tap: WanVAETap?) -> Tensor {
    let group = configuration.framesPerGroup
    let frames = 1 + (video.size(2) - 1) / group * group
    let framesPerPass = max(1, latentFramesPerPass * configuration.temporalStride / group) * group
    var cache = FeatureCache()
    var parts: [Tensor] = []
    var start = 0
    while start < frames {
      // The first frame is a group of its own.
      let end = min(frames, start == 0 ? framesPerPass - group + 1 : start + framesPerPass)
      parts.append(encoder(video.narrow(2, start, end - start).to(device, dtype).channelsLast3D(), &cache, tap))
      start = end
    }
    let moments = toMoments(joined(parts))
    tap?("moments", moments)
    return moments
  }

  /// A normalised latent `[B, C, F, h, w]` as a video `[B, 3, 4F - 3, H, W]`, in [-1, 1] with `clamped`.
  public func decode(_ latent: Tensor, clamped: Bool = true) -> Tensor {
    decode(latent, clamped: clamped, stream())
  }

  /// A latent as the moments have it, not normalised, as a video, not clamped: what the autoencoder is trained with.
  public func reconstruct(_ sample: Tensor) -> Tensor {
    decode(sample, clamped: false, WanVAEDecodeStream(self, takesNormalised: false))
  }

  private func decode(_ latent: Tensor, clamped: Bool, _ fresh: WanVAEDecodeStream) -> Tensor {
    var stream = fresh
    return joined(
      Swift.stride(from: 0, to: latent.size(2), by: latentFramesPerPass).map {
        stream.decode(latent.narrow(2, $0, min(latentFramesPerPass, latent.size(2) - $0)), clamped: clamped)
      })
  }

  /// Latent frames of a stream that are decoded together, by their height and width in latent pixels: as many as give a million
  /// pixels of video, which is one of 512×512, so that memory does not grow with the block where frames are large.
  func framesPerPass(height: Int, width: Int) -> Int {
    let stride = configuration.spatialStride
    let pixels = configuration.temporalStride * height * width * stride * stride
    return max(1, (1 << 20) / max(pixels, 1))
  }

  /// A decoder that is given the latent frames of one video as they come.
  public func stream() -> WanVAEDecodeStream { WanVAEDecodeStream(self) }

  /// Decoded video `[1, 3, T, H, W]` in [-1, 1] as 8-bit RGB `[T, H, W, 3]`, rounded towards zero as the reference rounds.
  public static func pixels(_ video: Tensor) -> Tensor {
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

/// Latent frames that go through the network together where all are there from the start. More need more memory and are
/// hardly faster; the result is the same.
private let latentFramesPerPass = 3

/// Is told the name and the value of an intermediate result.
package typealias WanVAETap = (_ name: String, _ value: Tensor) -> Void
