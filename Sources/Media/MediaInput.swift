import Basics
import CFFmpeg
import CMedia
import Foundation

/// What a file is taken for; decides the words of its errors and the formats it may have.
enum MediaKind: String {
  case picture, sound, video

  /// Demuxers that may open the file. Playlists and scripts, which could name other files, are never among them.
  var formats: String {
    let films = "mov,matroska,avi,mpegts,ogg,flv,mpeg,asf"
    return switch self {
    case .picture: "gif,apng,bmp_pipe,tiff_pipe,qoi_pipe,psd_pipe,jpegxl_pipe,j2k_pipe,pgm_pipe,ppm_pipe,pam_pipe,mov"
    case .sound: "wav,w64,rf64,mp3,flac,aac,ac3,eac3,aiff,caf,au,amr,ape,wv,tta,\(films)"
    case .video: films
    }
  }
}

/// An opened container and the decoder of its best stream of one kind.
final class MediaInput {
  let path: String
  let kind: MediaKind
  let stream: UnsafeMutablePointer<AVStream>
  private let container: Container
  private let codec: Codec
  private let packet: Packet
  private let frame: Frame
  private var isDraining = false
  private var decoded = 0
  /// What was wrong with the first piece that was passed over or concealed, as the end of a sentence; nil for a whole file.
  private(set) var damage: String?

  /// - Parameter kind: whose formats may be opened; `type` is the stream that is decoded.
  init(path: String, kind: MediaKind, type: AVMediaType) throws {
    let source = try SourceFile(path, kind: kind)
    FFmpeg.begin()
    packet = try Packet()
    frame = try Frame()
    self.path = path
    self.kind = kind
    container = try Self.open(source, kind)
    let context = container.pointer
    if kind != .picture, cff_find_stream_info(context, Int64(Picture.maximumPixels)) < 0 {
      throw LiveTalkError.unreadable(kind.rawValue, path, "it is damaged")
    }
    var decoder: UnsafePointer<AVCodec>?
    let index = av_find_best_stream(context, type, -1, -1, &decoder, 0)
    guard index >= 0, let stream = context.pointee.streams[Int(index)], let decoder else {
      let wanted = type == AVMEDIA_TYPE_AUDIO ? "sound" : "picture"
      throw LiveTalkError.unreadable(kind.rawValue, path, "it holds no \(wanted) that can be decoded")
    }
    self.stream = stream
    codec = try Self.decoder(decoder, stream, kind, path)
    for other in 0..<Int(context.pointee.nb_streams) where other != Int(index) {
      context.pointee.streams[other]?.pointee.discard = AVDISCARD_ALL
    }
  }

  private static func open(_ source: SourceFile, _ kind: MediaKind) throws -> Container {
    var options: OpaquePointer?
    defer { av_dict_free(&options) }
    av_dict_set(&options, "format_whitelist", kind.formats, 0)
    av_dict_set(&options, "protocol_whitelist", "file", 0)
    var context: UnsafeMutablePointer<AVFormatContext>?
    let status = avformat_open_input(&context, "file:\(source.place)", nil, &options)
    guard status >= 0, let context else {
      // An unknown format is "invalid data"; a known one that is not whitelisted is "invalid argument".
      let isUnknown = status == cff_error_invalid() || status == cff_posix_error(EINVAL)
      let reason =
        isUnknown ? "it is not a \(kind.rawValue) of a known format, or it is damaged" : FFmpeg.reason(status)
      throw LiveTalkError.unreadable(kind.rawValue, source.path, reason)
    }
    return Container(owning: context, isInput: true)
  }

  private static func decoder(
    _ decoder: UnsafePointer<AVCodec>, _ stream: UnsafeMutablePointer<AVStream>, _ kind: MediaKind, _ path: String
  ) throws -> Codec {
    let codec = try Codec(decoder)
    codec.pointer.pointee.max_pixels = Int64(Picture.maximumPixels)
    codec.pointer.pointee.pkt_timebase = stream.pointee.time_base
    var status = avcodec_parameters_to_context(codec.pointer, stream.pointee.codecpar)
    if status >= 0 { status = avcodec_open2(codec.pointer, decoder, nil) }
    guard status >= 0 else { throw LiveTalkError.unreadable(kind.rawValue, path, FFmpeg.reason(status)) }
    return codec
  }

  private var context: UnsafeMutablePointer<AVFormatContext> { container.pointer }

  /// Seconds that the container claims, or nil when it says nothing or FFmpeg only guessed from the bit rate.
  var claimedSeconds: Double? {
    guard context.pointee.duration != cff_no_timestamp(), context.pointee.duration > 0,
      context.pointee.duration_estimation_method != AVFMT_DURATION_FROM_BITRATE
    else { return nil }
    return Double(context.pointee.duration) / Double(AV_TIME_BASE) - secondsBefore
  }

  /// Seconds before the first packet of fragmented MP4, whose lengths count them: a stream that was joined late begins there. It has no
  /// frames outside of its fragments.
  private var secondsBefore: Double {
    let start = stream.pointee.start_time
    let isFragmented =
      String(cString: context.pointee.iformat.pointee.name).hasPrefix("mov") && stream.pointee.nb_frames == 0
    return !isFragmented || start == cff_no_timestamp() ? 0 : max(0, Double(start) * av_q2d(stream.pointee.time_base))
  }

  /// Seconds of the stream of this type as the container gives them; nil when there is no such stream.
  func streamSeconds(_ type: AVMediaType) -> Double? {
    let index = av_find_best_stream(context, type, -1, -1, nil, 0)
    guard index >= 0, let stream = context.pointee.streams[Int(index)] else { return nil }
    guard stream.pointee.duration != cff_no_timestamp() else { return claimedSeconds }
    return Double(stream.pointee.duration) * av_q2d(stream.pointee.time_base)
  }

  /// Whether there is a stream of this type that can be decoded.
  func has(_ type: AVMediaType) -> Bool { av_find_best_stream(context, type, -1, -1, nil, 0) >= 0 }

  /// Seconds that the decoded stream must have; nil where the container only gives those of the longest of several.
  var ownSeconds: Double? {
    guard context.pointee.duration_estimation_method != AVFMT_DURATION_FROM_BITRATE else { return nil }
    guard stream.pointee.duration == cff_no_timestamp() else {
      return Double(stream.pointee.duration) * av_q2d(stream.pointee.time_base) - secondsBefore
    }
    return context.pointee.nb_streams == 1 ? claimedSeconds : nil
  }

  /// The stream's length in its own ticks where one tick is one sample, as in Ogg and M4A; else nil.
  var exactSampleCount: Int? {
    let base = stream.pointee.time_base
    guard base.num == 1, base.den == stream.pointee.codecpar.pointee.sample_rate,
      stream.pointee.duration != cff_no_timestamp(), stream.pointee.duration > 0
    else { return nil }
    return Int(stream.pointee.duration)
  }

  /// The container's metadata.
  var metadata: [String: String] {
    var result: [String: String] = [:]
    var entry: UnsafeMutablePointer<AVDictionaryEntry>?
    while true {
      entry = av_dict_get(context.pointee.metadata, "", entry, AV_DICT_IGNORE_SUFFIX)
      guard let entry else { return result }
      result[String(cString: entry.pointee.key)] = String(cString: entry.pointee.value)
    }
  }

  /// The average frame rate, zero when unknown.
  var frameRate: Double {
    let rate = av_guess_frame_rate(context, stream, nil)
    return rate.den == 0 ? 0 : av_q2d(rate)
  }

  // MARK: How a picture is shown

  /// How its pictures lie.
  func orientation(of frame: UnsafeMutablePointer<AVFrame>? = nil) -> Orientation {
    (cff_display_matrix(stream) ?? frame.flatMap { cff_frame_display_matrix($0) }).map {
      Orientation(displayMatrix: $0)
    }
      ?? .upright
  }

  /// Width of a pixel over its height.
  func pixelAspect(of frame: UnsafeMutablePointer<AVFrame>? = nil) -> Double {
    let aspect = av_guess_sample_aspect_ratio(context, stream, frame)
    return aspect.num > 0 && aspect.den > 0 ? av_q2d(aspect) : 1
  }

  /// The next decoded frame, valid until the next call; nil at the end. A damaged packet is passed over, as players
  /// do, but a file of which nothing could be decoded is an error.
  func next() throws -> UnsafeMutablePointer<AVFrame>? {
    while true {
      let status = avcodec_receive_frame(codec.pointer, frame.pointer)
      if status >= 0 {
        decoded += 1
        if frame.pointer.pointee.decode_error_flags != 0 || frame.pointer.pointee.flags & AV_FRAME_FLAG_CORRUPT != 0 {
          note("a part of it is damaged")
        }
        if kind != .sound, let problem = refusal(frame.pointer) {
          throw LiveTalkError.unreadable(kind.rawValue, path, problem)
        }
        return frame.pointer
      }
      if status == cff_error_end() {
        guard decoded > 0 || kind == .sound else {
          throw LiveTalkError.unreadable(kind.rawValue, path, "nothing in it can be decoded")
        }
        return nil
      }
      guard status == cff_error_again(), !isDraining else {
        if kind == .picture { throw LiveTalkError.unreadable(kind.rawValue, path, FFmpeg.reason(status)) }
        note(FFmpeg.reason(status))
        if isDraining { return nil }
        try feed()
        continue
      }
      try feed()
    }
  }

  /// Why a picture would not come out as it is meant, as the end of a sentence.
  private func refusal(_ frame: UnsafeMutablePointer<AVFrame>) -> String? {
    if cff_is_interlaced(frame) != 0 {
      return "it is interlaced; make it progressive first, as 'ffmpeg -i in.mp4 -vf bwdif out.mp4' does"
    }
    switch frame.pointee.color_trc {
    case AVCOL_TRC_SMPTE2084: return "it is HDR (PQ); convert it to SDR first"
    case AVCOL_TRC_ARIB_STD_B67: return "it is HDR (HLG); convert it to SDR first"
    default: return nil
    }
  }

  private func feed() throws {
    while true {
      let status = av_read_frame(context, packet.pointer)
      guard status >= 0 else {
        isDraining = true
        if status != cff_error_end() { note("it ends too early, or is damaged") }
        if status != cff_error_end(), status != cff_error_invalid(), decoded == 0 {
          throw LiveTalkError.unreadable(kind.rawValue, path, FFmpeg.reason(status))
        }
        avcodec_send_packet(codec.pointer, nil)
        return
      }
      defer { av_packet_unref(packet.pointer) }
      guard packet.pointer.pointee.stream_index == stream.pointee.index else { continue }
      // A sound that was written to a pipe has no length in its header, and FFmpeg takes its last packet for cut off.
      if packet.pointer.pointee.flags & AV_PKT_FLAG_CORRUPT != 0, kind != .sound || ownSeconds != nil {
        note("a part of it is damaged or cut off")
      }
      let sent = avcodec_send_packet(codec.pointer, packet.pointer)
      if sent < 0 { note(FFmpeg.reason(sent)) }
      if sent < 0, kind == .picture { throw LiveTalkError.unreadable(kind.rawValue, path, FFmpeg.reason(sent)) }
      return
    }
  }

  private func note(_ reason: String) { if damage == nil { damage = reason } }
}
