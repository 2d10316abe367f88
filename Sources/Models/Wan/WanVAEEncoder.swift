import NN
import Torch

/// Halves height and width, and with a convolution in time the number of frames too.
struct Downsampler: LevelLayer {
  let convolution: FrameConvolution
  let temporal: CausalConvolution?

  init(_ channels: Int, temporal: Bool, _ path: ParameterPath) {
    convolution = FrameConvolution(channels, channels, kernel: 3, path / "resample" / 1)
    self.temporal =
      temporal ? CausalConvolution(channels, channels, kernel: [3, 1, 1], stride: 2, path / "time_conv") : nil
  }

  func callAsFunction(_ x: Tensor, _ cache: inout FeatureCache) -> Tensor {
    let halved = convolution(x.asFrames().pad(0, 1, 0, 1), stride: 2).asVideos(x.size(0))
    guard let temporal else { return halved }
    return cache.withSlot { slot in
      if case .frames(let last) = slot {
        let y = temporal(Tensor.cat([last, halved], 2))
        slot.keep(halved, 1)
        return y
      }
      // The first frame of a video stands for itself; the next ones are convolved with it.
      slot.keep(halved, 1)
      guard halved.size(2) > 1 else { return halved }
      return Tensor.cat([halved.narrow(2, 0, 1), temporal(halved)], 2)
    }
  }
}

/// Pixels `[B, 3, T, H, W]`, folded by the patch size, to twice the latent channels `[B, 2C, F, h, w]`.
///
/// The first pass over a video takes 1 + 4n frames, later ones 4n.
struct WanVAEEncoder: Sendable {
  let input: CausalConvolution
  let levels: [Level]
  let middle: MiddleBlocks
  let head: Head
  private let name: String

  init(_ configuration: WanVAEConfiguration, _ path: ParameterPath) {
    name = path.key
    var channels = configuration.width
    input = CausalConvolution(configuration.pixelChannels, channels, path / "conv1")
    var list = LevelList(path, "downsamples", isNested: configuration.isResidual)
    for (level, width) in configuration.levelWidths.enumerated() {
      let inputs = channels
      for _ in 0..<configuration.residualBlocks {
        list.add { ResidualBlock(channels, width, $0) }
        channels = width
      }
      let isLast = level == configuration.temporalDownsampling.count
      let temporal = !isLast && configuration.temporalDownsampling[level]
      if !isLast { list.add { Downsampler(channels, temporal: temporal, $0) } }
      list.endLevel(
        shortcut: configuration.isResidual
          ? AverageDown(inputs, channels, time: temporal ? 2 : 1, space: isLast ? 1 : 2) : nil)
    }
    levels = list.levels
    middle = MiddleBlocks(channels, path / "middle")
    head = Head(channels, 2 * configuration.latentChannels, path / "head")
  }

  func callAsFunction(_ pixels: Tensor, _ cache: inout FeatureCache, _ tap: WanVAETap?) -> Tensor {
    cache.beginPass()
    var x = input(pixels, &cache)
    tap?("\(name).conv1", x)
    for level in levels { x = level(x, &cache, tap) }
    x = head(middle(x, &cache, tap), &cache)
    tap?(name, x)
    return x
  }
}
