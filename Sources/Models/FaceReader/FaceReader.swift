package import NN
package import Torch

// A small convolutional network that reads the state of a face off one picture, and who it is. It measures what is generated;
// nothing that generates uses it.
//
// Letters: N pictures, C channels, H and W pixels.

/// Sizes of a face reader. They can be read off its weights.
package struct FaceReaderConfiguration: Codable, Equatable, Sendable {
  /// Channels at 1/4, 1/8, 1/16 and 1/32 of the picture's side; multiples of 8, the last of 32.
  package let widths: [Int]
  /// Values between the last map and the columns.
  package let hidden: Int
  /// Length of the vector that tells people apart.
  package let identityWidth: Int

  package init(widths: [Int], hidden: Int, identityWidth: Int) {
    (self.widths, self.hidden, self.identityWidth) = (widths, hidden, identityWidth)
  }

  /// 0.7 million parameters.
  package static let standard = FaceReaderConfiguration(widths: [24, 48, 96, 96], hidden: 96, identityWidth: 64)

  /// - Throws: `TorchError` where the tensors that tell the sizes are not there.
  package init(readingFrom weights: [String: Tensor]) throws {
    func length(_ key: String) throws -> Int {
      guard let tensor = weights[key], tensor.rank > 0 else {
        throw TorchError("The weights are no face reader: there is no '\(key)'.")
      }
      return tensor.size(0)
    }
    widths = try (0..<4).map { try length("levels.\($0).norm.weight") }
    hidden = try length("hidden.weight")
    identityWidth = try length("identity.weight")
  }

  /// Why there can be no such network, or nil.
  package var problem: String? {
    guard widths.count == 4, widths.allSatisfy({ $0 > 0 && $0 % 8 == 0 }), widths[3] % 32 == 0 else {
      return "a face reader has four widths that are multiples of 8, the last of 32, not \(widths)"
    }
    return hidden > 0 && identityWidth > 0 ? nil : "a face reader's 'hidden' and 'identityWidth' are at least 1"
  }
}

/// What a face reader makes of pictures.
package struct FaceReading: Sendable {
  /// `[N, FaceColumn.count]`, in the units of `FaceColumn`.
  package let columns: Tensor
  /// `[N, identityWidth]`, of length 1: pictures of one person have a cosine near 1.
  package let identity: Tensor
  /// The last map averaged over the picture, `[N, C]`: what both others are made of.
  package let features: Tensor
}

/// A convolution, group normalisation and a rectifier.
struct ReaderConvolution: Sendable {
  private let weight: Tensor  // [out, in, kernel, kernel]
  private let normWeight: Tensor  // [out]
  private let normBias: Tensor  // [out]
  private let kernel: Int
  private let stride: Int
  /// Channels that are normalised together.
  private static let groupWidth = 8

  init(_ inputs: Int, _ outputs: Int, kernel: Int, stride: Int, _ path: ParameterPath) {
    weight = path.parameter("weight", [outputs, inputs, kernel, kernel], .uniform(fanIn: inputs * kernel * kernel / 2))
    normWeight = (path / "norm").parameter("weight", [outputs], .ones)
    normBias = (path / "norm").parameter("bias", [outputs], .zeros)
    (self.kernel, self.stride) = (kernel, stride)
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    let y = x.conv2d(weight, nil, stride: [stride, stride], padding: [kernel / 2, kernel / 2])
    return y.groupNorm(max(1, y.size(1) / Self.groupWidth), normWeight, normBias, eps: 1e-5).relu()
  }
}

/// Reads what is small in the picture off a part of it that is seen at full resolution: the mouth, or the eyes.
struct DetailReader: Sendable {
  /// Pixels of the part.
  let width: Int
  let height: Int
  private let layers: [ReaderConvolution]
  private let hidden: Linear
  private let output: Linear

  init(width: Int, height: Int, outputs: Int, _ path: ParameterPath) {
    (self.width, self.height) = (width, height)
    let sizes = [(3, 24, 2), (24, 48, 2), (48, 48, 1), (48, 64, 2)]
    layers = sizes.enumerated().map { index, size in
      ReaderConvolution(size.0, size.1, kernel: 3, stride: size.2, path / "layers" / index)
    }
    hidden = Linear(64 * (width / 8) * (height / 8), 48, path / "hidden")
    output = Linear(48, outputs, path / "output")
  }

  /// - Parameters:
  ///   - pictures: `[N, 3, side, side]`.
  ///   - centres: `[N, 2]`, x and y of the part as shares of the picture.
  /// - Returns: `[N, outputs]`.
  func callAsFunction(_ pictures: Tensor, centres: Tensor) -> Tensor {
    let side = Double(pictures.size(3))
    let places = centres.detach().array(Double.self)
    func start(_ place: Double, _ length: Int) -> Int {
      // What is no number lies nowhere; the result is none either.
      let first = (place.isFinite ? place * side : 0) - Double(length) / 2
      return Int(min(max(first.rounded(), 0), side - Double(length)))
    }
    let parts = (0..<pictures.size(0)).map { index in
      pictures.narrow(0, index, 1).narrow(2, start(places[2 * index + 1], height), height)
        .narrow(3, start(places[2 * index], width), width)
    }
    return output(hidden(layers.reduce(Tensor.cat(parts, 0)) { $1($0) }.flatten(1)).relu())
  }
}

package struct FaceReader: Sendable {
  /// Pixels of the sides of the pictures that it sees.
  package static let side = 128
  private static let lastSide = side / 32

  package let configuration: FaceReaderConfiguration
  private let stem: ReaderConvolution
  private let levels: [(down: ReaderConvolution?, residual: ReaderConvolution)]
  private let reduce: ReaderConvolution
  private let hidden: Linear
  private let output: Linear
  private let identity: Linear
  private let mouth: DetailReader
  private let eyes: DetailReader
  private let centre: Tensor  // [columns]
  private let spread: Tensor  // [columns]

  package init(_ configuration: FaceReaderConfiguration, _ path: ParameterPath) {
    self.configuration = configuration
    let widths = configuration.widths
    stem = ReaderConvolution(3, widths[0], kernel: 7, stride: 4, path / "stem")
    levels = widths.enumerated().map { index, width in
      let level = path / "levels" / index
      let down = index == 0 ? nil : ReaderConvolution(widths[index - 1], width, kernel: 3, stride: 2, level / "down")
      return (down, ReaderConvolution(width, width, kernel: 3, stride: 1, level))
    }
    let (last, reduced) = (widths[3], widths[3] / 4)
    reduce = ReaderConvolution(last, reduced, kernel: 1, stride: 1, path / "reduce")
    hidden = Linear(reduced * Self.lastSide * Self.lastSide, configuration.hidden, path / "hidden")
    // Landmarks and pose; then from opening to tongue and the smile; then gaze, blink and brows.
    output = Linear(configuration.hidden, FaceColumn.landmarks + 3, path / "output")
    mouth = DetailReader(width: 40, height: 40, outputs: 6, path / "mouth")
    eyes = DetailReader(width: 64, height: 40, outputs: 7, path / "eyes")
    identity = Linear(last, configuration.identityWidth, path / "identity")
    centre = Tensor(FaceColumn.allCases.map { Float($0.centre) }, device: path.store.device)
    spread = Tensor(FaceColumn.allCases.map { Float($0.spread) }, device: path.store.device)
  }

  /// - Throws: `TorchError` for weights of no face reader, `CheckpointMismatch` with all keys that are wrong.
  package init(weights: [String: Tensor], name: String = "the weights", device: Device = .cpu) throws {
    let configuration = try FaceReaderConfiguration(readingFrom: weights)
    if let problem = configuration.problem { throw TorchError("\(name): \(problem).") }
    let store = ParameterStore(weights: weights, name: name, device: device, dtype: .float32, isFrozen: true)
    self.init(configuration, store.root)
    try store.finish()
  }

  /// - Parameters:
  ///   - pictures: `[N, 3, side, side]` in [-1, 1].
  ///   - truth: `[N, columns]` in training, so that the mouth and the eyes are looked for halfway to where they are.
  package func callAsFunction(_ pictures: Tensor, truth: Tensor? = nil) -> FaceReading {
    var x = stem(pictures)  // [N, C, 32, 32]
    for level in levels {
      if let down = level.down { x = down(x) }
      x = x + level.residual(x)
    }
    let features = x.mean(2, 3)  // [N, C]
    let plain = output(hidden(reduce(x).flatten(1)).relu())  // [N, landmarks + 3]
    let count = FaceColumn.landmarks
    let found = centre.narrow(0, 0, count) + spread.narrow(0, 0, count) * plain.narrow(1, 0, count)
    let places = (truth.map { (found.detach() + $0.narrow(1, 0, count)) / 2 } ?? found).unflatten(1, count / 2, 2)
    let mouth = mouth(pictures, centres: places.narrow(1, 3, 4).mean(1))  // corners and lips
    let eyes = eyes(pictures, centres: places.narrow(1, 0, 2).mean(1))
    let values = Tensor.cat(
      [
        plain.narrow(1, 0, count), mouth.narrow(1, 0, 5), plain.narrow(1, count, 3), eyes, mouth.narrow(1, 5, 1),
      ], 1)  // [N, columns]
    let vector = identity(features)
    let length = vector.norm(2, 1, keep: true).clamp(1e-6, .infinity)
    return FaceReading(columns: centre + spread * values, identity: vector / length, features: features)
  }

  /// Frames `[N, 3, H, W]` of any size as the reader sees them: smoothed where they shrink.
  package static func pictures(_ frames: Tensor) -> Tensor {
    frames.size(2) == side && frames.size(3) == side ? frames : frames.interpolateBilinear(side, side, antialias: true)
  }

  /// Prepared truth `[N, columns]`, landmarks in pixels of frames of that size and angles in degrees, in the reader's units.
  package static func units(_ truth: Tensor, width: Int, height: Int) -> Tensor {
    let factors = FaceColumn.allCases.map { column -> Float in
      if column.isLandmark { return 1 / Float(column.rawValue % 2 == 0 ? width : height) }
      return column.isAngle ? 1 / Float(FaceColumn.degrees) : 1
    }
    return truth * Tensor(factors, device: truth.device)
  }
}
