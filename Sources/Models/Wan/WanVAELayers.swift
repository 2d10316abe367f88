import NN
import Torch

// What encoder and decoder share. All values are [B, C, T, H, W] with the channels innermost in memory.

/// What the layers of a causal network remember of the frames they have seen: one slot a layer, in the order of calls.
///
/// A value: a copy is a fork of the video.
struct FeatureCache: Sendable {
  enum Slot: Sendable {
    case untouched
    /// A resampler in time has let the first frame through and has convolved nothing yet.
    case passedFirst
    /// The layer's last input frames [B, C, 2 or 1, H, W], zeros where there were fewer.
    case frames(Tensor)
  }

  private(set) var slots: [Slot] = []
  private var next = 0
  private var passes = 0

  /// Whether the pass is the first over its video.
  var startsVideo: Bool { passes == 1 }

  /// Starts a pass over further frames.
  mutating func beginPass() {
    next = 0
    passes += 1
  }

  /// Gives `body` the slot of the layer that calls.
  mutating func withSlot<Result>(_ body: (inout Slot) -> Result) -> Result {
    if next == slots.count { slots.append(.untouched) }
    defer { next += 1 }
    return body(&slots[next])
  }
}

extension FeatureCache.Slot {
  var history: Tensor? { if case .frames(let frames) = self { frames } else { nil } }

  /// `x` behind the `count` frames before it (zeros at the start of a video), whose last `count` frames are kept.
  mutating func extend(_ x: Tensor, by count: Int) -> Tensor {
    kept(history.map { Tensor.cat([$0, x], 2) } ?? x.pad(0, 0, 0, 0, count, 0), count)
  }

  /// The same for the SiLU of x's norm, in one pass.
  mutating func extendNormal(_ x: Tensor, _ gamma: Tensor, by count: Int) -> Tensor {
    kept(x.rmsNormSilu(gamma, after: history, count: count), count)
  }

  private mutating func kept(_ extended: Tensor, _ count: Int) -> Tensor {
    keep(extended, count)
    return extended
  }

  /// Remembers the last `count` frames of `x`, copied: a view would keep all of `x` in memory.
  mutating func keep(_ x: Tensor, _ count: Int) { self = .frames(x.narrow(2, x.size(2) - count, count).clone()) }
}

/// A convolution that looks at earlier frames only; height and width keep their size.
struct CausalConvolution: Sendable {
  let weight: Tensor  // [out, in, kt, kh, kw]
  let bias: Tensor  // [out]
  let kernel: [Int]
  let stride: Int

  init(_ inputs: Int, _ outputs: Int, kernel: [Int] = [3, 3, 3], stride: Int = 1, _ path: ParameterPath) {
    let fanIn = kernel.reduce(inputs, *)
    weight = path.parameter("weight", [outputs, inputs] + kernel, .uniform(fanIn: fanIn), channelsLast: true)
    bias = path.parameter("bias", [outputs], .uniform(fanIn: fanIn))
    self.kernel = kernel
    self.stride = stride
  }

  /// The convolution of frames that already stand behind their history.
  func callAsFunction(_ x: Tensor) -> Tensor {
    x.conv3d(weight, bias, stride: [stride, 1, 1], padding: [0, kernel[1] / 2, kernel[2] / 2])
  }

  func callAsFunction(_ x: Tensor, _ cache: inout FeatureCache) -> Tensor {
    cache.withSlot { slot in
      let startsVideo = slot.history == nil
      return convolve(slot.extend(x, by: kernel[0] - 1), startsVideo: startsVideo)
    }
  }

  /// The convolution of the SiLU of x's norm.
  func callAsFunction(_ x: Tensor, norm gamma: Tensor, _ cache: inout FeatureCache) -> Tensor {
    cache.withSlot { slot in
      let startsVideo = slot.history == nil
      return convolve(slot.extendNormal(x, gamma, by: kernel[0] - 1), startsVideo: startsVideo)
    }
  }

  /// Before a video's first frame there are zeros: where it comes alone, only the kernel's last slice counts.
  private func convolve(_ extended: Tensor, startsVideo: Bool) -> Tensor {
    let last = kernel[0] - 1
    guard startsVideo, last > 0, extended.size(2) == kernel[0] else { return self(extended) }
    return extended.narrow(2, last, 1).conv3d(
      weight.narrow(2, last, 1), bias, stride: [1, 1, 1], padding: [0, kernel[1] / 2, kernel[2] / 2])
  }
}

/// A convolution of each frame.
struct FrameConvolution: Sendable {
  let weight: Tensor  // [out, in, k, k]
  let bias: Tensor  // [out]

  init(_ inputs: Int, _ outputs: Int, kernel: Int, _ path: ParameterPath) {
    let fanIn = inputs * kernel * kernel
    weight = path.parameter(
      "weight", [outputs, inputs, kernel, kernel], .uniform(fanIn: fanIn), channelsLast: true)
    bias = path.parameter("bias", [outputs], .uniform(fanIn: fanIn))
  }

  func callAsFunction(_ x: Tensor, stride: Int = 1, padding: Int = 0) -> Tensor {
    x.conv2d(weight, bias, stride: [stride, stride], padding: [padding, padding])
  }

  /// A 1 by 1 convolution of x `[..., in]`.
  func perPixel(_ x: Tensor) -> Tensor { x.linear(weight.flatten(1), bias) }
}

extension Tensor {
  /// The frames of `[B, C, T, H, W]` one under another, `[B·T, C, H, W]`: a view where the channels are innermost.
  func asFrames() -> Tensor { transpose(1, 2).flatten(0, 1) }
  /// The reverse of `asFrames`.
  func asVideos(_ batch: Int) -> Tensor { unflatten(0, batch, size(0) / Swift.max(batch, 1)).transpose(1, 2) }
}

/// Two convolutions around which the input is added.
struct ResidualBlock: LevelLayer {
  let firstNorm: Tensor  // [C, 1, 1, 1]
  let first: CausalConvolution
  let secondNorm: Tensor
  let second: CausalConvolution
  let shortcut: CausalConvolution?

  init(_ inputs: Int, _ outputs: Int, _ path: ParameterPath) {
    let residual = path / "residual"
    firstNorm = (residual / 0).parameter("gamma", [inputs, 1, 1, 1], .ones)
    first = CausalConvolution(inputs, outputs, residual / 2)
    secondNorm = (residual / 3).parameter("gamma", [outputs, 1, 1, 1], .ones)
    second = CausalConvolution(outputs, outputs, residual / 6)
    shortcut = inputs == outputs ? nil : CausalConvolution(inputs, outputs, kernel: [1, 1, 1], path / "shortcut")
  }

  func callAsFunction(_ x: Tensor, _ cache: inout FeatureCache) -> Tensor {
    var y = first(x, norm: firstNorm, &cache)
    y = second(y, norm: secondNorm, &cache)
    y.add_(shortcut?(x) ?? x)  // no gradient needs what the convolution gave
    return y
  }
}

/// Attention of one head among the pixels of each frame.
struct FrameAttention: Sendable {
  let norm: Tensor  // [C, 1, 1]
  let queryKeyValue: FrameConvolution
  let projection: FrameConvolution

  init(_ channels: Int, _ path: ParameterPath) {
    norm = (path / "norm").parameter("gamma", [channels, 1, 1], .ones)
    queryKeyValue = FrameConvolution(channels, 3 * channels, kernel: 1, path / "to_qkv")
    projection = FrameConvolution(channels, channels, kernel: 1, path / "proj")
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    let (b, c, t, h, w) = (x.size(0), x.size(1), x.size(2), x.size(3), x.size(4))
    let root = Double(c).squareRoot()
    let pixels = x.permute(0, 2, 3, 4, 1).reshape(b * t, h * w, c)
    let length = pixels.norm(2, -1, keep: true).clamp(1e-12, .infinity)
    let normal = pixels / length * root * norm.flatten()
    let parts = queryKeyValue.perPixel(normal).unsqueeze(1).chunks(3, -1)  // each [B·T, 1, H·W, C]
    let attended = Tensor.scaledDotProductAttention(parts[0], parts[1], parts[2], scale: 1 / root)
    let y = projection.perPixel(attended.squeeze(1)).reshape(b, t, h, w, c).permute(0, 4, 1, 2, 3)
    return y + x
  }
}

/// The lowest level: two residual blocks around attention.
struct MiddleBlocks: Sendable {
  let first: ResidualBlock
  let attention: FrameAttention
  let second: ResidualBlock
  private let name: String

  init(_ channels: Int, _ path: ParameterPath) {
    first = ResidualBlock(channels, channels, path / 0)
    attention = FrameAttention(channels, path / 1)
    second = ResidualBlock(channels, channels, path / 2)
    name = path.key
  }

  func callAsFunction(_ x: Tensor, _ cache: inout FeatureCache, _ tap: WanVAETap?) -> Tensor {
    var x = first(x, &cache)
    tap?("\(name).0", x)
    x = attention(x)
    tap?("\(name).1", x)
    x = second(x, &cache)
    tap?("\(name).2", x)
    tap?(name, x)
    return x
  }
}

/// The last norm, SiLU and convolution.
struct Head: Sendable {
  let norm: Tensor  // [C, 1, 1, 1]
  let convolution: CausalConvolution

  init(_ inputs: Int, _ outputs: Int, _ path: ParameterPath) {
    norm = (path / 0).parameter("gamma", [inputs, 1, 1, 1], .ones)
    convolution = CausalConvolution(inputs, outputs, path / 2)
  }

  func callAsFunction(_ x: Tensor, _ cache: inout FeatureCache) -> Tensor { convolution(x, norm: norm, &cache) }
}

/// A layer of a level. It remembers of earlier frames what it needs.
protocol LevelLayer: Sendable {
  func callAsFunction(_ x: Tensor, _ cache: inout FeatureCache) -> Tensor
}

/// The layers of one resolution, residual blocks and what leads to the next, and in Wan 2.2 the way around them.
struct Level: Sendable {
  let layers: [(name: String, layer: any LevelLayer)]
  /// What the weights call it; nil in Wan 2.1, where a level has no name.
  let name: String?
  let shortcut: (any LevelShortcut)?

  func callAsFunction(_ x: Tensor, _ cache: inout FeatureCache, _ tap: WanVAETap?) -> Tensor {
    var y = x
    for (name, layer) in layers {
      y = layer(y, &cache)
      tap?(name, y.clone())
    }
    // As in a block, no gradient needs what the last layer gave.
    if let shortcut { y.add_(shortcut(x, startsVideo: cache.startsVideo)) }
    if let name { tap?(name, y) }
    return y
  }
}

/// Collects levels whose layers are numbered as in the weights: in one list for all (Wan 2.1), or in a list for each (Wan 2.2).
struct LevelList {
  private(set) var levels: [Level] = []
  private let path: ParameterPath
  private let name: String
  private let isNested: Bool
  private var layers: [(name: String, layer: any LevelLayer)] = []
  private var earlierLayers = 0

  init(_ path: ParameterPath, _ name: String, isNested: Bool) {
    self.path = path
    self.name = name
    self.isNested = isNested
  }

  private var level: ParameterPath { path / name / levels.count }

  /// Adds a layer to the level at hand.
  mutating func add(_ layer: (ParameterPath) -> any LevelLayer) {
    let place = isNested ? level / name / layers.count : path / name / (earlierLayers + layers.count)
    layers.append((place.key, layer(place)))
  }

  /// Ends the level at hand.
  mutating func endLevel(shortcut: (any LevelShortcut)?) {
    earlierLayers += layers.count
    levels.append(Level(layers: layers, name: isNested ? level.key : nil, shortcut: shortcut))
    layers = []
  }
}
