import Basics
import Foundation
package import Models
import NN
package import Torch

/// Initialises an encoder with principal components (PCA): the best linear code of non-overlapping pixel squares, which gradients take
/// hours to find, in a minute. It is built level by level: 2×2 values of all channels are reduced to the components with the largest
/// weighted squares, then two frames to their mean, and to the components of their difference in the channels that are left. A
/// video's first frame stands for two equal ones. The layers hold this up to what cannot be switched off, both made small:
/// a level's shortcut is added to a result `gain` times as large, and the last norm and SiLU see values that a constant channel
/// outweighs, where both are close to linear.
package struct PrincipalEncoder {
  private let configuration: WanVAEConfiguration
  private var weights: [String: Tensor]
  private var clips: [Clip]

  /// The values of a clip so far, `[1, C, T, h, w]`, and how much each place counts, `[1, 1, T, h, w]`.
  fileprivate struct Clip {
    var values: Tensor
    var weights: Tensor
  }

  /// How much larger a level's components are than what its shortcut adds.
  private static let gain = 32.0
  /// The constant channel as a multiple of the others' norm.
  private static let constant = 8.0
  /// Of the last norm: keeps SiLU's argument near 0.
  private static let gamma = 0.1
  /// The deviation of a latent's distribution, where latents have a mean square of 1.
  private static let latentNoise = 0.1

  /// - Parameters:
  ///   - weights: of an autoencoder of `configuration`.
  ///   - clips: videos `[1, 3, 4n + 1, H, W]` in [-1, 1], and how much each pixel counts, `[1, 1, 4n + 1, H, W]`.
  /// - Returns: the weights with another encoder.
  /// - Throws: `LiveTalkError` for an autoencoder whose levels cannot be bypassed.
  package static func weights(
    _ weights: [String: Tensor], _ configuration: WanVAEConfiguration,
    clips: [(video: Tensor, weights: Tensor)]
  ) throws -> [String: Tensor] {
    try withInferenceMode {
      var fit = PrincipalEncoder(configuration: configuration, weights: weights, clips: [])
      try fit.run(clips)
      return fit.weights
    }
  }

  private init(configuration: WanVAEConfiguration, weights: [String: Tensor], clips: [Clip]) {
    (self.configuration, self.weights, self.clips) = (configuration, weights, clips)
  }

  private mutating func run(_ videos: [(video: Tensor, weights: Tensor)]) throws {
    let multipliers = configuration.widthMultipliers
    guard configuration.isResidual, multipliers.count > 1, multipliers.suffix(2).first == multipliers.last,
      multipliers.first == 1, zip(multipliers, multipliers.dropFirst()).allSatisfy({ $0 <= $1 })
    else {
      throw LiveTalkError(
        "An encoder of principal components is for autoencoders of Wan 2.2's kind whose levels only widen and whose last two "
          + "are equally wide.")
    }
    let widths = multipliers.map { $0 * configuration.width }
    let fits = zip([configuration.width] + widths, widths.dropLast()).allSatisfy { $1 <= 4 * $0 }
    guard fits, configuration.width <= configuration.pixelChannels,
      configuration.latentChannels < widths[widths.count - 1]
    else {
      throw LiveTalkError(
        "There are not so many principal components: the first level has at most the \(configuration.pixelChannels) values of a "
          + "folded pixel, a level at most four times the one before, and the latent fewer channels than the last.")
    }
    let stride = configuration.temporalStride
    guard !videos.isEmpty, videos.allSatisfy({ $0.video.size(2) > stride }) else {
      throw LiveTalkError("Principal components need clips of at least \(stride + 1) frames.")
    }
    let patch = configuration.patchSize
    clips = videos.map {
      let frames = 1 + ($0.video.size(2) - 1) / stride * stride
      return Clip(
        values: $0.video.narrow(2, 0, frames).folded(patch),
        weights: $0.weights.narrow(2, 0, frames).folded(patch).mean(1, keep: true))
    }
    reducePixels()
    bypassBlocks()
    for level in configuration.temporalDownsampling.indices { reduce(level) }
    project()
  }

  // MARK: - Layers

  /// The first convolution: components of a square of pixels.
  private mutating func reducePixels() {
    let width = configuration.width
    let count = clips.reduce(0) { $0 + $1.values.count / $1.values.size(1) }
    let mean =
      clips.map { $0.values.sum(0, 2, 3, 4).to(.float64) }.reduce(Tensor.zeros([1], .float64)) { $0 + $1 }
      .to(.float32) / Double(count)
    for index in clips.indices { clips[index].values = clips[index].values - mean.reshape(1, mean.count, 1, 1, 1) }
    let components = self.components(width, of: clips)
    let key = "encoder.conv1"
    set("\(key).weight") {
      $0.narrow(2, 2, 1).narrow(3, 1, 1).narrow(4, 1, 1).copy_(components.reshape(width, -1, 1, 1, 1))
    }
    set("\(key).bias") { $0.copy_(-components.matmul(mean)) }
    apply(components)
  }

  /// Residual blocks and attention that add nothing, and shortcuts that keep channels.
  private mutating func bypassBlocks() {
    for key in weights.keys where key.hasPrefix("encoder.") {
      if key.contains(".residual.6.") || key.contains(".proj.") || key.hasSuffix(".shortcut.bias") { set(key) { _ in } }
      guard key.hasSuffix(".shortcut.weight") else { continue }
      set(key) { weight in
        let inputs = weight.size(1)
        weight.narrow(0, 0, inputs).copy_(PrincipalEncoder.identity(inputs).reshape(inputs, inputs, 1, 1, 1))
      }
    }
  }

  /// A level's downsampling. Its input are the channels of the level before; what its blocks add are zeros.
  private mutating func reduce(_ level: Int) {
    let key = "encoder.downsamples.\(level).downsamples.\(configuration.residualBlocks)"
    let width = configuration.width * configuration.widthMultipliers[level]
    let isLast = level == configuration.temporalDownsampling.count - 1
    let isTemporal = configuration.temporalDownsampling[level]
    let room = isLast ? width - 1 : width
    let differences = isTemporal ? room / 3 : 0
    let means = room - differences

    let inputs = clips[0].values.size(1)
    for index in clips.indices {
      clips[index].values = clips[index].values.folded(2)
      clips[index].weights = clips[index].weights.folded(2).mean(1, keep: true)
    }
    let components = self.components(means, of: clips)
    apply(components)
    set("\(key).resample.1.weight") { weight in
      // `folded` has columns before rows.
      let squares = (components * PrincipalEncoder.gain).reshape(means, inputs, 2, 2).transpose(2, 3)
      weight.narrow(0, 0, means).narrow(1, 0, inputs).narrow(2, 0, 2).narrow(3, 0, 2).copy_(squares)
    }
    if isTemporal {
      let turned = self.components(differences, of: clips.map(\.difference))
      set("\(key).time_conv.weight") { weight in
        for (tap, sign) in [(1, 1.0), (2, -1.0)] {
          let taps = weight.select(4, 0).select(3, 0).select(2, tap)
          taps.narrow(0, 0, means).narrow(1, 0, means).copy_(PrincipalEncoder.identity(means) * 0.5)
          taps.narrow(0, means, differences).narrow(1, 0, means).copy_(turned * (0.5 * sign))
          if isLast { taps.narrow(0, width - 1, 1).narrow(1, width - 1, 1).fill_(0.5) }
        }
      }
      set("\(key).time_conv.bias") { _ in }
      clips = clips.map { $0.halved(turned) }
    }
    let scale = pow(PrincipalEncoder.gain, Double(level + 1))
    let length = isLast ? norm * PrincipalEncoder.constant * scale : 0
    set("\(key).resample.1.bias") { if isLast { $0.narrow(0, width - 1, 1).fill_(length) } }
  }

  /// The head: components of what all levels left, with a mean square of 1, and a distribution of a fixed width around them.
  private mutating func project() {
    let (channels, features) = (configuration.latentChannels, clips[0].values.size(1))
    let width = features + 1
    let length = norm * PrincipalEncoder.constant
    let components = self.components(channels, of: clips)
    apply(components)
    let squares = clips.reduce(0.0) { $0 + $1.values.square().mean().item } / Double(clips.count)
    let root = squares.squareRoot()
    // Near 0 the SiLU of γ √width x / length is half its argument.
    let slope = PrincipalEncoder.gamma * Double(width).squareRoot() / length / 2
    set("encoder.head.0.gamma") { $0.fill_(PrincipalEncoder.gamma) }
    set("encoder.head.2.weight") { weight in
      weight.narrow(0, 0, channels).narrow(1, 0, features).select(4, 1).select(3, 1).select(2, 2)
        .copy_(components / (slope * root))
    }
    set("encoder.head.2.bias") { $0.narrow(0, channels, channels).fill_(2 * log(PrincipalEncoder.latentNoise)) }
    set("conv1.weight") {
      $0.copy_(PrincipalEncoder.identity(2 * channels).reshape(2 * channels, 2 * channels, 1, 1, 1))
    }
    set("conv1.bias") { _ in }
  }

  // MARK: - Arithmetic

  /// Puts a tensor of zeros in a weight's place and lets `fill` write into it.
  private mutating func set(_ key: String, _ fill: (Tensor) -> Void) {
    guard let old = weights[key] else { return }
    let new = Tensor.zeros(old.shape)
    fill(new)
    weights[key] = new
  }

  /// The `count` directions with the largest weighted mean squares, `[count, C]`, the largest first.
  private func components(_ count: Int, of clips: [Clip]) -> Tensor {
    let size = clips[0].values.size(1)
    var sum = Tensor.zeros([size, size], .float64)
    for clip in clips {
      let rows = clip.values.permute(0, 2, 3, 4, 1).reshape(-1, size)
      let weighted = rows * clip.weights.permute(0, 2, 3, 4, 1).reshape(-1, 1)
      sum = sum + rows.transpose(0, 1).matmul(weighted).to(.float64)
    }
    let total = sum.array(Double.self)
    let largest = total.map(Swift.abs).max() ?? 1
    let eigen = SymmetricEigen(total.map { $0 / Swift.max(largest, 1e-300) }, size: size)
    let order = eigen.values.indices.sorted { eigen.values[$0] > eigen.values[$1] }.prefix(count)
    let rows = order.flatMap { column in (0..<size).map { Float(eigen.vectors[$0 * size + column]) } }
    return Tensor(rows, [order.count, size])
  }

  private mutating func apply(_ components: Tensor) {
    for index in clips.indices { clips[index].values = clips[index].values.mapped(by: components) }
  }

  /// The root of the mean square of the values' norm.
  private var norm: Double {
    let squares = clips.map { $0.values.square().sum(1).mean().item }
    return (squares.reduce(0, +) / Double(squares.count)).squareRoot()
  }

  private static func identity(_ size: Int) -> Tensor {
    Tensor((0..<size * size).map { $0 % (size + 1) == 0 ? Float(1) : 0 }, [size, size])
  }
}

extension PrincipalEncoder.Clip {
  /// The frames after the first in pairs, `[1, C, n, 2, h, w]`.
  private func pairs(_ x: Tensor) -> Tensor { x.narrow(2, 1, x.size(2) - 1).unflatten(2, (x.size(2) - 1) / 2, 2) }

  /// Half the difference of the frames of each pair.
  fileprivate var difference: Self {
    let pairs = self.pairs(values)
    return Self(values: (pairs.select(3, 0) - pairs.select(3, 1)) * 0.5, weights: self.pairs(weights).mean(3))
  }

  /// Pairs of frames as their mean and the components `turned` of their difference; the first frame has no difference.
  fileprivate func halved(_ turned: Tensor) -> Self {
    let (difference, first) = (self.difference, values.narrow(2, 0, 1))
    let means = Tensor.cat([first, pairs(values).mean(3)], 2)
    let changes = difference.values.mapped(by: turned).pad(0, 0, 0, 0, 1, 0)
    return Self(
      values: Tensor.cat([means, changes], 1), weights: Tensor.cat([weights.narrow(2, 0, 1), difference.weights], 2))
  }
}

extension Tensor {
  /// The channels of `[B, C, T, H, W]` multiplied by a matrix `[out, C]`.
  fileprivate func mapped(by matrix: Tensor) -> Tensor {
    permute(0, 2, 3, 4, 1).matmul(matrix.transpose(0, 1)).permute(0, 4, 1, 2, 3)
  }
}
