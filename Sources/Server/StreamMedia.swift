import Basics
import HummingbirdCore
import Media
import NIOCore
import Session

/// What the binary messages of a stream are, as its query says: `format`, `video` and `media`.
enum StreamMedia: Sendable, Equatable {
  /// Every frame as a `MediaMessage`.
  case frames(withPicture: Bool)
  /// Fragmented MP4: the first message is its header, every other one a fragment.
  case fragments
  /// No binary messages.
  case none

  /// - Throws: `APIError` for a format that is unknown.
  init(_ uri: URI) throws(APIError) {
    let query = uri.queryParameters
    try self.init(
      format: query["format"].map { String($0) }, video: query["video"].map { String($0) },
      media: query["media"].map { String($0) })
  }

  private init(format: String?, video: String?, media: String?) throws(APIError) {
    switch format ?? "jpeg" {
    case _ where media == "none": self = .none
    case "jpeg": self = .frames(withPicture: video != "none")
    case "fmp4":
      guard video != "none" else {
        throw APIError(
          .badRequest, "A stream of 'fmp4' has its pictures: leave 'video=none' out, or take 'format=jpeg'.")
      }
      self = .fragments
    default: throw APIError(.badRequest, "The format of a stream is 'jpeg' or 'fmp4'.")
    }
  }
}

/// Makes the binary messages of one stream.
///
/// Unchecked, since FFmpeg's encoder knows no `Sendable`: one task of a stream uses it, after another has made it.
final class MediaEncoder: @unchecked Sendable {
  private let withPicture: Bool
  private let fragments: FragmentedVideoWriter?

  /// - Throws: `LiveTalkError` where FFmpeg has no encoder.
  init(_ media: StreamMedia, _ format: StreamFormat) throws {
    withPicture = media == .frames(withPicture: true)
    fragments =
      media == .fragments
      ? try FragmentedVideoWriter(
        format: VideoFormat(
          width: format.size.width, height: format.size.height, framesPerSecond: format.framesPerSecond,
          soundSampleRate: format.sampleRate)) : nil
  }

  /// What a player of the fragments has to be told.
  var mimeType: String? { fragments?.mimeType }

  /// The message before all others, if there is one.
  func header(_ allocator: ByteBufferAllocator) -> ByteBuffer? { fragments.map { allocator.buffer(bytes: $0.header) } }

  /// The message that a frame completes, if it does.
  func message(_ frame: MediaFrame, _ allocator: ByteBufferAllocator) throws -> ByteBuffer? {
    guard let fragments else { return try MediaMessage.make(frame, withPicture: withPicture, allocator) }
    return try fragments.append(frame: frame.picture.bytes, samples: frame.samples, at: frame.sample)
      .map { allocator.buffer(bytes: $0) }
  }

  /// The last message, if there is one.
  func end(_ allocator: ByteBufferAllocator) throws -> ByteBuffer? {
    try fragments?.finish().map { allocator.buffer(bytes: $0) }
  }
}
