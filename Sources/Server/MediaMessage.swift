import Basics
import Media
import NIOCore
import Session

/// A picture with its sound as one binary message of the WebSocket: a header of 24 bytes, the sound, the picture.
///
/// | bytes | type | what |
/// |---|---|---|
/// | 0 | u8 | 1, the version of this layout |
/// | 1–3 | | 0 |
/// | 4–7 | u32 | the frame's number |
/// | 8–15 | u64 | the sample of the session at which both begin |
/// | 16–19 | u32 | the utterance whose sound it is, or 0 |
/// | 20–23 | u32 | bytes of sound |
/// | 24– | s16 | mono sound at the session's rate |
/// | then | | the picture, JPEG; nothing if the stream was opened with `video=none` |
///
/// All numbers are little-endian.
enum MediaMessage {
  static let headerBytes = 24
  static let quality = 82

  static func make(_ frame: MediaFrame, withPicture: Bool, _ allocator: ByteBufferAllocator) throws -> ByteBuffer {
    let sound = PCM(frame.samples, rate: 1).int16
    let picture =
      withPicture
      ? try Picture.jpeg(
        frame.picture.bytes, width: frame.picture.width, height: frame.picture.height, quality: quality) : []
    var buffer = allocator.buffer(capacity: headerBytes + sound.count + picture.count)
    buffer.writeInteger(1, endianness: .little, as: UInt32.self)
    buffer.writeInteger(UInt32(truncatingIfNeeded: frame.index), endianness: .little)
    buffer.writeInteger(UInt64(truncatingIfNeeded: frame.sample), endianness: .little)
    buffer.writeInteger(UInt32(truncatingIfNeeded: frame.utterance?.rawValue ?? 0), endianness: .little)
    buffer.writeInteger(UInt32(sound.count), endianness: .little)
    buffer.writeBytes(sound)
    buffer.writeBytes(picture)
    return buffer
  }
}
