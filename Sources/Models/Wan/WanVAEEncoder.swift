import NN
import Torch

/// Halves height and width, and with a convolution in time the number of frames too.
struct Downsampler: Sendable {
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

/// Pixels `[B, 3, T, H, W]` to twice the latent channels `[B, 2C, F, h, w]`.
///
/// The first pass over a video takes 1 + 4n frames, later ones 4n.
struct WanVAEEncoder: Sendable {
  let input: CausalConvolution
  let elements: [LevelElement<Downsampler>]
  let middle: MiddleBlocks
  let head: Head
  private let name: String

  init(_ configuration: WanVAEConfiguration, _ path: ParameterPath) {
    name = path.key
    let widths = configuration.levelWidths
    var channels = configuration.width
    input = CausalConvolution(3, channels, path / "conv1")
    var elements: [LevelElement<Downsampler>] = []
    var place: ParameterPath { path / "downsamples" / elements.count }
    for (level, width) in widths.enumerated() {
      for _ in 0..<configuration.residualBlocks {
        elements.append(.residual(ResidualBlock(channels, width, place)))
        channels = width
      }
      if level < widths.count - 1 {
        let temporal = configuration.temporalDownsampling[level]
        elements.append(.resample(Downsampler(channels, temporal: temporal, place)))
      }
    }
    self.elements = elements
    middle = MiddleBlocks(channels, path / "middle")
    head = Head(channels, 2 * configuration.latentChannels, path / "head")
  }

  func callAsFunction(_ pixels: Tensor, _ cache: inout FeatureCache, _ tap: WanVAETap?) -> Tensor {
    cache.beginPass()
    var x = input(pixels, &cache)
    tap?("\(name).conv1", x)
    for (index, element) in elements.enumerated() {
      x =
        switch element {
        case .residual(let block): block(x, &cache)
        case .resample(let resampler): resampler(x, &cache)
        }
      tap?("\(name).downsamples.\(index)", x)
    }
    x = head(middle(x, &cache, tap), &cache)
    tap?(name, x)
    return x
  }
}
