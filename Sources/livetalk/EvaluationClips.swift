import Basics
import ComputeCommands
import Datasets
import Evaluation
import Foundation
import Generation
import Media
import Models
import SyntheticSpeaker

/// A clip that an evaluation starts from: a picture, a sound, a sentence, and where it is known the truth.
struct EvaluationClip {
  let id: String
  let caption: String
  /// The person's picture; nil where it is the first frame of the video.
  let picture: URL?
  /// A file with the sound, which may be the video.
  let sound: URL
  let video: URL?
  /// What `data synthesize` knows of it.
  let truth: URL?

  /// What people of whom nothing is said do.
  private static let caption = "A person speaks to the camera."

  /// The clips of a dataset folder, or the pairs of a picture and a sound of one name in any other, with a text of that name as their
  /// prompt.
  ///
  /// - Throws: `LiveTalkError` for a folder without clips.
  static func all(in folder: URL) throws -> [EvaluationClip] {
    if DatasetFolder.exists(at: folder) {
      return try DatasetFolder(folder).clips.map { clip in
        let video: URL? = if case .video(let url) = clip.pictures { url } else { nil }
        guard let sound = clip.sound ?? video else {
          throw LiveTalkError("The clip '\(clip.id)' of \(folder.path) has no sound.")
        }
        return EvaluationClip(
          id: clip.id, caption: clip.caption ?? caption, picture: clip.reference, sound: sound, video: video,
          truth: clip.truth)
      }
    }
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() else {
      throw LiveTalkError("There is no folder of clips \(folder.path).")
    }
    func files(_ kinds: Set<String>) -> [String: URL] {
      let found = names.map { folder.appendingPathComponent($0) }.filter {
        kinds.contains($0.pathExtension.lowercased())
      }
      return Dictionary(found.map { ($0.deletingPathExtension().lastPathComponent, $0) }) { first, _ in first }
    }
    let pictures = files(["png", "jpg", "jpeg", "webp"])
    let sounds = files(["wav", "mp3", "flac", "m4a", "ogg"])
    let prompts = files(["txt"])
    let clips = try sounds.keys.sorted().compactMap { name -> EvaluationClip? in
      guard let picture = pictures[name], let sound = sounds[name] else { return nil }
      let prompt = try prompts[name].map {
        try String(contentsOf: $0, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
      }
      return EvaluationClip(
        id: name, caption: prompt ?? caption, picture: picture, sound: sound, video: nil, truth: nil)
    }
    guard !clips.isEmpty else {
      throw LiveTalkError(
        "The folder \(folder.path) has neither \(DatasetFolder.fileName) nor a picture and a sound of one name.")
    }
    return clips
  }

  /// The videos of a folder, each with its own sound; clips of the same names tell what is known of them.
  static func videos(in folder: URL, known: [EvaluationClip]) throws -> [EvaluationClip] {
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() else {
      throw LiveTalkError("There is no folder of videos \(folder.path).")
    }
    let byID = Dictionary(known.map { ($0.id, $0) }) { first, _ in first }
    let videos = names.map { folder.appendingPathComponent($0) }
      .filter { ["mp4", "m4v", "mov", "mkv", "webm"].contains($0.pathExtension.lowercased()) }
    guard !videos.isEmpty else { throw LiveTalkError("The folder \(folder.path) has no videos.") }
    return videos.map { video in
      let name = video.deletingPathExtension().lastPathComponent
      let clip = byID[name]
      return EvaluationClip(
        id: name, caption: clip?.caption ?? caption, picture: clip?.picture, sound: clip?.sound ?? video, video: video,
        truth: clip?.truth)
    }
  }

  /// The mouth that the sounds ask for, in each of so many frames; nil where they are not known.
  func mouth(frames: Int) throws -> MouthSeries? {
    guard let truth else { return nil }
    let track = MouthTrack(try Truth(contentsOf: truth).phonemes)
    let rate = Double(LatentGeometry.livetalk.framesPerSecond)
    let shapes = (0..<frames).map { track.shape(from: Double($0) / rate, to: Double($0 + 1) / rate) }
    // As pictures show it: see `FrameState.mouthWidth`.
    return MouthSeries(open: shapes.map(\.open), width: shapes.map { $0.width / 1.2 })
  }

  /// What is true of each frame of the clip's own video, as rows of `FaceColumn` in their units; nil where it is not known.
  func columns() throws -> [[Float]]? {
    guard let truth else { return nil }
    let known = try Truth(contentsOf: truth)
    return known.frames.map { frame in
      let (state, face, marks) = (frame.state, frame.state.face, frame.landmarks)
      let points = [
        marks.leftEye, marks.rightEye, marks.nose, marks.mouthLeft, marks.mouthRight, marks.lipTop, marks.lipBottom,
        marks.chin,
      ]
      let angles = [state.yaw, state.pitch, state.roll].map { $0 / FaceColumn.degrees }
      let values =
        points.flatMap { [$0[0] / Double(known.width), $0[1] / Double(known.height)] }
        + [state.mouthOpen, state.mouthWidth, state.mouthRound, state.teeth, state.tongue] + angles
        + [state.gazeX, state.gazeY, state.blink, face.browRaise, face.browTilt, face.lids, face.cheeks, face.smile]
      return values.map(Float.init)
    }
  }

  /// The sound at the rate that models hear.
  func samples() throws -> [Float] {
    try Sound(contentsOf: sound.path, sampleRate: LatentGeometry.livetalk.sampleRate).samples
  }

  /// The reference picture.
  func reference() throws -> Picture {
    if let picture { return try Picture(contentsOf: picture.path) }
    guard let video,
      let first = try VideoReader(path: video.path, framesPerSecond: Double(LatentGeometry.livetalk.framesPerSecond))
        .next()
    else { throw LiveTalkError("The clip '\(id)' has neither a picture nor a video.") }
    return first
  }
}
