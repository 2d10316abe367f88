import Basics

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

  package var hasOneColour: Bool { haveOneColour(bytes) }
}
