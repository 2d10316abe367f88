import Basics
package import Foundation
package import NN
package import Torch

// B batch, S samples, T feature rows (50 a second), N video frames, C width, H heads, D = C/H.

/// The convolutions from samples to features.
struct Wav2Vec2FeatureExtractor: Sendable {
  let configuration: Wav2Vec2Configuration
  let convolutions: [(weight: Tensor, bias: Tensor?)]  // [out, in, kernel]
  private let groupNorm: (weight: Tensor, bias: Tensor)?
  private let layerNorms: [LayerNorm]
  private let normEps = 1e-5

  init(_ configuration: Wav2Vec2Configuration, _ path: ParameterPath) {
    self.configuration = configuration
    let layers = path / "conv_layers"
    let widths = configuration.convolutionWidths
    convolutions = widths.indices.map { index in
      let inputs = index == 0 ? 1 : widths[index - 1]
      let kernel = configuration.convolutionKernels[index]
      let here = layers / index / "conv"
      return (
        here.parameter("weight", [widths[index], inputs, kernel], .uniform(fanIn: inputs * kernel)),
        configuration.convolutionBias
          ? here.parameter("bias", [widths[index]], .uniform(fanIn: inputs * kernel)) : nil
      )
    }
    switch configuration.convolutionNorm {
    case .group:
      let norm = layers / 0 / "layer_norm"
      groupNorm = (norm.parameter("weight", [widths[0]], .ones), norm.parameter("bias", [widths[0]], .zeros))
      layerNorms = []
    case .layer:
      groupNorm = nil
      layerNorms = widths.indices.map { LayerNorm(widths[$0], eps: 1e-5, layers / $0 / "layer_norm") }
    }
  }

  private func convolved(_ x: Tensor, _ index: Int) -> Tensor {
    x.conv1d(convolutions[index].weight, convolutions[index].bias, stride: configuration.convolutionStrides[index])
  }

  /// What follows the convolution of that number.
  private func activated(_ x: Tensor, _ index: Int) -> Tensor {
    guard !layerNorms.isEmpty else { return x.gelu() }
    return layerNorms[index](x.transpose(1, 2)).transpose(1, 2).gelu()
  }

  private func rest(_ x: Tensor) -> Tensor {
    convolutions.indices.dropFirst().reduce(activated(x, 0)) { activated(convolved($0, $1), $1) }
  }

  /// x `[B, 1, S]` → `[B, conv, T]`.
  func callAsFunction(_ x: Tensor) -> Tensor {
    let first = convolved(x, 0)
    return rest(
      groupNorm.map {
        first.groupNorm(configuration.convolutionWidths[0], $0.weight, $0.bias, eps: normEps)
      } ?? first)
  }

  /// The same for long sounds, in parts of so many feature rows.
  func inParts(_ x: Tensor, rows: Int) -> Tensor {
    let scaling = groupNorm.map { wholeSoundNorm(x, $0.weight, $0.bias, rows: rows) }
    let total = configuration.featureRows(samples: x.size(2))
    let parts = Swift.stride(from: 0, to: total, by: rows).map { start in
      let length = (min(rows, total - start) - 1) * configuration.hop + configuration.receptiveField
      let first = convolved(x.narrow(2, start * configuration.hop, length), 0)
      return rest(scaling.map { first * $0.factor + $0.shift } ?? first)
    }
    return Tensor.cat(parts, 2)
  }

  /// The group norm after the first convolution has one mean and variance per channel over the whole sound, so these are
  /// gathered first: what each channel `[conv, 1]` is multiplied with, and what is added.
  private func wholeSoundNorm(_ x: Tensor, _ weight: Tensor, _ bias: Tensor, rows: Int) -> (
    factor: Tensor, shift: Tensor
  ) {
    let (kernel, stride) = (configuration.convolutionKernels[0], configuration.convolutionStrides[0])
    let outputs = (x.size(2) - kernel) / stride + 1
    let step = rows * configuration.hop / stride
    var sum = Tensor.zeros([configuration.convolutionWidths[0]], .float64, device: x.device)
    var squares = sum
    for start in Swift.stride(from: 0, to: outputs, by: step) {
      let count = min(step, outputs - start)
      let part = convolved(x.narrow(2, start * stride, (count - 1) * stride + kernel), 0).to(.float64)
      sum = sum + part.sum(0, 2)
      squares = squares + part.square().sum(0, 2)
    }
    let mean = sum / Double(outputs)
    let scale = (squares / Double(outputs) - mean.square() + normEps).rsqrt() * weight.to(.float64)
    return (scale.to(x.dtype).unsqueeze(1), (bias.to(.float64) - mean * scale).to(x.dtype).unsqueeze(1))
  }
}

/// Positions from a wide convolution with weight norm.
struct Wav2Vec2Positions: Sendable {
  let g: Tensor  // [1, 1, K]
  let v: Tensor  // [C, C/groups, K]
  let bias: Tensor
  let groups: Int

  init(_ configuration: Wav2Vec2Configuration, _ path: ParameterPath) {
    let (width, kernel) = (configuration.width, configuration.positionKernel)
    groups = configuration.positionGroups
    g = path.parameter("weight_g", [1, 1, kernel], .ones)
    v = path.parameter("weight_v", [width, width / groups, kernel], .uniform(fanIn: width / groups * kernel))
    bias = path.parameter("bias", [width], .zeros)
  }

  /// x `[B, N, C]`.
  func callAsFunction(_ x: Tensor) -> Tensor {
    let kernel = v.size(2)
    let y = x.transpose(1, 2)
      .conv1d(Tensor.weightNorm(v: v, g: g, dim: 2), bias, padding: kernel / 2, groups: groups)
    // An even kernel padded by half on both sides gives one too many.
    return y.narrow(2, 0, x.size(1)).gelu().transpose(1, 2)
  }
}

/// One layer: attention and feed-forward, each added, with a norm before or after.
struct Wav2Vec2Layer: Sendable {
  let q: Linear
  let k: Linear
  let v: Linear
  let o: Linear
  let norm: LayerNorm
  let inner: Linear
  let outer: Linear
  let finalNorm: LayerNorm
  let heads: Int
  let normalizesInputs: Bool

  init(_ configuration: Wav2Vec2Configuration, _ path: ParameterPath) {
    let width = configuration.width
    let attention = path / "attention"
    q = Linear(width, width, attention / "q_proj")
    k = Linear(width, width, attention / "k_proj")
    v = Linear(width, width, attention / "v_proj")
    o = Linear(width, width, attention / "out_proj")
    norm = LayerNorm(width, eps: configuration.eps, path / "layer_norm")
    inner = Linear(width, configuration.feedForwardWidth, path / "feed_forward" / "intermediate_dense")
    outer = Linear(configuration.feedForwardWidth, width, path / "feed_forward" / "output_dense")
    finalNorm = LayerNorm(width, eps: configuration.eps, path / "final_layer_norm")
    heads = configuration.heads
    normalizesInputs = configuration.normalizesInputs
  }

  /// x `[B, N, C]`; with noise what each half adds is disturbed.
  func callAsFunction(_ x: Tensor, noise: Wav2Vec2Noise? = nil) -> Tensor {
    func disturbed(_ t: Tensor) -> Tensor { noise?.disturb(t) ?? t }
    func split(_ t: Tensor) -> Tensor { t.unflatten(-1, heads, -1).transpose(1, 2) }  // [B, H, N, D]
    func attended(_ x: Tensor) -> Tensor {
      let scale = 1 / Double(x.size(-1) / heads).squareRoot()
      let read = Tensor.scaledDotProductAttention(split(q(x)), split(k(x)), split(v(x)), scale: scale)
      return disturbed(o(read.transpose(1, 2).flatten(-2, -1)))
    }
    func fed(_ x: Tensor) -> Tensor { disturbed(outer(inner(x).gelu())) }
    guard normalizesInputs else {
      let y = norm(x + attended(x))
      return finalNorm(y + fed(y))
    }
    let y = x + attended(norm(x))
    return y + fed(finalNorm(y))
  }
}

/// What training does to the inside of the encoder and serving does not.
package struct Wav2Vec2Noise {
  /// Hides some rows of the projected features `[B, N, C]`.
  let hide: (Tensor) -> Tensor
  /// Disturbs the features, and what each half of a layer adds `[B, N, C]`: dropout.
  let disturb: (Tensor) -> Tensor

  package init(hide: @escaping (Tensor) -> Tensor, disturb: @escaping (Tensor) -> Tensor) {
    self.hide = hide
    self.disturb = disturb
  }
}

/// The speech encoder: wav2vec2 with its features stretched to the video's frames before the transformer.
package struct Wav2Vec2: Sendable {
  /// Receives intermediate values by name.
  package typealias Tap = (String, Tensor) -> Void

  package let configuration: Wav2Vec2Configuration
  private let extractor: Wav2Vec2FeatureExtractor
  private let projectionNorm: LayerNorm
  private let projection: Linear
  private let positions: Wav2Vec2Positions
  private let norm: LayerNorm
  private let layers: [Wav2Vec2Layer]

  package init(_ configuration: Wav2Vec2Configuration, _ path: ParameterPath) {
    self.configuration = configuration
    extractor = Wav2Vec2FeatureExtractor(configuration, path / "feature_extractor")
    let features = configuration.convolutionWidths.last ?? configuration.width
    projectionNorm = LayerNorm(features, eps: configuration.eps, path / "feature_projection" / "layer_norm")
    projection = Linear(features, configuration.width, path / "feature_projection" / "projection")
    let encoder = path / "encoder"
    positions = Wav2Vec2Positions(configuration, encoder / "pos_conv_embed" / "conv")
    norm = LayerNorm(configuration.width, eps: configuration.eps, encoder / "layer_norm")
    layers = (0..<configuration.layers).map { Wav2Vec2Layer(configuration, encoder / "layers" / $0) }
  }

  /// The encoder of a checkpoint; `name` (a file) is what errors call it, and `isFrozen` says that it will not be trained.
  ///
  /// - Throws: `CheckpointMismatch`, with every missing, misshaped and unused key.
  package init(
    _ configuration: Wav2Vec2Configuration, weights: [String: Tensor], name: String, device: Device = .cpu,
    dtype: DType? = nil, isFrozen: Bool = false, checksValues: Bool = true
  ) throws {
    let store = ParameterStore(
      weights: weights, name: name, device: device, dtype: dtype, isFrozen: isFrozen, checksValues: checksValues)
    self.init(configuration, store.root)
    try store.finish(ignoring: Wav2Vec2Keys.ignored)
  }

  /// The encoder of a folder with `config.json` and `model.safetensors` or `pytorch_model.bin`.
  ///
  /// - Throws: `LiveTalkError`, `FileError` or `CheckpointMismatch`.
  package init(folder: URL, device: Device = .cpu, dtype: DType? = nil) throws {
    let configuration = try Wav2Vec2Configuration(contentsOf: folder.appendingPathComponent("config.json"))
    let files = ["model.safetensors", "pytorch_model.bin"].map { folder.appendingPathComponent($0) }
    guard let file = files.first(where: { FileManager.default.fileExists(atPath: $0.path) }) else {
      throw LiveTalkError("\(folder.path): it has neither model.safetensors nor pytorch_model.bin.")
    }
    let weights = try readWeights(file, of: .audioEncoder)
    if let problem = configuration.contradiction(of: weights) { throw LiveTalkError("\(folder.path): \(problem).") }
    try self.init(configuration, weights: weights, name: file.path, device: device, dtype: dtype)
  }

  package var device: Device { projection.device }
  package var dtype: DType { projection.dtype }

  /// How much of a sound is encoded at once.
  package struct Windows: Sendable {
    /// Up to so many video frames the sound is encoded whole, as the published code does.
    package var longest: Int
    /// Video frames that each window gives.
    package var length: Int
    /// Video frames before and after them that it sees besides.
    package var context: Int

    package init(longest: Int, length: Int, context: Int) {
      precondition(longest > 0 && length > 0 && context >= 0)
      (self.longest, self.length, self.context) = (longest, length, context)
    }

    /// Whole up to one minute at 16 frames a second; beyond, 40 seconds with 10 on either side.
    package static let standard = Windows(longest: 960, length: 640, context: 160)
  }

  /// Features of every video frame of a sound.
  ///
  /// Attention over a whole hour would take memory with the square of its length, so a sound of more frames than
  /// `windows.longest` is encoded in overlapping windows, of which the middle is kept. The normalisation of the samples, the
  /// group norm and the stretching are those of the whole sound in any case.
  /// - Parameters:
  ///   - samples: 16 kHz mono, `[S]`, as `LatentGeometry.trimmed` leaves them; they fill exactly `frameCount` video frames.
  ///   - frameCount: how many video frames there are.
  ///   - known: mean and variance of the sound that these samples are a part of; nil for their own.
  ///   - samplesPerFrame: keeps this distance between frames, for a part of a longer sound; nil stretches what there is over all frames,
  ///     as published, which puts the last ones up to 25 ms early.
  /// - Returns: `[1, frameCount, (layers + 2)·C]`: the last hidden state, then all of them from the first.
  /// - Throws: `LiveTalkError` for a sound too short to have a single feature.
  package func encode(
    _ samples: [Float], frameCount: Int, normalisedBy known: (mean: Double, variance: Double)? = nil,
    samplesPerFrame: Double? = nil, windows: Windows = .standard, tap: Tap? = nil
  ) throws -> Tensor {
    guard samples.count >= configuration.receptiveField, frameCount > 0 else {
      throw LiveTalkError(
        "A sound of \(samples.count) samples for \(frameCount) video frames cannot be encoded: "
          + "it takes at least \(configuration.receptiveField) samples and one frame.")
    }
    let input = known.map { AudioFeatures.normalized(samples, $0) } ?? AudioFeatures.normalized(samples)
    tap?("input_values", input)
    let x = input.to(device, dtype).reshape(1, 1, -1)
    let isLong = frameCount > windows.longest
    let convolved = isLong ? extractor.inParts(x, rows: 1000) : extractor(x)  // [1, conv, T]
    tap?("conv_features", convolved)
    let features =  // [1, N, conv]
      samplesPerFrame.map { convolved.linearSamples(frameCount, every: $0 / Double(configuration.hop)) }
      ?? convolved.interpolateLinear(frameCount, alignCorners: true).transpose(1, 2)
    tap?("interpolated", features)
    guard isLong else { return transformed(features, tap: tap) }
    let parts = stride(from: 0, to: frameCount, by: windows.length).map { start in
      let end = min(start + windows.length, frameCount)
      let (first, last) = (max(0, start - windows.context), min(frameCount, end + windows.context))
      return transformed(features.narrow(1, first, last - first), tap: nil).narrow(1, start - first, end - start)
    }
    return Tensor.cat(parts, 1)
  }

  /// The hidden states of sounds of one length, for training; gradients flow to every parameter and to the samples.
  ///
  /// - Parameters:
  ///   - samples: normalised, `[B, S]`.
  ///   - rows: how many rows the features are stretched to before the transformer; nil leaves them at 50 a second.
  /// - Returns: the states before the first layer and after each, all `[B, N, C]`; with a norm behind all layers, the last one after it.
  package func hiddenStates(_ samples: Tensor, rows: Int? = nil, noise: Wav2Vec2Noise? = nil) -> [Tensor] {
    let convolved = extractor(samples.to(device, dtype).unsqueeze(1))  // [B, conv, T]
    let features = rows.map { convolved.interpolateLinear($0, alignCorners: true) } ?? convolved
    return states(features.transpose(1, 2), tap: nil, noise: noise)
  }

  /// features `[B, N, conv]` → before the first layer and after each, `[B, N, C]`.
  private func states(_ features: Tensor, tap: Tap?, noise: Wav2Vec2Noise?) -> [Tensor] {
    var projected = projection(projectionNorm(features))  // [B, N, C]
    tap?("projected", projected)
    if let noise { projected = noise.hide(noise.disturb(projected)) }
    let placed = positions(projected)
    tap?("pos_conv", placed)
    let sum = projected + placed
    let first = configuration.normalizesInputs ? sum : norm(sum)
    var states = [noise?.disturb(first) ?? first]
    for layer in layers { states.append(layer(states[states.count - 1], noise: noise)) }
    if configuration.normalizesInputs { states.append(norm(states.removeLast())) }
    return states
  }

  /// features `[1, N, conv]` → `[1, N, (layers + 2)·C]`.
  private func transformed(_ features: Tensor, tap: Tap?) -> Tensor {
    let states = states(features, tap: tap, noise: nil)
    let last = states[states.count - 1]
    if let tap {
      tap("hidden_states", Tensor.stack(states, 0))
      tap("last_hidden_state", last)
    }
    return Tensor.cat([last] + states, -1)
  }
}

extension Tensor {
  /// Values of x `[1, C, T]` at 0, `step`, 2·`step`, … between its places, `[1, count, C]`; past its end the last.
  func linearSamples(_ count: Int, every step: Double) -> Tensor {
    let places = (0..<count).map { Swift.min(Double($0) * step, Double(size(2) - 1)) }
    let below = places.map { Int($0) }
    let above = below.map { Swift.min($0 + 1, size(2) - 1) }
    let share = Tensor(zip(places, below).map { Float($0 - Double($1)) }, [1, count, 1], device: device).to(dtype)
    let rows = transpose(1, 2)
    let (low, high) = (
      rows.indexSelect(1, Tensor(below, device: device)), rows.indexSelect(1, Tensor(above, device: device))
    )
    return low + (high - low) * share
  }
}
