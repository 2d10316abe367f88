import Models
import Torch

/// Augmentation of the face reader's pictures: it must also read generated faces, which are blurred and noisy.
package struct ReaderAugmentation: CheckedSettings {
  /// The part of the picture that is seen is up to this share smaller or larger…
  package var zoom = 0.12
  /// …and moved by up to this share of the picture's side.
  package var shift = 0.06
  /// How often a picture loses its detail: it is shrunk to between `softest` and all of its side, and enlarged again.
  package var softness = 0.5
  package var softest = 0.3
  /// How often it is blurred, by a Gaussian of 0.5 to 1.5 pixels.
  package var blur = 0.3
  /// The largest deviation of the noise that is added, on a scale where 2 is from black to white.
  package var noise = 0.1
  /// How much each colour is stretched, and shifted, at most.
  package var colour = 0.1

  package init() {}

  package func check(_ check: inout ConfigurationCheck) {
    check.inside(0..<0.5, "zoom", zoom)
    check.inside(0..<0.5, "shift", shift)
    check.inside(0...1, "softness", softness)
    check.require(softest > 0 && softest <= 1, "softest", softest, mustBe: "above 0, up to 1")
    check.inside(0...1, "blur", blur)
    check.notNegative("noise", noise)
    check.inside(0..<1, "colour", colour)
  }

  /// - Parameters:
  ///   - picture: `[1, 3, side, side]` in [-1, 1].
  ///   - columns: `[1, columns]` in the reader's units.
  /// - Returns: both as changed; landmarks follow the picture.
  func callAsFunction(_ picture: Tensor, _ columns: Tensor, _ generator: RandomGenerator) -> (Tensor, Tensor) {
    let draws = generator.uniform([16]).array(Double.self)
    func between(_ index: Int, _ low: Double, _ high: Double) -> Double { low + (high - low) * draws[index] }
    var (x, truth) = window(
      picture, columns, scale: 1 + between(0, -zoom, zoom), x: between(1, -shift, shift), y: between(2, -shift, shift))
    let side = x.size(3)
    if draws[3] < softness {
      let small = max(4, Int(between(4, softest, 1) * Double(side)))
      x = x.interpolateBilinear(small, small, antialias: true).interpolateBilinear(side, side, antialias: false)
    }
    if draws[5] < blur { x = blurred(x, deviation: between(6, 0.5, 1.5)) }
    let gains = Tensor((7..<10).map { Float(1 + between($0, -colour, colour)) }, [1, 3, 1, 1])
    let offsets = Tensor((10..<13).map { Float(between($0, -colour, colour)) }, [1, 3, 1, 1])
    x = x * gains + offsets
    x = (x + generator.normal(x.shape) * between(13, 0, noise)).clamp(-1, 1)
    truth = truth.contiguous()
    return (x, truth)
  }

  /// A square part of a picture, or more than it where its edge repeats, at the picture's size.
  private func window(
    _ picture: Tensor, _ columns: Tensor, scale: Double, x: Double, y: Double
  ) -> (Tensor, Tensor) {
    let side = picture.size(3)
    let length = Int((scale * Double(side)).rounded())
    let margin = Int((Double(side) * (zoom / 2 + shift)).rounded(.up)) + 1
    func start(_ move: Double) -> Int { Int((Double(side - length) / 2 + move * Double(side)).rounded()) }
    let (left, top) = (start(x), start(y))
    let part = picture.padReplicate(margin, margin, margin, margin)
      .narrow(3, left + margin, length).narrow(2, top + margin, length)
    let landmarks = columns.narrow(1, 0, FaceColumn.landmarks).reshape(1, -1, 2) * Double(side)
    let moved = (landmarks - Tensor([Float(left), Float(top)])) / Double(length)
    let rest = columns.narrow(1, FaceColumn.landmarks, FaceColumn.count - FaceColumn.landmarks)
    return (
      part.interpolateBilinear(side, side, antialias: true),
      Tensor.cat([moved.reshape(1, FaceColumn.landmarks), rest], 1)
    )
  }

  private func blurred(_ picture: Tensor, deviation: Double) -> Tensor {
    let offsets = Tensor.range(-3, 4)
    let weights = (offsets.square() / (-2 * deviation * deviation)).exp()
    let kernel = weights / weights.sum()  // [7]
    let planes = picture.permute(1, 0, 2, 3).padReplicate(3, 3, 3, 3)  // [3, 1, H, W]
    return planes.conv2d(kernel.reshape(1, 1, 1, 7), nil).conv2d(kernel.reshape(1, 1, 7, 1), nil).permute(1, 0, 2, 3)
  }
}
