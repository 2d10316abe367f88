import Basics
import CFFmpeg
import CMedia

/// Rules for every call into FFmpeg: its log never reaches standard error, and its codes become words.
enum FFmpeg {
  /// Touch before the first call.
  static let quiet: Void = {
    cmedia_quiet_log()
  }()

  /// Called before an operation whose failure will be explained by `reason(_:)`.
  static func begin() {
    quiet
    cmedia_clear_log()
  }

  /// Words for a status, with the last line FFmpeg logged on this thread when there is one.
  static func reason(_ status: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    av_strerror(status, &buffer, buffer.count)
    let words = status == cff_error_invalid() ? "it is damaged" : text(buffer)
    let line = String(cString: cmedia_last_log())
    return line.isEmpty ? words : "\(words) (\(line))"
  }
}

/// Owns one AVFrame.
final class Frame {
  let pointer: UnsafeMutablePointer<AVFrame>

  init() throws {
    guard let pointer = av_frame_alloc() else { throw LiveTalkError("Memory for a media frame is exhausted.") }
    self.pointer = pointer
  }

  /// A picture buffer with the alignment that swscale wants.
  convenience init(width: Int, height: Int, format: AVPixelFormat) throws {
    try self.init()
    pointer.pointee.width = Int32(width)
    pointer.pointee.height = Int32(height)
    pointer.pointee.format = format.rawValue
    try allocate()
  }

  /// A mono Float32 buffer.
  convenience init(samples: Int, sampleRate: Int) throws {
    try self.init()
    pointer.pointee.nb_samples = Int32(samples)
    pointer.pointee.sample_rate = Int32(sampleRate)
    pointer.pointee.format = AV_SAMPLE_FMT_FLTP.rawValue
    cff_set_mono(&pointer.pointee.ch_layout)
    try allocate()
  }

  private func allocate() throws {
    guard av_frame_get_buffer(pointer, 0) >= 0 else { throw LiveTalkError("Memory for a media frame is exhausted.") }
  }

  deinit {
    var pointer: UnsafeMutablePointer<AVFrame>? = pointer
    av_frame_free(&pointer)
  }
}

/// Owns one AVPacket.
final class Packet {
  let pointer: UnsafeMutablePointer<AVPacket>

  init() throws {
    guard let pointer = av_packet_alloc() else { throw LiveTalkError("Memory for a media packet is exhausted.") }
    self.pointer = pointer
  }

  deinit {
    var pointer: UnsafeMutablePointer<AVPacket>? = pointer
    av_packet_free(&pointer)
  }
}

/// Owns one AVCodecContext, decoding or encoding.
final class Codec {
  let pointer: UnsafeMutablePointer<AVCodecContext>

  init(_ codec: UnsafePointer<AVCodec>) throws {
    guard let pointer = avcodec_alloc_context3(codec) else { throw LiveTalkError("Memory for a codec is exhausted.") }
    self.pointer = pointer
  }

  deinit {
    var pointer: UnsafeMutablePointer<AVCodecContext>? = pointer
    avcodec_free_context(&pointer)
  }
}

/// Owns one AVFormatContext: an input, or an output over `cmedia_io_new`.
final class Container {
  let pointer: UnsafeMutablePointer<AVFormatContext>
  private let isInput: Bool

  /// Takes over what avformat_open_input or avformat_alloc_output_context2 gave.
  init(owning pointer: UnsafeMutablePointer<AVFormatContext>, isInput: Bool) {
    self.pointer = pointer
    self.isInput = isInput
  }

  deinit {
    var pointer: UnsafeMutablePointer<AVFormatContext>? = pointer
    if isInput {
      avformat_close_input(&pointer)
    } else {
      cmedia_io_free(pointer?.pointee.pb)
      avformat_free_context(pointer)
    }
  }
}

/// The text in a C buffer, up to its zero.
func text(_ buffer: [CChar]) -> String {
  String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
