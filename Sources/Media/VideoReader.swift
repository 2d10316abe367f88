package import Basics
import CFFmpeg
import Foundation

/// Reads a video one upright RGB8 frame at a time, at its own rate or at one that is asked for.
package final class VideoReader {
  package let path: String
  /// Frames per second of the file.
  package let frameRate: Double
  /// Seconds of the pictures and of the sound as the container gives them; nil where there are none or it is silent.
  package let videoSeconds: Double?
  package let soundSeconds: Double?
  package let hasSound: Bool
  package let metadata: [String: String]
  /// Pixels of a frame, upright, as the container gives them.
  package let width: Int
  package let height: Int
  private let input: MediaInput
  private let converter = RGBConverter()
  private let orientation: Orientation
  private let wantedRate: Double?
  private var origin: Double?
  private var given = 0
  private var decoded = 0
  private var current: Picture?
  private var upcoming: (picture: Picture, time: Double)?
  private var isAtEnd = false

  /// - Parameter framesPerSecond: the rate to give frames at: each moment gets the last frame shown by then, so a
  ///   slower rate skips frames and a faster one repeats them. Nil gives every frame once.
  package init(path: String, framesPerSecond: Double? = nil) throws {
    if let framesPerSecond, !(framesPerSecond > 0 && framesPerSecond <= 1_000) {
      throw LiveTalkError.unreadable("video", path, "\(framesPerSecond) frames a second cannot be given")
    }
    self.path = path
    wantedRate = framesPerSecond
    input = try MediaInput(path: path, kind: .video, type: AVMEDIA_TYPE_VIDEO)
    frameRate = input.frameRate
    videoSeconds = input.streamSeconds(AVMEDIA_TYPE_VIDEO)
    soundSeconds = input.streamSeconds(AVMEDIA_TYPE_AUDIO)
    hasSound = input.has(AVMEDIA_TYPE_AUDIO)
    metadata = input.metadata
    orientation = input.orientation()
    let stored = input.stream.pointee.codecpar.pointee
    let shown = (
      width: RGBConverter.shownWidth(Int(stored.width), input.pixelAspect()), height: Int(stored.height)
    )
    (width, height) = orientation.isTurned ? (shown.height, shown.width) : shown
  }

  /// What is damaged in the part that has been read, or that the file is cut off, as the end of a sentence; nil for a whole one.
  /// Players pass over it.
  package var damage: String? {
    if let damage = input.damage { return damage }
    // A container's length may be rounded to a frame or two.
    guard isAtEnd, let claimed = input.ownSeconds, claimed - endSeconds > 2 / max(frameRate, 1) + 0.05 else {
      return nil
    }
    let hundredths = { (seconds: Double) in (seconds * 100).rounded() / 100 }
    return "it is cut off: \(hundredths(endSeconds)) of its \(hundredths(claimed)) seconds can be decoded"
  }

  /// The next frame; nil at the end.
  package func next() throws -> Picture? {
    guard let wantedRate else { return try decode()?.picture }
    if current == nil, let first = try decode() {
      current = first.picture
      upcoming = try decode()
    }
    let moment = Double(given) / wantedRate
    while let shown = upcoming, shown.time <= moment + 1e-6 {
      current = shown.picture
      upcoming = try decode()
    }
    if upcoming == nil, moment >= endSeconds - 1e-6 { return nil }
    given += 1
    return current
  }

  /// The next frame of the file and when it is shown, in seconds from the first; nil at the end. Not to be mixed with `next`.
  package func nextTimed() throws -> (picture: Picture, seconds: Double)? {
    try decode().map { ($0.picture, $0.time) }
  }

  /// The sound of the same file.
  package func sound(sampleRate: Int = 16_000, maximumSeconds: Double = 3_600) throws -> Sound {
    try Sound(contentsOf: path, sampleRate: sampleRate, maximumSeconds: maximumSeconds)
  }

  /// The sound of the same file from the moment of its first frame on: silence stands for what begins later, and what begins
  /// earlier is cut off. A frame must have been read.
  ///
  /// - Throws: `LiveTalkError` as for a sound file; damage that players pass over is refused.
  package func alignedSound(sampleRate: Int, maximumSeconds: Double) throws -> Sound {
    var (sound, start) = try Sound.read(path, sampleRate, maximumSeconds, true)
    let late = Int(((start - (origin ?? start)) * Double(sampleRate)).rounded())
    if late > Int(maximumSeconds * Double(sampleRate)) || late <= -sound.samples.count {
      throw LiveTalkError.unreadable("sound", path, "it is not heard while the video is shown")
    }
    if late > 0 {
      sound.samples.insert(contentsOf: repeatElement(0, count: late), at: 0)
    } else {
      sound.samples.removeFirst(-late)
    }
    return sound
  }

  /// When the last frame decoded stops being shown, in seconds from the first.
  package var endSeconds: Double { lastTime + (frameRate > 0 ? 1 / frameRate : 0) }
  private var lastTime = 0.0

  private func decode() throws -> (picture: Picture, time: Double)? {
    guard !isAtEnd, let frame = try input.next() else {
      isAtEnd = true
      return nil
    }
    let stamp = frame.pointee.best_effort_timestamp
    let seconds =
      stamp == cff_no_timestamp()
      ? (frameRate > 0 ? Double(decoded) / frameRate : lastTime) + (origin ?? 0)
      : Double(stamp) * av_q2d(input.stream.pointee.time_base)
    if origin == nil { origin = seconds }
    decoded += 1
    lastTime = seconds - (origin ?? 0)
    let picture = try converter.picture(frame, pixelAspect: input.pixelAspect(of: frame))
    return (picture.upright(from: orientation), lastTime)
  }
}
