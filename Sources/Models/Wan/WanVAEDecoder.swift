import NN
package import Torch

/// Doubles height and width; with a convolution in time doubles the number of frames first.
///
/// As published, every value is repeated over a square, of which the convolution sees 3 by 3; where neighbours are equal, all four
/// places get the same. A sub-pixel convolution (arXiv 1609.05158) has weights of its own for each of the four, for the same work.
struct Upsampler: LevelLayer {
  let convolution: FrameConvolution
  let temporal: CausalConvolution?
  private let isSubPixel: Bool

  init(_ channels: Int, _ outputs: Int, temporal: Bool, isSubPixel: Bool, _ path: ParameterPath) {
    convolution = FrameConvolution(channels, isSubPixel ? 4 * outputs : outputs, kernel: 3, path / "resample" / 1)
    self.temporal = temporal ? CausalConvolution(channels, 2 * channels, kernel: [3, 1, 1], path / "time_conv") : nil
    self.isSubPixel = isSubPixel
  }

  func callAsFunction(_ x: Tensor, _ cache: inout FeatureCache) -> Tensor {
    let x = temporal.map { temporal in cache.withSlot { doubled(x, temporal, &$0) } } ?? x
    let frames = x.asFrames()
    let y =
      isSubPixel
      ? Upsampler.shuffled(convolution(frames, padding: 1))
      : convolution(frames.interpolateNearest(2 * x.size(3), 2 * x.size(4)), padding: 1)
    return y.asVideos(x.size(0))
  }

  /// Four groups of channels as the places of a square, row by row: `[N, 4C, h, w]` to `[N, C, 2h, 2w]`.
  private static func shuffled(_ x: Tensor) -> Tensor {
    x.permute(0, 2, 3, 1).unflatten(3, 4, x.size(1) / 4).unflatten(3, 2, 2)  // [N, h, w, 2, 2, C]
      .permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
  }

  /// The sub-pixel convolution that gives what `weight` and `bias` give behind the repetition of every value: `[4O, C, 3, 3]` and
  /// `[4O]` from `[O, C, 3, 3]` and `[O]`.
  static func subPixel(weight: Tensor, bias: Tensor) -> (weight: Tensor, bias: Tensor) {
    // Which of the three values along a side a kernel's three weights meet, for the first and the second place.
    let places: [Tensor] = [[1, 0, 0, 0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0, 0, 0, 1]].map {
      Tensor($0 as [Float], [3, 3]).to(weight.device, weight.dtype)
    }
    let squares = places.flatMap { row in places.map { row.matmul(weight).matmul($0.transpose(0, 1)) } }
    return (Tensor.cat(squares, 0), Tensor.cat([Tensor](repeating: bias, count: 4), 0))
  }

  /// The first frame of a video stays one frame, and the frames after it do not see it: they start from zeros.
  private func doubled(_ x: Tensor, _ temporal: CausalConvolution, _ slot: inout FeatureCache.Slot) -> Tensor {
    guard case .untouched = slot else { return interleaved(temporal(slot.extend(x, by: 2))) }
    slot = .passedFirst
    let frames = x.size(2)
    guard frames > 1 else { return x }
    let rest = interleaved(temporal(slot.extend(x.narrow(2, 1, frames - 1), by: 2)))
    return Tensor.cat([x.narrow(2, 0, 1), rest], 2)
  }

  /// The two halves of the channels as consecutive frames: `[B, 2C, T, H, W]` to `[B, C, 2T, H, W]`.
  private func interleaved(_ x: Tensor) -> Tensor {
    x.permute(0, 2, 3, 4, 1).unflatten(-1, 2, x.size(1) / 2)  // [B, T, H, W, 2, C]
      .permute(0, 1, 4, 2, 3, 5).flatten(1, 2).permute(0, 4, 1, 2, 3)
  }
}

/// Latent `[B, C, F, h, w]` to pixels `[B, 3, T, H, W]`, not clamped and still folded by the patch size.
struct WanVAEDecoder: Sendable {
  let input: CausalConvolution
  let middle: MiddleBlocks
  let levels: [Level]
  let head: Head
  private let name: String

  init(_ configuration: WanVAEConfiguration, _ path: ParameterPath) {
    name = path.key
    let (widths, isResidual) = (configuration.decoderLevelWidths, configuration.isResidual)
    var channels = widths.last ?? configuration.decoderWidth
    input = CausalConvolution(configuration.latentChannels, channels, path / "conv1")
    middle = MiddleBlocks(channels, path / "middle")
    var list = LevelList(path, "upsamples", isNested: isResidual)
    for (level, width) in widths.enumerated().reversed() {
      let inputs = channels
      for _ in 0...configuration.residualBlocks {
        list.add { ResidualBlock(channels, width, $0) }
        channels = width
      }
      guard level > 0 else {
        list.endLevel(shortcut: nil)
        break
      }
      let temporal = configuration.temporalDownsampling[level - 1]
      let outputs = isResidual ? channels : channels / 2
      list.add { Upsampler(channels, outputs, temporal: temporal, isSubPixel: configuration.isSubPixel, $0) }
      channels = outputs
      list.endLevel(shortcut: isResidual ? DuplicateUp(inputs, outputs, time: temporal ? 2 : 1, space: 2) : nil)
    }
    levels = list.levels
    head = Head(channels, configuration.pixelChannels, path / "head")
  }

  func callAsFunction(_ latent: Tensor, _ cache: inout FeatureCache, _ tap: WanVAETap?) -> Tensor {
    cache.beginPass()
    var x = input(latent, &cache)
    tap?("\(name).conv1", x)
    x = middle(x, &cache, tap)
    for level in levels { x = level(x, &cache, tap) }
    x = head(x, &cache)
    tap?(name, x)
    return x
  }
}

/// The decoding of one video as its latent frames come, any number at a time; the frames equal those of the whole.
///
/// It owns what it remembers of earlier frames: streams do not disturb each other, encoding disturbs none, and a copy goes its
/// own way. The reference decodes one latent frame at a time; here all frames of a call are one pass.
package struct WanVAEDecodeStream: Sendable {
  package let vae: WanVAE
  /// Latent frames decoded since the start.
  package private(set) var latentFrames = 0
  private var cache = FeatureCache()
  private let mean: Tensor  // [1, C, 1, 1, 1]
  private let inverseDeviation: Tensor
  private let takesNormalised: Bool

  init(_ vae: WanVAE, takesNormalised: Bool = true) {
    self.vae = vae
    self.takesNormalised = takesNormalised
    (mean, inverseDeviation) = vae.latentConstants
  }

  /// The next latent frames `[B, C, F, h, w]` as video frames `[B, 3, T, H, W]`, in [-1, 1] with `clamped`.
  ///
  /// T is 4F, and 4F - 3 at the start. F is at least 1; B, h and w are the same in every call.
  package mutating func decode(_ block: Tensor, clamped: Bool = true) -> Tensor {
    decode(block, clamped: clamped, tap: nil)
  }

  package mutating func decode(_ block: Tensor, clamped: Bool, tap: WanVAETap?) -> Tensor {
    let (frames, most) = (block.size(2), vae.configuration.framesPerPass(height: block.size(3), width: block.size(4)))
    guard frames > most else { return decodeInOnePass(block, clamped: clamped, tap) }
    let parts = Swift.stride(from: 0, to: frames, by: most).map {
      decodeInOnePass(block.narrow(2, $0, min(most, frames - $0)), clamped: clamped, tap)
    }
    return Tensor.cat(parts, 2)
  }

  private mutating func decodeInOnePass(_ block: Tensor, clamped: Bool, _ tap: WanVAETap?) -> Tensor {
    let given = block.to(vae.device, vae.dtype)
    let latent = (takesNormalised ? given / inverseDeviation + mean : given).channelsLast3D()
    tap?("z", latent)
    let features = vae.fromLatent(latent)
    tap?("conv2", features)
    let video = vae.decoder(features, &cache, tap).unfolded(vae.configuration.patchSize)
    tap?("raw", video)
    latentFrames += block.size(2)
    return clamped ? video.clamp(-1, 1) : video
  }

  /// Forgets all frames: the next call starts another video.
  package mutating func reset() {
    cache = FeatureCache()
    latentFrames = 0
  }

  /// What each layer remembers, in the order of calls: its last input frames, nothing where it has none.
  package var rememberedFrames: [Tensor?] {
    cache.slots.map(\.history)
  }
}
