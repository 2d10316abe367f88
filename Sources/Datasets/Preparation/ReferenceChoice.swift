import Basics
import Foundation
import Generation
import Torch

/// Chooses the reference picture of a clip, and judges whether one belongs to a clip.
enum ReferenceChoice {
  /// How well a frame serves as the reference: its sharpness times how far the face looks at the camera.
  ///
  /// Sharpness is the deviation of the picture's Laplacian. Where the head's pose is known, frontality falls with the angle (to
  /// e^-½ at 15°). Where it is not, the likeness of the picture to its mirror image stands in for it: a face turned away is less
  /// symmetric, but so is a one-sided background, so that this only compares frames of one clip.
  static func score(_ frame: [UInt8], _ size: ReferencePicture.Size, pose: ClipTruth.Frame?) -> Double {
    let gray = self.gray(frame, size)
    let frontality =
      if let pose { exp(-(pose.yaw * pose.yaw + pose.pitch * pose.pitch) / (2 * 15 * 15)) } else { symmetry(gray) }
    return sharpness(gray) * frontality
  }

  /// The deviation of the Laplacian of `[1, 1, H, W]`.
  static func sharpness(_ gray: Tensor) -> Double {
    let kernel = Tensor([0, 1, 0, 1, -4, 1, 0, 1, 0] as [Float], [1, 1, 3, 3])
    let edges = gray.conv2d(kernel, nil)
    return (edges - edges.mean()).square().mean().sqrt().item
  }

  /// The correlation of `[1, 1, H, W]` with its mirror image, as a number from 0 to 1.
  static func symmetry(_ gray: Tensor) -> Double {
    let small = gray.interpolateBilinear(32, 32, antialias: true)
    return (1 + correlation(small, small.flip(3))) / 2
  }

  /// How much a picture and frames of a clip show the same, from 0 to 1: half of it is the overlap of their histograms of colour
  /// (8 × 8 × 8 bins), half the correlation of their coarse structure (16 × 16 gray pixels).
  ///
  /// - Parameters:
  ///   - reference: `[1, 3, H, W]` in [0, 1].
  ///   - frames: packed RGB8 of `size`; up to 8 of them, spread evenly, are looked at.
  static func consistency(_ reference: Tensor, _ frames: [[UInt8]], _ size: ReferencePicture.Size) -> Double {
    guard !frames.isEmpty else { return 0 }
    let count = min(8, frames.count)
    let (colours, structure) = (histogram(reference), coarse(reference))
    let scores = (0..<count).map { index -> Double in
      let place = count == 1 ? 0 : index * (frames.count - 1) / (count - 1)
      let frame = colour(frames[place], size)
      let overlap = zip(colours, histogram(frame)).reduce(0) { $0 + min($1.0, $1.1) }
      return (overlap + max(0, correlation(structure, coarse(frame)))) / 2
    }
    return scores.reduce(0, +) / Double(count)
  }

  private static func colour(_ frame: [UInt8], _ size: ReferencePicture.Size) -> Tensor {
    ReferencePicture.tensor(Picture(width: size.width, height: size.height, bytes: frame))
  }

  private static func gray(_ frame: [UInt8], _ size: ReferencePicture.Size) -> Tensor { gray(colour(frame, size)) }

  /// Luma by BT.601.
  private static func gray(_ picture: Tensor) -> Tensor {
    (picture * Tensor([0.299, 0.587, 0.114] as [Float], [1, 3, 1, 1])).sum(1, keep: true)
  }

  private static func coarse(_ picture: Tensor) -> Tensor {
    gray(picture).interpolateBilinear(16, 16, antialias: true)
  }

  /// Shares of 512 colours.
  private static func histogram(_ picture: Tensor) -> [Double] {
    let small = picture.interpolateBilinear(64, 64, antialias: true)
    let bins = (small * 8).floor().clamp(0, 7)
    let weights = Tensor([64, 8, 1] as [Float], [1, 3, 1, 1])
    var shares = [Double](repeating: 0, count: 512)
    for bin in (bins * weights).sum(1).array(Int.self) { shares[bin] += 1.0 / 4096 }
    return shares
  }

  /// Pearson's correlation of all elements; pictures without any structure are alike.
  private static func correlation(_ a: Tensor, _ b: Tensor) -> Double {
    let (x, y) = (a.to(.float64) - a.to(.float64).mean(), b.to(.float64) - b.to(.float64).mean())
    let (xx, yy) = (x.square().sum().item, y.square().sum().item)
    if xx < 1e-9, yy < 1e-9 { return 1 }
    return xx < 1e-9 || yy < 1e-9 ? 0 : (x * y).sum().item / (xx * yy).squareRoot()
  }
}
