import Basics
import CMedia
import Foundation

extension Picture {
  /// The picture as a JPEG file, without any metadata.
  ///
  /// - Parameter quality: from 1 to 100, as libjpeg counts it.
  /// - Throws: `LiveTalkError` where memory is exhausted or a side is longer than JPEG knows.
  package func jpeg(quality: Int = 85) throws -> [UInt8] {
    try Self.jpeg(bytes, width: width, height: height, quality: quality)
  }

  /// - Parameter bytes: `width` × `height` × 3, packed RGB8.
  package static func jpeg(_ bytes: [UInt8], width: Int, height: Int, quality: Int) throws -> [UInt8] {
    precondition(bytes.count == width * height * 3, "a picture is width × height × 3 bytes")
    var data: UnsafeMutablePointer<UInt8>?
    var length = 0
    var message = [CChar](repeating: 0, count: 256)
    let status = cmedia_jpeg_encode(
      bytes, Int32(width), Int32(height), Int32(quality), &data, &length, &message, message.count)
    defer { free(data) }
    guard status == 0, let data else { throw LiveTalkError("The picture cannot be written as JPEG: \(text(message)).") }
    return Array(UnsafeBufferPointer(start: data, count: length))
  }
}
