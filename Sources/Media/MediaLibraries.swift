import CFFmpeg

/// The media libraries this program runs with, for `livetalk doctor`.
package struct MediaLibraries: Sendable {
  /// The name and version of each of FFmpeg's libraries, as linked at run time.
  package let versions: [(name: String, version: String)]
  /// FFmpeg's own name for its build.
  package let ffmpeg: String
  package let hasX264: Bool
  package let hasAAC: Bool
  package let hasSoxr: Bool
  /// H.264 encoders by FFmpeg's names, in the order they are tried; whether one starts is known only when it is tried.
  package let h264Encoders: [String]

  package static func linked() -> MediaLibraries {
    func words(_ version: UInt32) -> String { "\(version >> 16).\(version >> 8 & 0xFF).\(version & 0xFF)" }
    return MediaLibraries(
      versions: [
        ("libavformat", words(avformat_version())), ("libavcodec", words(avcodec_version())),
        ("libavutil", words(avutil_version())), ("libswscale", words(swscale_version())),
        ("libswresample", words(swresample_version())),
      ],
      ffmpeg: String(cString: av_version_info()),
      hasX264: avcodec_find_encoder_by_name("libx264") != nil,
      hasAAC: avcodec_find_encoder(AV_CODEC_ID_AAC) != nil,
      hasSoxr: Resampler.hasSoxr,
      h264Encoders: VideoTrack.encoders().map { String(cString: $0.pointee.name) })
  }
}
