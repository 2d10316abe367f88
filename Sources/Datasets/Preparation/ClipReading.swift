import Basics
import Foundation
package import Generation
import Media
import Models
import Torch

/// What a clip must be, to be prepared.
package struct ClipRequirements: Sendable, Equatable {
  /// Pixels of the frames that are made.
  package var size: ReferencePicture.Size
  package var framesPerSecond = LatentGeometry.livetalk.framesPerSecond
  package var sampleRate = LatentGeometry.livetalk.sampleRate
  /// Seconds by which picture and sound may differ in length.
  package var tolerance = 0.5
  /// The longest clip that is read, in seconds.
  package var longest = 60.0
  /// Whether pictures smaller than `size` are enlarged, or refused.
  package var enlarges = false

  package init(size: ReferencePicture.Size) { self.size = size }

  /// - Throws: `LiveTalkError` for a picture that would have to be enlarged.
  func check(width: Int, height: Int, _ what: String) throws {
    guard enlarges || (width >= size.width && height >= size.height) else {
      throw LiveTalkError(
        "The \(what) is \(width) × \(height) pixels, and at least \(size.width) × \(size.height) are needed.")
    }
  }
}

/// A clip whose pictures and sound are read, checked, and brought to the rates and the size that models work at.
struct ReadClip: Sendable {
  /// Packed RGB8 `[H, W, 3]` of each video frame.
  var frames: [[UInt8]] = []
  /// Mono; at least as long as the frames.
  var samples: [Float] = []
  /// Where the reference picture is chosen from the clip: the best frame, as large as it was.
  var best: (picture: Picture, score: Double)?
}

/// Reads the clips of a dataset folder.
struct ClipReader {
  let requirements: ClipRequirements

  /// - Parameter score: how well a frame serves as the reference picture, by its packed pixels and its time; nil where none is
  ///   wanted.
  /// - Throws: `LiveTalkError` with the reason why the clip cannot be used.
  func read(_ source: ClipSource, score: (([UInt8], Double) -> Double)? = nil) throws -> ReadClip {
    var clip = ReadClip()
    let seconds: Double
    var video: VideoReader?
    switch source.pictures {
    case .video(let url):
      let reader = try VideoReader(path: url.path)
      guard source.sound != nil || reader.hasSound else {
        throw LiveTalkError("The video has no sound, and no sound file is named.")
      }
      seconds = try readVideo(reader, &clip, score)
      video = reader
    case .frames(let url, let rate): seconds = try readFrames(url, rate, &clip, score)
    }
    guard !clip.frames.isEmpty else { throw LiveTalkError("The clip is shorter than one frame.") }
    clip.samples = try sound(of: source, video)
    try agree(seconds, Double(clip.samples.count) / Double(requirements.sampleRate))
    // Sound that ends a little before the picture ends in silence.
    let due = clip.frames.count * requirements.sampleRate / requirements.framesPerSecond
    clip.samples.append(contentsOf: repeatElement(0, count: max(0, due - clip.samples.count)))
    return clip
  }

  private func agree(_ pictures: Double, _ sound: Double) throws {
    guard abs(pictures - sound) <= requirements.tolerance else {
      throw LiveTalkError(
        String(
          format: "The picture lasts %.2f s and the sound %.2f s: they differ by more than %.2f s.", pictures, sound,
          requirements.tolerance))
    }
  }

  private func sound(of source: ClipSource, _ video: VideoReader?) throws -> [Float] {
    let longest = requirements.longest + requirements.tolerance
    let sound: Sound
    if let url = source.sound {
      sound = try Sound(
        contentsOf: url.path, sampleRate: requirements.sampleRate, maximumSeconds: longest, refusesDamage: true)
    } else if let video {
      sound = try video.alignedSound(sampleRate: requirements.sampleRate, maximumSeconds: longest)
    } else {
      throw LiveTalkError("The clip has frames but no sound file is named.")
    }
    guard sound.samples.allSatisfy(\.isFinite) else {
      throw LiveTalkError("The sound holds values that are no numbers.")
    }
    return sound.samples
  }

  /// - Returns: seconds that the pictures last.
  private func readVideo(_ reader: VideoReader, _ clip: inout ReadClip, _ score: (([UInt8], Double) -> Double)?)
    throws -> Double
  {
    try requirements.check(width: reader.width, height: reader.height, "video")
    var sampler = NearestFrames<Picture>(framesPerSecond: Double(requirements.framesPerSecond))
    let shaper = FrameShaper(size: requirements.size)
    while let (picture, seconds) = try reader.nextTimed() {
      try sampler.push(picture, at: seconds) { try add($0, $1, to: &clip, shaper, score) }
    }
    let seconds = reader.endSeconds
    try sampler.finish(at: seconds) { try add($0, $1, to: &clip, shaper, score) }
    if let damage = reader.damage { throw LiveTalkError("The video cannot be used: \(damage).") }
    return seconds
  }

  private func readFrames(
    _ folder: URL, _ rate: Double, _ clip: inout ReadClip, _ score: (([UInt8], Double) -> Double)?
  ) throws -> Double {
    let names = try ClipReader.frameNames(in: folder)
    var sampler = NearestFrames<Picture>(framesPerSecond: Double(requirements.framesPerSecond))
    let shaper = FrameShaper(size: requirements.size)
    for (index, name) in names.enumerated() {
      let picture = try Picture(contentsOf: folder.appendingPathComponent(name).path)
      if index == 0 { try requirements.check(width: picture.width, height: picture.height, "first frame") }
      try sampler.push(picture, at: Double(index) / rate) { try add($0, $1, to: &clip, shaper, score) }
    }
    let seconds = Double(names.count) / rate
    try sampler.finish(at: seconds) { try add($0, $1, to: &clip, shaper, score) }
    return seconds
  }

  /// The pictures of a folder in the order of their names.
  ///
  /// - Throws: `LiveTalkError` for a folder that is not there or holds no picture.
  static func frameNames(in folder: URL) throws -> [String] {
    guard let content = try? FileManager.default.contentsOfDirectory(atPath: folder.path) else {
      throw LiveTalkError("There is no folder of frames \(folder.path).")
    }
    let names = content.filter {
      !$0.hasPrefix(".") && ["png", "jpg", "jpeg"].contains(URL(fileURLWithPath: $0).pathExtension.lowercased())
    }
    guard !names.isEmpty else {
      throw LiveTalkError("The folder of frames \(folder.path) holds no PNG or JPEG picture.")
    }
    return names.sorted()
  }

  private func add(
    _ picture: Picture, _ seconds: Double, to clip: inout ReadClip, _ shaper: FrameShaper,
    _ score: (([UInt8], Double) -> Double)?
  ) throws {
    guard seconds < requirements.longest else {
      throw LiveTalkError("The clip is longer than \(requirements.longest) seconds, the most that is read of one.")
    }
    let bytes = shaper.shape(picture)
    clip.frames.append(bytes)
    if let value = score?(bytes, seconds), value > clip.best?.score ?? -.infinity { clip.best = (picture, value) }
  }
}

/// Brings frames to one size exactly as the reference picture is: scaled to cover it, then cropped in the middle.
final class FrameShaper {
  private let size: ReferencePicture.Size
  private var last: (picture: Picture, bytes: [UInt8])?

  init(size: ReferencePicture.Size) { self.size = size }

  func shape(_ picture: Picture) -> [UInt8] {
    if picture.width == size.width, picture.height == size.height { return picture.bytes }
    // A rate above the video's repeats frames.
    if let last, last.picture == picture { return last.bytes }
    let shaped = ReferencePicture.prepared(picture, size).squeeze(0).squeeze(1)  // [3, H, W]
    let bytes = ((shaped + 1) * 127.5).round().clamp(0, 255).to(.uint8).permute(1, 2, 0).contiguous().bytes()
    last = (picture, bytes)
    return bytes
  }
}
