import NN
package import Torch

/// What a Wan autoencoder is made of. Every size can be read off its weights.
///
/// The published code also names scales with attention outside the middle; it has none, and cannot run with any.
package struct WanVAEConfiguration: Equatable, Sendable {
  /// Channels at full resolution ("dim"), in the decoder "dec_dim", which Wan 2.1 has not apart.
  package let width: Int
  package let decoderWidth: Int
  /// Channels of a latent ("z_dim").
  package let latentChannels: Int
  /// Channels of each level as a multiple of `width`, full resolution first ("dim_mult").
  package let widthMultipliers: [Int]
  /// Residual blocks of a level in the encoder; the decoder has one more ("num_res_blocks").
  package let residualBlocks: Int
  /// Whether the step from one level to the next also halves the frames ("temperal_downsample").
  package let temporalDownsampling: [Bool]
  /// Pixels along one side of a square whose colours are the channels at full resolution: 1 in Wan 2.1, 2 in Wan 2.2.
  package let patchSize: Int
  /// Whether a shortcut without weights leads around every level that changes the resolution, as in Wan 2.2. Upsampling then
  /// keeps the channels, which Wan 2.1 halves.
  package let isResidual: Bool
  /// Whether the decoder upsamples by sub-pixel convolutions, which neither published model does.
  package let isSubPixel: Bool
  /// The mean and the standard deviation of each latent channel, by which latents are normalised.
  package let latentMean: [Double]
  package let latentDeviation: [Double]

  /// - Parameters:
  ///   - decoderWidth: by default that of the encoder.
  ///   - latentMean: by default what Wan 2.1 was published with, for 16 channels, or Wan 2.2, for 48; else zeros.
  ///   - latentDeviation: by default what these were published with; else ones.
  package init(
    width: Int, decoderWidth: Int? = nil, latentChannels: Int, widthMultipliers: [Int], residualBlocks: Int,
    temporalDownsampling: [Bool], patchSize: Int = 1, isResidual: Bool = false, isSubPixel: Bool = false,
    latentMean: [Double]? = nil, latentDeviation: [Double]? = nil
  ) {
    self.width = width
    self.decoderWidth = decoderWidth ?? width
    self.latentChannels = latentChannels
    self.widthMultipliers = widthMultipliers
    self.residualBlocks = residualBlocks
    self.temporalDownsampling = temporalDownsampling
    self.patchSize = patchSize
    self.isResidual = isResidual
    self.isSubPixel = isSubPixel
    let published = [LatentStatistics.wan21, .wan22].first { $0.mean.count == latentChannels }
    self.latentMean = latentMean ?? published?.mean ?? [Double](repeating: 0, count: latentChannels)
    self.latentDeviation = latentDeviation ?? published?.deviation ?? [Double](repeating: 1, count: latentChannels)
  }

  /// The published model of Wan 2.1: 126,892,531 parameters.
  package static let wan21 = WanVAEConfiguration(
    width: 96, latentChannels: 16, widthMultipliers: [1, 2, 4, 4], residualBlocks: 2,
    temporalDownsampling: [false, true, true])

  /// The published model of Wan 2.2: 704,688,668 parameters.
  package static let wan22 = WanVAEConfiguration(
    width: 160, decoderWidth: 256, latentChannels: 48, widthMultipliers: [1, 2, 4, 4], residualBlocks: 2,
    temporalDownsampling: [false, true, true], patchSize: 2, isResidual: true)

  /// Pixels along one side of a latent pixel.
  package var spatialStride: Int { patchSize << (widthMultipliers.count - 1) }
  /// Video frames of every latent frame but the first, which is one video frame.
  package var temporalStride: Int { 1 << temporalDownsampling.count { $0 } }
  /// Video frames that are encoded together after the first; what does not fill a group is dropped. The reference takes 4.
  var framesPerGroup: Int { max(4, temporalStride) }

  /// Latent frames that go through the network together where all are there from the start. More need more memory and are
  /// hardly faster; the result is the same.
  static let latentFramesPerPass = 3

  /// Latent frames of a stream that are decoded together, by their height and width in latent pixels: as many as give a million
  /// pixels of video, which is one of 512×512, so that memory does not grow with the block where frames are large.
  func framesPerPass(height: Int, width: Int) -> Int {
    let pixels = temporalStride * height * width * spatialStride * spatialStride
    return max(1, (1 << 20) / max(pixels, 1))
  }

  /// Channels of each level, full resolution first.
  var levelWidths: [Int] { widthMultipliers.map { $0 * width } }
  var decoderLevelWidths: [Int] { widthMultipliers.map { $0 * decoderWidth } }
  /// Channels of a folded video.
  package var pixelChannels: Int { 3 * patchSize * patchSize }
}

// MARK: - Read off the weights

extension WanVAEConfiguration {
  /// The configuration that `weights`, keyed as published, have the shapes of.
  ///
  /// What the shapes contradict elsewhere is found when the model is loaded.
  /// - Parameter statistics: of its latents; without any, what `init` takes by default.
  /// - Throws: `TorchError` where the tensors that tell the sizes are not there, or the statistics are not those of its channels.
  package init(readingFrom weights: [String: Tensor], statistics: LatentStatistics? = nil) throws {
    func length(_ key: String, _ dimension: Int = 0) throws -> Int {
      guard let tensor = weights[key], tensor.rank > dimension, tensor.size(dimension) > 0 else {
        throw TorchError("The weights are no Wan autoencoder: there is no '\(key)'.")
      }
      return tensor.size(dimension)
    }
    let width = try length("encoder.conv1.weight")
    let pixelChannels = try length("encoder.conv1.weight", 1)
    guard let patchSize = (1...16).first(where: { 3 * $0 * $0 == pixelChannels }) else {
      throw TorchError("The weights are no Wan autoencoder: its \(pixelChannels) inputs are not squares of 3 colours.")
    }
    let levels = try Levels(readingFrom: weights, width: width)
    let channels = try length("conv2.weight")
    // Where it is missing, loading lists it with everything else.
    let deepest = weights["decoder.conv1.weight"].flatMap { $0.rank > 0 ? $0.size(0) : nil }
    try statistics?.check(channels: channels)
    self.init(
      width: width, decoderWidth: deepest.map { $0 / (levels.multipliers.last ?? 1) }, latentChannels: channels,
      widthMultipliers: levels.multipliers, residualBlocks: levels.residualBlocks,
      temporalDownsampling: levels.temporal, patchSize: patchSize, isResidual: levels.isResidual,
      isSubPixel: WanVAEConfiguration.isSubPixel(weights), latentMean: statistics?.mean,
      latentDeviation: statistics?.deviation)
    if let problem { throw TorchError("The weights are no Wan autoencoder: \(problem).") }
  }

  /// Whether upsampling has more channels for four places than it is given; as published it keeps or halves them.
  private static func isSubPixel(_ weights: [String: Tensor]) -> Bool {
    let convolutions = weights.filter { isUpsampling($0.key) && $0.key.hasSuffix(".weight") && $0.value.rank == 4 }
    return convolutions.contains { $0.value.size(0) > $0.value.size(1) }
  }

  /// Whether a tensor is of the convolution of an `Upsampler`.
  private static func isUpsampling(_ key: String) -> Bool {
    key.hasPrefix("decoder.upsamples.") && key.contains(".resample.1.")
  }

  /// The weights of an autoencoder with sub-pixel convolutions that decodes the same.
  package static func subPixel(_ weights: [String: Tensor]) -> [String: Tensor] {
    guard !isSubPixel(weights) else { return weights }
    var result = weights
    for (key, weight) in weights where isUpsampling(key) && key.hasSuffix(".weight") {
      let biasKey = String(key.dropLast("weight".count)) + "bias"
      guard let bias = weights[biasKey] else { continue }
      (result[key], result[biasKey]) = Upsampler.subPixel(weight: weight, bias: bias)
    }
    return result
  }

  /// Why there can be no such model, or nil.
  private var problem: String? {
    if widthMultipliers.count > 8 { return "it has \(widthMultipliers.count) levels" }
    if decoderWidth <= 0 { return "its decoder has no channels" }
    guard isResidual else { return nil }
    // Its shortcuts average neighbouring values into channels, and repeat channels.
    var (above, below) = (width, decoderLevelWidths.last ?? decoderWidth)
    for (level, channels) in levelWidths.enumerated() {
      let isLast = level == levelWidths.count - 1
      let values = above * (isLast ? 1 : temporalDownsampling[level] ? 8 : 4)
      if values % channels != 0 { return "\(above) channels cannot be averaged into \(channels)" }
      above = channels
    }
    for (level, channels) in decoderLevelWidths.enumerated().reversed() where level > 0 {
      let values = channels * (temporalDownsampling[level - 1] ? 8 : 4)
      if values % below != 0 { return "\(below) channels cannot be repeated into \(channels)" }
      below = channels
    }
    return nil
  }

  /// What the keys under "encoder.downsamples" tell.
  private struct Levels {
    var multipliers: [Int] = []
    var temporal: [Bool] = []
    var residualBlocks = 0
    let isResidual: Bool

    init(readingFrom weights: [String: Tensor], width: Int) throws {
      let root = "encoder.downsamples"
      isResidual = weights["\(root).0.downsamples.0.residual.2.weight"] != nil
      // Wan 2.1 numbers the layers of all levels in one list, Wan 2.2 has a list for each level.
      var (level, index) = (0, 0)
      var blocksHere = 0
      while true {
        let layer = isResidual ? "\(root).\(level).downsamples.\(index)" : "\(root).\(index)"
        if let convolution = weights["\(layer).residual.2.weight"], convolution.rank > 0 {
          let channels = convolution.size(0)
          guard channels > 0, channels % width == 0 else {
            throw TorchError(
              "The weights are no Wan autoencoder: '\(layer)' has \(channels) channels, not a multiple of \(width).")
          }
          if blocksHere == 0 { multipliers.append(channels / width) }
          blocksHere += 1
          residualBlocks = max(residualBlocks, blocksHere)
        } else if weights["\(layer).resample.1.weight"] != nil {
          temporal.append(weights["\(layer).time_conv.weight"] != nil)
          blocksHere = 0
          if isResidual { (level, index) = (level + 1, -1) }
        } else {
          break
        }
        index += 1
      }
      guard !multipliers.isEmpty, multipliers.count == temporal.count + 1 else {
        throw TorchError("The weights are no Wan autoencoder: its levels under '\(root)' are not whole.")
      }
    }
  }
}

// MARK: - Published statistics

extension LatentStatistics {
  static let wan21 = LatentStatistics(
    mean: [
      -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922,
      -0.9497, 0.2503, -0.2921,
    ],
    deviation: [
      2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253,
      2.8251, 1.9160,
    ])
  static let wan22 = LatentStatistics(
    mean: [
      -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891, 0.1570,
      -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502, -0.2055, -0.0322,
      0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.0520,
      0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
    ],
    deviation: [
      0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165,
      0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659, 0.7069, 0.5338, 0.4889, 0.4917,
      0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600,
      0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
    ])
}
