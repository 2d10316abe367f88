package import Basics
package import Torch

/// Brings a picture to the size that the model works at: scaled to cover it, then cropped in the middle.
package enum ReferencePicture {
  /// A size in pixels.
  package struct Size: Hashable, Sendable, Codable {
    package var height: Int
    package var width: Int
    package init(height: Int, width: Int) {
      self.height = height
      self.width = width
    }
  }

  /// Of the given sizes the one with the closest ratio of height to width; the first one on ties.
  ///
  /// As in the reference, a later entry of the same ratio wins only if its longer side is as far from the picture's longer side
  /// as that of the entry that set the ratio.
  package static func size(of sizes: [Size], closestTo picture: Size) -> Size? {
    var best: Size?
    var bestRatio = Double.infinity
    var bestLength = 0
    for size in sizes {
      let ratio = abs(Double(size.height) / Double(size.width) - Double(picture.height) / Double(picture.width))
      let length = abs(max(size.height, size.width) - max(picture.height, picture.width))
      if ratio < bestRatio {
        (best, bestRatio, bestLength) = (size, ratio, length)
      } else if ratio == bestRatio, length == bestLength {
        best = size
      }
    }
    return best
  }

  /// Pixels as a tensor `[1, 3, H, W]` in [0, 1].
  package static func tensor(_ pixels: Picture) -> Tensor {
    Tensor(pixels.bytes, [1, pixels.height, pixels.width, 3]).permute(0, 3, 1, 2).to(.float32).contiguous() / 255
  }

  /// Scales `[1, 3, H, W]` so that it covers the target, each side cut to a whole number; the filter widens when it shrinks.
  package static func scaled(_ picture: Tensor, toCover target: Size) -> Tensor {
    let (height, width) = (Double(picture.size(2)), Double(picture.size(3)))
    let scale = max(Double(target.height) / height, Double(target.width) / width)
    return picture.interpolateBilinear(max(1, Int(height * scale)), max(1, Int(width * scale)), antialias: true)
  }

  /// What the VAE encodes: `[1, 3, 1, H, W]` in [-1, 1].
  ///
  /// The excess is cut off evenly, an odd pixel at the top or left; where cutting to a whole number left a side one pixel short,
  /// a black row or column is added at the bottom or right. Source: `resize_pad` of OmniAvatar.
  package static func prepared(_ pixels: Picture, _ target: Size) -> Tensor {
    let picture = scaled(tensor(pixels), toCover: target)
    let (tall, wide) = (target.height - picture.size(2), target.width - picture.size(3))
    let (top, left) = (floorHalf(tall), floorHalf(wide))
    return (picture.pad(left, wide - left, top, tall - top) * 2 - 1).unsqueeze(2)
  }

  /// Half of a number towards minus infinity, as Python divides.
  private static func floorHalf(_ value: Int) -> Int { value >> 1 }
}
