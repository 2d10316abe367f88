import Basics
import CFFmpeg
import CMedia
import Foundation

/// Writes a video file: H.264 (4:2:0, BT.709, odd sides padded to even ones) and AAC sound (48 kHz mono), as a
/// stream: frames and sound are encoded as they come. Sound is encoded up to the end of the last frame appended;
/// what is ahead waits, uncompressed. The file says that it is AI-generated, and plays before it is fully loaded
/// (its index stands in front). It is written beside its place and renamed when whole.
package final class VideoWriter: VideoSink {
  /// The endings of names it knows containers for.
  package static let endings: Set<String> = ["mp4", "m4v", "mov", "mkv"]

  package let path: String
  package let format: VideoFormat
  /// Frames appended so far.
  package private(set) var frameCount = 0
  private var output: Output?
  private var soundAhead: [Float] = []
  /// How much of `soundAhead` is encoded already.
  private var soundStart = 0
  private var soundUsed = 0

  package convenience init(path: String, format: VideoFormat) throws {
    try self.init(path: path, format: format, device: nil)
  }

  /// - Parameter device: see `TemporaryFile`.
  init(path: String, format: VideoFormat, device: String?) throws {
    self.path = path
    self.format = format
    try format.check(path)
    FFmpeg.begin()
    output = try Output(path: path, format: format, device: device)
  }

  package func append(frame: [UInt8]) throws {
    try step { output in
      try format.check(frame, path)
      try output.append(frame: frame)
      frameCount += 1
      try encodeSound(output)
    }
  }

  package func append(sound: [Float]) throws {
    try step { output in
      guard format.soundSampleRate != nil else {
        throw LiveTalkError.unwritable(path, "this video was begun without sound")
      }
      soundAhead.append(contentsOf: sound)
      try encodeSound(output)
    }
  }

  package func finish() throws {
    try step { output in
      guard frameCount > 0 else { throw LiveTalkError.unwritable(path, "no frame was written") }
      if let rate = format.soundSampleRate {
        let due = format.soundSamples(frames: frameCount, rate: rate)
        // Silence in pieces: much of it may lack.
        while soundUsed + soundAhead.count - soundStart < due {
          let lacking = due - soundUsed - (soundAhead.count - soundStart)
          soundAhead.append(contentsOf: repeatElement(0, count: min(lacking, 1 << 16)))
          try encodeSound(output)
        }
        try encodeSound(output)
      }
      try output.finish(
        soundSamples: format.soundSamples(frames: frameCount, rate: SoundTrack.rate))
    }
    release()
  }

  package func cancel() {
    release()
  }

  private func release() {
    output = nil
    soundAhead = []
    soundStart = 0
  }

  private func encodeSound(_ output: Output) throws {
    guard let rate = format.soundSampleRate else { return }
    let due = format.soundSamples(frames: frameCount, rate: rate) - soundUsed
    let end = soundStart + min(soundAhead.count - soundStart, due)
    guard end > soundStart else { return }
    try soundAhead.withUnsafeBufferPointer {
      try output.append(sound: UnsafeBufferPointer(rebasing: $0[soundStart..<end]))
    }
    soundUsed += end - soundStart
    soundStart = end
    // Moving what is left at every frame would take quadratic time when all the sound comes first.
    if soundStart > soundAhead.count / 2 {
      soundAhead.removeFirst(soundStart)
      soundStart = 0
    }
  }

  /// Any error ends the writer; with its `Output` goes the temporary file.
  private func step(_ body: (Output) throws -> Void) throws {
    guard let output else { throw LiveTalkError.unwritable(path, "it was already ended") }
    do { try body(output) } catch {
      cancel()
      throw error
    }
  }
}

/// The container, its two tracks and its temporary file, all freed together.
private final class Output {
  private let path: String
  private let file: TemporaryFile
  private let packet: Packet
  private let container: Container
  private let picture: VideoTrack
  private let sound: SoundTrack?

  init(path: String, format: VideoFormat, device: String?) throws {
    self.path = path
    file = try TemporaryFile(destination: path, device: device)
    packet = try Packet()
    var opened: UnsafeMutablePointer<AVFormatContext>?
    // The name is the temporary file's own: the second pass that moves the index to the front opens it by name.
    let status = avformat_alloc_output_context2(&opened, nil, nil, "file:\(file.path)")
    guard status >= 0, let opened else { throw LiveTalkError.unwritable(path, FFmpeg.reason(status)) }
    container = Container(owning: opened, isInput: false)
    let global = opened.pointee.oformat.pointee.flags & AVFMT_GLOBALHEADER != 0
    picture = try VideoTrack(format: format, globalHeader: global)
    sound = try format.soundSampleRate.map { try SoundTrack(sourceRate: $0, globalHeader: global) }
    try begin()
  }

  private var context: UnsafeMutablePointer<AVFormatContext> { container.pointer }

  private func begin() throws {
    guard let io = cmedia_io_new(file.file) else { throw LiveTalkError.unwritable(path, "memory is exhausted") }
    context.pointee.pb = io.assumingMemoryBound(to: AVIOContext.self)
    for codec in [picture.codec, sound?.codec].compactMap({ $0 }) {
      guard let stream = avformat_new_stream(context, nil),
        avcodec_parameters_from_context(stream.pointee.codecpar, codec.pointer) >= 0
      else { throw LiveTalkError.unwritable(path, "memory is exhausted") }
      stream.pointee.time_base = codec.pointer.pointee.time_base
      stream.pointee.avg_frame_rate = codec.pointer.pointee.framerate
      av_dict_set(&stream.pointee.metadata, "handler_name", "AI-generated", 0)
    }
    av_dict_set(&context.pointee.metadata, "title", "AI-generated video", 0)
    av_dict_set(&context.pointee.metadata, "comment", madeByAI, 0)
    av_dict_set(&context.pointee.metadata, "description", madeByAI, 0)
    var options: OpaquePointer?
    defer { av_dict_free(&options) }
    av_dict_set(&options, "movflags", "+faststart", 0)
    try check(avformat_write_header(context, &options))
  }

  func append(frame: [UInt8]) throws {
    try picture.encode(frame, sink: { try write($0, stream: 0, picture.codec) }, packet: packet)
  }

  func append(sound samples: UnsafeBufferPointer<Float>) throws {
    guard let sound else { return }
    try sound.encode(samples, sink: { try write($0, stream: 1, sound.codec) }, packet: packet)
  }

  func finish(soundSamples: Int) throws {
    try picture.finish(sink: { try write($0, stream: 0, picture.codec) }, packet: packet)
    if let sound {
      try sound.finish(total: soundSamples, sink: { try write($0, stream: 1, sound.codec) }, packet: packet)
    }
    try check(av_write_trailer(context))
    avio_flush(context.pointee.pb)
    try check(0)
    try file.commit()
  }

  private func write(_ packet: UnsafeMutablePointer<AVPacket>, stream: Int, _ codec: Codec) throws {
    guard let target = context.pointee.streams[stream] else { return }
    packet.pointee.stream_index = Int32(stream)
    av_packet_rescale_ts(packet, codec.pointer.pointee.time_base, target.pointee.time_base)
    try check(av_interleaved_write_frame(context, packet))
  }

  /// The system's own reason comes first: FFmpeg may report a full disk late, or as something else.
  private func check(_ status: Int32) throws {
    if file.file.pointee.error != 0 { throw LiveTalkError.unwritable(path, systemReason(file.file.pointee.error)) }
    guard status >= 0 else { throw LiveTalkError.unwritable(path, FFmpeg.reason(status)) }
  }
}
