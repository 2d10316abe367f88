package import Basics

/// How a camera was held: EXIF's orientation tag (0x0112), by its numbers.
package enum Orientation: Int, Sendable, CaseIterable {
  case upright = 1
  case mirrored, upsideDown, flipped, transposed, rightTop, transverse, leftBottom

  /// Whether width and height change places.
  var isTurned: Bool { rawValue >= Orientation.transposed.rawValue }

  /// Where a step right and a step down in the stored picture lead in the upright one: `x' = a·x + c·y`, `y' = b·x + d·y`.
  private var steps: (a: Int, b: Int, c: Int, d: Int) {
    switch self {
    case .upright: (1, 0, 0, 1)
    case .mirrored: (-1, 0, 0, 1)
    case .upsideDown: (-1, 0, 0, -1)
    case .flipped: (1, 0, 0, -1)
    case .transposed: (0, 1, 1, 0)
    case .rightTop: (0, 1, -1, 0)
    case .transverse: (0, -1, -1, 0)
    case .leftBottom: (0, -1, 1, 0)
    }
  }

  /// The orientation whose steps are nearest to these, of any length; upright where they are all 0.
  init(a: Int, b: Int, c: Int, d: Int) {
    func fit(_ orientation: Orientation) -> Int {
      let steps = orientation.steps
      return steps.a * a + steps.b * b + steps.c * c + steps.d * d
    }
    self = Orientation.allCases.reduce(.upright) { fit($1) > fit($0) ? $1 : $0 }
  }

  /// A container's display matrix of 3 × 3 numbers, by rows of `[a, b, u, c, d, v, x, y, w]` as FFmpeg has it.
  init(displayMatrix matrix: UnsafePointer<Int32>) {
    self.init(a: Int(matrix[0]), b: Int(matrix[1]), c: Int(matrix[3]), d: Int(matrix[4]))
  }

  /// This one first, then another.
  func then(_ other: Orientation) -> Orientation {
    let (first, second) = (steps, other.steps)
    return Orientation(
      a: second.a * first.a + second.c * first.b, b: second.b * first.a + second.d * first.b,
      c: second.a * first.c + second.c * first.d, d: second.b * first.c + second.d * first.d)
  }
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
    let (newWidth, newHeight) = orientation.isTurned ? (height, width) : (width, height)
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
