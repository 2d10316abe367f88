import Basics
import CFFmpeg

extension Picture {
  /// Writes a PNG, beside its place first and renamed when whole.
  ///
  /// - Parameter comment: Latin text kept in the file's "Comment" field.
  package func writePNG(to path: String, comment: String? = nil) throws {
    let file = try TemporaryFile(destination: path)
    try file.write(PNGEncoder(width: width, height: height, comment: comment).encode(bytes))
    try file.commit()
  }
}

/// Makes PNG files of one size.
final class PNGEncoder {
  private let width: Int
  private let height: Int
  private let codec: Codec
  private let frame: Frame
  private let packet: Packet
  private let comment: [UInt8]

  init(width: Int, height: Int, comment: String?) throws {
    FFmpeg.begin()
    guard let encoder = avcodec_find_encoder(AV_CODEC_ID_PNG) else {
      throw LiveTalkError("This FFmpeg has no PNG encoder.")
    }
    self.width = width
    self.height = height
    codec = try Codec(encoder)
    codec.pointer.pointee.width = Int32(width)
    codec.pointer.pointee.height = Int32(height)
    codec.pointer.pointee.pix_fmt = AV_PIX_FMT_RGB24
    codec.pointer.pointee.time_base = AVRational(num: 1, den: 1)
    codec.pointer.pointee.thread_count = 1
    frame = try Frame(width: width, height: height, format: AV_PIX_FMT_RGB24)
    packet = try Packet()
    let status = avcodec_open2(codec.pointer, encoder, nil)
    guard status >= 0 else { throw LiveTalkError("FFmpeg's PNG encoder does not start: \(FFmpeg.reason(status)).") }
    self.comment = comment.map { pngChunk("tEXt", Array("Comment\0\($0)".utf8)) } ?? []
  }

  /// A whole PNG file from packed RGB8.
  func encode(_ bytes: [UInt8]) throws -> [UInt8] {
    try fill(frame, bytes, width: width, height: height)
    var status = avcodec_send_frame(codec.pointer, frame.pointer)
    if status >= 0 { status = avcodec_receive_packet(codec.pointer, packet.pointer) }
    guard status >= 0, let data = packet.pointer.pointee.data else {
      throw LiveTalkError("FFmpeg's PNG encoder fails: \(FFmpeg.reason(status)).")
    }
    defer { av_packet_unref(packet.pointer) }
    var file = [UInt8](UnsafeBufferPointer(start: data, count: Int(packet.pointer.pointee.size)))
    // The signature (8 bytes) and the header chunk (25) come first; text may follow.
    if !comment.isEmpty { file.insert(contentsOf: comment, at: 33) }
    return file
  }
}

/// Copies packed RGB8 into a frame's rows; columns and rows that the frame has beyond are filled with the last ones.
func fill(_ frame: Frame, _ bytes: [UInt8], width: Int, height: Int) throws {
  guard av_frame_make_writable(frame.pointer) >= 0, let plane = frame.pointer.pointee.data.0 else {
    throw LiveTalkError("Memory for a media frame is exhausted.")
  }
  let stride = Int(frame.pointer.pointee.linesize.0)
  let row = width * 3
  bytes.withUnsafeBufferPointer { source in
    guard let base = source.baseAddress else { return }
    for y in 0..<Int(frame.pointer.pointee.height) {
      let target = plane + y * stride
      let from = base + min(y, height - 1) * row
      target.update(from: from, count: row)
      for x in width..<max(width, Int(frame.pointer.pointee.width)) {
        (target + x * 3).update(from: from + row - 3, count: 3)
      }
    }
  }
}

/// One chunk: length, name, content, CRC-32.
private func pngChunk(_ name: String, _ content: [UInt8]) -> [UInt8] {
  let body = Array(name.utf8) + content
  var sum: UInt32 = 0xFFFF_FFFF
  for byte in body {
    sum ^= UInt32(byte)
    for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
  }
  func big(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }
  return big(UInt32(content.count)) + body + big(~sum)
}
