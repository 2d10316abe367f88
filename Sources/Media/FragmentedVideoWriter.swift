import Basics
import CFFmpeg

/// Writes a video that is watched while it is made, as fragmented MP4 in memory: H.264 without B-frames and AAC.
///
/// `header` comes first (`ftyp`, `moov`); then each fragment (`moof`, `mdat`) can be played as soon as it is there, by Media Source
/// Extensions for one. Times are the samples of the sound on both tracks, so that neither drifts and a fragment's time says which
/// samples it holds.
package final class FragmentedVideoWriter {
  /// The bytes that come before all fragments.
  package private(set) var header: [UInt8] = []
  /// What a browser's `SourceBuffer` is made with, such as `video/mp4; codecs="avc1.42c01e, mp4a.40.2"`.
  package private(set) var mimeType = ""

  private let format: VideoFormat
  private let rate: Int
  private let fragmentSamples: Int
  private let packet: Packet
  private let container: Container
  private let picture: VideoTrack
  private let sound: SoundTrack
  /// What has been encoded ends here, as a sample; nil before the first frame.
  private var end: Int?
  private var last: [UInt8] = []
  private var start = 0
  private var fragmentStart = 0

  /// - Parameters:
  ///   - format: with sound at a rate that AAC knows, such as 16, 24 or 48 kHz.
  ///   - fragmentSeconds: how much a fragment holds at least.
  package init(format: VideoFormat, fragmentSeconds: Double = 0.2) throws {
    try format.check(Self.name)
    guard let rate = format.soundSampleRate else { throw LiveTalkError.unwritable(Self.name, "it has no sound") }
    (self.format, self.rate) = (format, rate)
    fragmentSamples = max(1, Int(fragmentSeconds * Double(rate)))
    FFmpeg.begin()
    packet = try Packet()
    var opened: UnsafeMutablePointer<AVFormatContext>?
    let status = avformat_alloc_output_context2(&opened, nil, "mp4", nil)
    guard status >= 0, let opened else { throw LiveTalkError.unwritable(Self.name, FFmpeg.reason(status)) }
    container = Container(owning: opened, isInput: false)
    // Times stay as they are given.
    opened.pointee.avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED
    picture = try VideoTrack(format: format, globalHeader: true, clock: rate)
    sound = try SoundTrack(sourceRate: rate, globalHeader: true, rate: rate)
    try openBuffer()
    try writeHeader()
  }

  deinit { _ = closeBuffer() }

  private static let name = "the stream"
  private var context: UnsafeMutablePointer<AVFormatContext> { container.pointer }

  /// Appends a frame with the sound that is heard while it is shown.
  ///
  /// - Parameters:
  ///   - frame: packed RGB8.
  ///   - samples: as long as the frame is shown.
  ///   - sample: the time at which both begin. Where it is later than the end of the frame before, that one is held in silence until
  ///     then; a frame that is earlier is left out.
  /// - Returns: the next fragment, where this frame completes one.
  package func append(frame: [UInt8], samples: [Float], at sample: Int) throws -> [UInt8]? {
    FFmpeg.begin()
    try format.check(frame, Self.name)
    if end == nil {
      (start, fragmentStart) = (sample, sample)
      sound.begin(at: sample)
    }
    let place = end ?? sample
    guard sample >= place, !samples.isEmpty else { return nil }
    if place < sample {
      // Times of fragments follow from durations: there may be no gap.
      try encode(last, at: place, lasting: sample - place)
      for start in stride(from: place, to: sample, by: 1 << 16) {
        try encode([Float](repeating: 0, count: min(sample - start, 1 << 16)))
      }
    }
    try encode(frame, at: sample, lasting: samples.count)
    try encode(samples)
    (last, end) = (frame, sample + samples.count)
    guard sample + samples.count - fragmentStart >= fragmentSamples else { return nil }
    return try fragment()
  }

  /// Ends the stream.
  ///
  /// - Returns: the last fragment, if there is one.
  package func finish() throws -> [UInt8]? {
    guard let end else { return nil }
    FFmpeg.begin()
    try picture.finish(sink: { try write($0, stream: 0, picture.codec) }, packet: packet)
    try sound.finish(total: end, sink: { try write($0, stream: 1, sound.codec) }, packet: packet)
    let last = try fragment()
    return last.isEmpty ? nil : last
  }

  private func encode(_ frame: [UInt8], at sample: Int, lasting samples: Int) throws {
    try picture.encode(
      frame, at: Int64(sample), lasting: Int64(samples), sink: { try write($0, stream: 0, picture.codec) },
      packet: packet)
  }

  private func encode(_ samples: [Float]) throws {
    try samples.withUnsafeBufferPointer { samples in
      try sound.encode(samples, sink: { try write($0, stream: 1, sound.codec) }, packet: packet)
    }
  }

  private func writeHeader() throws {
    for codec in [picture.codec, sound.codec] {
      guard let stream = avformat_new_stream(context, nil),
        avcodec_parameters_from_context(stream.pointee.codecpar, codec.pointer) >= 0
      else { throw LiveTalkError.unwritable(Self.name, "memory is exhausted") }
      stream.pointee.time_base = AVRational(num: 1, den: Int32(rate))
      stream.pointee.avg_frame_rate = codec.pointer.pointee.framerate
      av_dict_set(&stream.pointee.metadata, "handler_name", "AI-generated", 0)
    }
    av_dict_set(&context.pointee.metadata, "title", "AI-generated video", 0)
    av_dict_set(&context.pointee.metadata, "comment", madeByAI, 0)
    var options: OpaquePointer?
    defer { av_dict_free(&options) }
    // A stream that is joined late begins at a late time: without a list of edits, as if fragments had been there before.
    av_dict_set(&options, "movflags", "+empty_moov+default_base_moof+frag_custom+frag_discont", 0)
    av_dict_set(&options, "use_editlist", "0", 0)
    try check(avformat_write_header(context, &options))
    header = try takeBuffer()
    // The profile as the `avcC` box has it: the three bytes after its version.
    guard let box = header.indices.first(where: { header[$0...].starts(with: Array("avcC".utf8)) }),
      header.count > box + 7
    else { throw LiveTalkError.unwritable(Self.name, "its H.264 encoder tells no profile") }
    let profile = header[(box + 5)...(box + 7)].map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    mimeType = "video/mp4; codecs=\"avc1.\(profile), mp4a.40.2\""
  }

  private func fragment() throws -> [UInt8] {
    fragmentStart = end ?? fragmentStart
    try check(av_write_frame(context, nil))
    return try takeBuffer()
  }

  private func write(_ packet: UnsafeMutablePointer<AVPacket>, stream: Int, _ codec: Codec) throws {
    // AAC's first packet stands before the first sample and holds none of it.
    guard let target = context.pointee.streams[stream], packet.pointee.pts >= start else { return }
    packet.pointee.stream_index = Int32(stream)
    av_packet_rescale_ts(packet, codec.pointer.pointee.time_base, target.pointee.time_base)
    try check(av_write_frame(context, packet))
  }

  private func check(_ status: Int32) throws {
    guard status >= 0 else { throw LiveTalkError.unwritable(Self.name, FFmpeg.reason(status)) }
  }

  // MARK: bytes

  private func openBuffer() throws { try check(avio_open_dyn_buf(&context.pointee.pb)) }

  /// The bytes since the last time.
  private func takeBuffer() throws -> [UInt8] {
    avio_flush(context.pointee.pb)
    let bytes = closeBuffer()
    try openBuffer()
    return bytes
  }

  private func closeBuffer() -> [UInt8] {
    guard let io = context.pointee.pb else { return [] }
    var buffer: UnsafeMutablePointer<UInt8>?
    let count = avio_close_dyn_buf(io, &buffer)
    context.pointee.pb = nil
    defer { av_free(buffer) }
    return Array(UnsafeBufferPointer(start: buffer, count: Int(count)))
  }
}
