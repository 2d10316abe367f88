import Basics
import Evaluation
import Foundation
import Generation
import Media
import Models
import Torch

/// Brings together what an evaluation compares: frames, the sound that drove them, and the truth of both.
struct Measuring {
  let reader: FaceReader
  let device: Device
  /// Pixels that videos are brought to; nil to take them as they are.
  let size: ReferencePicture.Size?
  let seconds: Double?
  let clips: [EvaluationClip]
  let swapsSound: Bool

  private static let rate = LatentGeometry.livetalk.framesPerSecond

  /// The clip whose sound drives a clip's person.
  func driver(of index: Int) -> Int { swapsSound ? (index + 1) % clips.count : index }

  /// What is read off a video, up to so many frames; nil where there is none.
  func frames(of video: URL?, upTo limit: Int = .max) throws -> VideoReading? {
    guard let video else { return nil }
    let source = try VideoReader(path: video.path, framesPerSecond: Double(Self.rate))
    let longest = min(limit, seconds.map { Int($0 * Double(Self.rate)) + 1 } ?? .max)
    var reading: VideoReading?
    while (reading?.frames ?? 0) < longest, let frame = try source.next() {
      let picture = fitted(frame)
      if reading == nil {
        reading = VideoReading(width: picture.width, height: picture.height, reader: reader, device: device)
      }
      reading?.append(picture.bytes)
    }
    reading?.finish()
    return reading
  }

  /// All that is measured of a video of the person of one clip, driven by the sound of one.
  func measures(_ reading: VideoReading, _ person: Int, drivenBy sound: Int) throws -> ClipMeasures {
    let other = clips.count > 1 ? clips[(sound + 1) % clips.count] : nil
    func envelope(_ clip: EvaluationClip) throws -> [Double] {
      speechEnvelope(
        try clip.samples(), sampleRate: LatentGeometry.livetalk.sampleRate, frames: reading.frames,
        framesPerSecond: Self.rate)
    }
    return ClipMeasures(
      id: clips[person].id, reading, reference: try identity(of: clips[person]),
      stranger: clips.count > 1 ? try identity(of: clips[(person + 1) % clips.count]) : nil,
      truth: try clips[sound].mouth(frames: reading.frames), other: try other?.mouth(frames: reading.frames),
      envelope: try envelope(clips[sound]), otherEnvelope: try other.map(envelope), framesPerSecond: Self.rate)
  }

  /// The vector of a clip's reference picture.
  private func identity(of clip: EvaluationClip) throws -> [Float]? {
    let picture = fitted(try clip.reference())
    var reading = VideoReading(width: picture.width, height: picture.height, reader: reader, device: device)
    reading.append(picture.bytes)
    reading.finish()
    return reading.identities.first
  }

  /// A picture at the size of the videos, as a session prepares it.
  private func fitted(_ picture: Picture) -> Picture {
    guard let size, size.width != picture.width || size.height != picture.height else { return picture }
    let bytes = withInferenceMode { WanVAE.pixels(ReferencePicture.prepared(picture, size)).bytes() }
    return Picture(width: size.width, height: size.height, bytes: bytes)
  }
}
