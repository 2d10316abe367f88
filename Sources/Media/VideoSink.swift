import Basics
import Foundation

/// The size and speed of a video, and the rate of the sound that accompanies it.
package struct VideoFormat: Sendable, Equatable {
  package var width: Int
  package var height: Int
  package var framesPerSecond: Int
  /// Samples per second of the sound that will be appended; nil for a video without sound.
  package var soundSampleRate: Int?
  /// Whether the same frames give the same bytes on a busy machine too: the encoder then has one thread.
  package var isRepeatable = false

  package init(width: Int, height: Int, framesPerSecond: Int = 16, soundSampleRate: Int? = 16_000) {
    self.width = width
    self.height = height
    self.framesPerSecond = framesPerSecond
    self.soundSampleRate = soundSampleRate
  }

  /// Bytes of one frame: packed RGB8.
  package var frameBytes: Int { width * height * 3 }

  /// How much sound belongs to the first `frames` frames, in samples.
  func soundSamples(frames: Int, rate: Int) -> Int { (frames * rate + framesPerSecond / 2) / framesPerSecond }

  func check(_ path: String) throws {
    guard (1...Picture.maximumSide).contains(width), (1...Picture.maximumSide).contains(height),
      (1...1_000).contains(framesPerSecond), (1_000...384_000).contains(soundSampleRate ?? 16_000)
    else {
      throw LiveTalkError.unwritable(
        path,
        "\(width) × \(height) pixels at \(framesPerSecond) frames and \(soundSampleRate ?? 0) samples a second "
          + "is no video")
    }
  }

  func check(_ frame: [UInt8], _ path: String) throws {
    guard frame.count == frameBytes else {
      throw LiveTalkError.unwritable(
        path, "a frame of \(frame.count) bytes came where \(width) × \(height) × 3 = \(frameBytes) were due")
    }
  }
}

/// What every output of ours says about itself.
package let madeByAI = "AI-generated video, made by LiveTalk for Swift from a picture and a sound."

/// Where the frames and the sound of a video go, one piece at a time. A sink is used from one place at a time.
///
/// Nothing is left at the destination unless `finish` returned: `cancel`, any error, and the sink's end of life
/// without `finish` remove what was written (a pipe, of course, has already passed its bytes on).
package protocol VideoSink: AnyObject {
  /// Appends one frame of packed RGB8, `format.frameBytes` long.
  func append(frame: [UInt8]) throws
  /// Appends sound of `format.soundSampleRate`. Sound may run ahead of the frames: what exceeds them is kept.
  func append(sound: [Float]) throws
  /// Ends the video: sound beyond the last frame is cut, missing sound becomes silence.
  func finish() throws
  /// Gives up. Harmless after `finish`.
  func cancel()
}

/// Makes the sink that an output path asks for:
/// `-`, `.rgb`, a named pipe or a device → `RawVideoWriter`; a path that ends in `/` or is a directory →
/// `FrameDirectoryWriter`; `.mp4`, `.m4v`, `.mov`, `.mkv` → `VideoWriter`.
package func makeVideoSink(path: String, format: VideoFormat) throws -> any VideoSink {
  guard !path.isEmpty else { throw LiveTalkError("The output has no name.") }
  if path == "-" { return try RawVideoWriter(path: path, format: format) }
  var status = stat()
  let exists = stat(path, &status) == 0
  let type = exists ? status.st_mode & S_IFMT : S_IFREG
  if path.hasSuffix("/") || type == S_IFDIR { return try FrameDirectoryWriter(path: path, format: format) }
  let ending = URL(fileURLWithPath: path).pathExtension.lowercased()
  if ending == "rgb" || type == S_IFIFO || type == S_IFCHR { return try RawVideoWriter(path: path, format: format) }
  guard VideoWriter.endings.contains(ending) else {
    throw LiveTalkError.unwritable(
      path, "its name must end in .mp4, .mov, .mkv or .rgb, or in / for a directory of pictures, or be - for a pipe")
  }
  return try VideoWriter(path: path, format: format)
}
