/// A picture: packed 8-bit RGB, row by row from the top.
package struct Picture: Hashable, Sendable {
  package let width, height: Int
  /// `width · height · 3` values: red, green, blue.
  package let bytes: [UInt8]

  /// - Precondition: the sides are positive, and `bytes` holds `width · height · 3` values.
  package init(width: Int, height: Int, bytes: [UInt8]) {
    precondition(width > 0 && height > 0, "a picture has pixels")
    precondition(bytes.count == width * height * 3, "\(bytes.count) bytes are not \(width)×\(height) RGB pixels")
    (self.width, self.height, self.bytes) = (width, height, bytes)
  }
}
