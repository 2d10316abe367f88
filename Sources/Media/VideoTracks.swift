import Basics
import CFFmpeg

/// The picture of a video file: frames of RGB8 in, H.264 packets out.
final class VideoTrack {
  let codec: Codec
  private let format: VideoFormat
  private let source: Frame
  private let coded: Frame
  private let scaler: OpaquePointer
  private var count: Int64 = 0

  /// The encoders to try: the software ones that are everywhere alike first.
  static func encoders() -> [UnsafePointer<AVCodec>] {
    var found = ["libx264", "libopenh264", "h264_videotoolbox"].compactMap { (name: String) in
      avcodec_find_encoder_by_name(name)
    }
    if let other = avcodec_find_encoder(AV_CODEC_ID_H264), !found.contains(other) { found.append(other) }
    return found
  }

  /// Sides are rounded up to even numbers, as 4:2:0 needs them: an odd side repeats its last column or row.
  ///
  /// - Parameter clock: ticks per second of the frames' times, for a video that is watched while it is made: each frame's packet is there
  ///   at once. Nil: frames are numbered.
  init(format: VideoFormat, globalHeader: Bool, clock: Int? = nil) throws {
    self.format = format
    let width = (format.width + 1) & ~1
    let height = (format.height + 1) & ~1
    source = try Frame(width: width, height: height, format: AV_PIX_FMT_RGB24)
    coded = try Frame(width: width, height: height, format: AV_PIX_FMT_YUV420P)
    coded.pointer.pointee.colorspace = AVCOL_SPC_BT709
    coded.pointer.pointee.color_primaries = AVCOL_PRI_BT709
    coded.pointer.pointee.color_trc = AVCOL_TRC_BT709
    coded.pointer.pointee.color_range = AVCOL_RANGE_MPEG
    codec = try Self.open(format, width, height, globalHeader, clock)
    guard
      let scaler = cff_scaler(
        Int32(width), Int32(height), AV_PIX_FMT_RGB24.rawValue, SWS_CS_DEFAULT, 1, Int32(width),
        AV_PIX_FMT_YUV420P.rawValue, SWS_CS_ITU709, 0)
    else { throw LiveTalkError("FFmpeg cannot convert frames for H.264.") }
    self.scaler = scaler
  }

  deinit { sws_freeContext(scaler) }

  private static func open(
    _ format: VideoFormat, _ width: Int, _ height: Int, _ globalHeader: Bool, _ clock: Int?
  ) throws -> Codec {
    let candidates = encoders()
    guard !candidates.isEmpty else { throw LiveTalkError("This FFmpeg has no H.264 encoder.") }
    var status: Int32 = 0
    for encoder in candidates {
      let codec = try Codec(encoder)
      let context = codec.pointer
      context.pointee.width = Int32(width)
      context.pointee.height = Int32(height)
      context.pointee.pix_fmt = AV_PIX_FMT_YUV420P
      context.pointee.time_base = AVRational(num: 1, den: Int32(clock ?? format.framesPerSecond))
      context.pointee.framerate = AVRational(num: Int32(format.framesPerSecond), den: 1)
      // Several threads of x264 decide by who is done first, now and then.
      if format.isRepeatable || clock != nil { context.pointee.thread_count = 1 }
      context.pointee.gop_size = Int32(format.framesPerSecond * (clock == nil ? 4 : 2))
      if clock != nil { context.pointee.max_b_frames = 0 }
      context.pointee.colorspace = AVCOL_SPC_BT709
      context.pointee.color_primaries = AVCOL_PRI_BT709
      context.pointee.color_trc = AVCOL_TRC_BT709
      context.pointee.color_range = AVCOL_RANGE_MPEG
      if globalHeader { context.pointee.flags |= AV_CODEC_FLAG_GLOBAL_HEADER }
      if String(cString: encoder.pointee.name) == "libx264" {
        av_opt_set(context.pointee.priv_data, "crf", clock == nil ? "18" : "23", 0)
        if clock != nil {
          av_opt_set(context.pointee.priv_data, "preset", "veryfast", 0)
          av_opt_set(context.pointee.priv_data, "tune", "zerolatency", 0)
        }
      } else {
        context.pointee.bit_rate = Int64(width * height * format.framesPerSecond) / 4 + 100_000
      }
      status = avcodec_open2(context, encoder, nil)
      if status >= 0 { return codec }
    }
    throw LiveTalkError("No H.264 encoder of this FFmpeg starts: \(FFmpeg.reason(status)).")
  }

  /// Encodes one frame; what is ready goes to `sink`.
  ///
  /// - Parameters:
  ///   - time: in ticks of the track's clock; the frame's number if nil.
  ///   - duration: in the same ticks.
  func encode(
    _ bytes: [UInt8], at time: Int64? = nil, lasting duration: Int64 = 1,
    sink: (UnsafeMutablePointer<AVPacket>) throws -> Void, packet: Packet
  ) throws {
    try fill(source, bytes, width: format.width, height: format.height)
    // The encoder may still hold the last frame's buffer.
    guard av_frame_make_writable(coded.pointer) >= 0, cff_scale(scaler, source.pointer, coded.pointer) >= 0 else {
      throw LiveTalkError("A frame cannot be converted for H.264.")
    }
    coded.pointer.pointee.pts = time ?? count
    count += 1
    try drain(codec, frame: coded, packet: packet) { packet in
      // Some encoders leave it out, and the last frame would then have no length.
      if packet.pointee.duration == 0 || time != nil { packet.pointee.duration = duration }
      try sink(packet)
    }
  }

  func finish(sink: (UnsafeMutablePointer<AVPacket>) throws -> Void, packet: Packet) throws {
    try drain(codec, frame: nil, packet: packet) { packet in
      if packet.pointee.duration == 0 { packet.pointee.duration = 1 }
      try sink(packet)
    }
  }
}

/// The sound of a video file: mono samples of any rate in, AAC packets of 48 kHz or another rate out.
final class SoundTrack {
  static let rate = 48_000
  let codec: Codec
  private let rate: Int
  private let resampler: Resampler
  private let frameSize: Int
  private var waiting: [Float] = []
  private var count = 0

  init(sourceRate: Int, globalHeader: Bool, rate: Int = SoundTrack.rate) throws {
    self.rate = rate
    guard let encoder = avcodec_find_encoder(AV_CODEC_ID_AAC) else {
      throw LiveTalkError("This FFmpeg has no AAC encoder.")
    }
    codec = try Codec(encoder)
    let context = codec.pointer
    context.pointee.sample_fmt = AV_SAMPLE_FMT_FLTP
    context.pointee.sample_rate = Int32(rate)
    context.pointee.time_base = AVRational(num: 1, den: Int32(rate))
    context.pointee.bit_rate = rate < 32_000 ? 64_000 : 128_000
    cff_set_mono(&context.pointee.ch_layout)
    if globalHeader { context.pointee.flags |= AV_CODEC_FLAG_GLOBAL_HEADER }
    let status = avcodec_open2(context, encoder, nil)
    guard status >= 0 else { throw LiveTalkError("FFmpeg's AAC encoder does not start: \(FFmpeg.reason(status)).") }
    frameSize = context.pointee.frame_size > 0 ? Int(context.pointee.frame_size) : 1_024
    resampler = try Resampler(from: sourceRate, to: rate)
  }

  /// The time of the next sample, in samples; 0 where it is not set.
  func begin(at sample: Int) { count = sample }

  func encode(
    _ samples: UnsafeBufferPointer<Float>, sink: (UnsafeMutablePointer<AVPacket>) throws -> Void, packet: Packet
  ) throws {
    try resampler.push(samples, into: &waiting)
    try encodeWaiting(sink, packet)
  }

  /// Ends with exactly `total` samples of the track's rate.
  func finish(total: Int, sink: (UnsafeMutablePointer<AVPacket>) throws -> Void, packet: Packet) throws {
    try resampler.push(nil, into: &waiting)
    let left = max(0, total - count)
    if waiting.count > left { waiting.removeLast(waiting.count - left) }
    waiting.append(contentsOf: repeatElement(0, count: left - waiting.count))
    try encodeWaiting(sink, packet)
    if !waiting.isEmpty { try encodeOne(waiting[...], sink, packet) }
    waiting = []
    try drain(codec, frame: nil, packet: packet, sink: sink)
  }

  private func encodeWaiting(_ sink: (UnsafeMutablePointer<AVPacket>) throws -> Void, _ packet: Packet) throws {
    var place = 0
    while waiting.count - place >= frameSize {
      try encodeOne(waiting[place..<(place + frameSize)], sink, packet)
      place += frameSize
    }
    waiting.removeFirst(place)
  }

  private func encodeOne(
    _ samples: ArraySlice<Float>, _ sink: (UnsafeMutablePointer<AVPacket>) throws -> Void, _ packet: Packet
  ) throws {
    // A new buffer each time: the encoder keeps a reference to the last ones.
    let frame = try Frame(samples: samples.count, sampleRate: rate)
    guard let plane = frame.pointer.pointee.data.0 else {
      throw LiveTalkError("Memory for a media frame is exhausted.")
    }
    samples.withUnsafeBytes { source in
      if let base = source.baseAddress {
        UnsafeMutableRawPointer(plane).copyMemory(from: base, byteCount: source.count)
      }
    }
    frame.pointer.pointee.pts = Int64(count)
    count += samples.count
    try drain(codec, frame: frame, packet: packet, sink: sink)
  }
}

/// Gives the encoder a frame (nil: the end) and hands on every packet it has ready.
private func drain(
  _ codec: Codec, frame: Frame?, packet: Packet, sink: (UnsafeMutablePointer<AVPacket>) throws -> Void
) throws {
  var status = avcodec_send_frame(codec.pointer, frame?.pointer)
  guard status >= 0 else { throw LiveTalkError("An encoder fails: \(FFmpeg.reason(status)).") }
  while true {
    status = avcodec_receive_packet(codec.pointer, packet.pointer)
    if status == cff_error_again() || status == cff_error_end() { return }
    guard status >= 0 else { throw LiveTalkError("An encoder fails: \(FFmpeg.reason(status)).") }
    defer { av_packet_unref(packet.pointer) }
    try sink(packet.pointer)
  }
}
