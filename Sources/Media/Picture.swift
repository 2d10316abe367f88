/// A picture: packed RGB8, rows from top to bottom.
package struct Picture: Sendable, Equatable {
  package let width: Int
  package let height: Int
  /// `width` × `height` × 3 bytes: red, green, blue.
  package let bytes: [UInt8]

  /// The longest side that is read.
  package static let maximumSide = 16_384
  /// The most pixels that are read.
  package static let maximumPixels = 100_000_000

  package init(width: Int, height: Int, bytes: [UInt8]) {
    precondition(width > 0 && height > 0 && bytes.count == width * height * 3, "a picture is width × height × 3 bytes")
    self.width = width
    self.height = height
    self.bytes = bytes
  }
}

/// How a camera was held: EXIF's orientation tag (0x0112), by its numbers.
package enum Orientation: Int, Sendable, CaseIterable {
  case upright = 1
  case mirrored, upsideDown, flipped, transposed, rightTop, transverse, leftBottom
}

extension Picture {
  /// The picture turned upright, given how it is stored.
  package func upright(from orientation: Orientation) -> Picture {
    guard orientation != .upright else { return self }
    let (width, height) = (width, height)
    // Where pixel (0, 0) of the result lies in the source, and how far one step right or down moves there.
    let (start, right, down): (Int, Int, Int) =
      switch orientation {
      case .upright: (0, 1, width)
      case .mirrored: (width - 1, -1, width)
      case .upsideDown: (width * height - 1, -1, -width)
      case .flipped: ((height - 1) * width, 1, -width)
      case .transposed: (0, width, 1)
      case .rightTop: ((height - 1) * width, -width, 1)
      case .transverse: (width * height - 1, -width, -1)
      case .leftBottom: (width - 1, width, -1)
      }
    let isTurned = orientation.rawValue >= Orientation.transposed.rawValue
    let (newWidth, newHeight) = isTurned ? (height, width) : (width, height)
    let result = [UInt8](unsafeUninitializedCapacity: bytes.count) { target, count in
      bytes.withUnsafeBufferPointer { source in
        var place = 0
        for y in 0..<newHeight {
          var pixel = start + y * down
          for _ in 0..<newWidth {
            target[place] = source[pixel * 3]
            target[place + 1] = source[pixel * 3 + 1]
            target[place + 2] = source[pixel * 3 + 2]
            place += 3
            pixel += right
          }
        }
        count = place
      }
    }
    return Picture(width: newWidth, height: newHeight, bytes: result)
  }
}
