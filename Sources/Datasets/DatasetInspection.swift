import Basics
import Foundation
import Media

/// What a dataset folder holds, clip by clip, with what stands against their use.
package struct DatasetInspection: Encodable, Sendable {
  package struct Clip: Encodable, Sendable {
    package let id: String
    package var seconds: Double?
    package var width: Int?
    package var height: Int?
    package var fps: Double?
    /// "file", "track", or nil for none.
    package var sound: String?
    package var soundSeconds: Double?
    package let caption: String?
    package let speaker: String?
    package let hasReference: Bool
    package let hasTruth: Bool
    package var problem: String?
  }

  package let folder: String
  /// Whether every picture and sound was decoded, or only what containers say was read.
  package let isDecoded: Bool
  package var clips: [Clip] = []

  package var problems: Int { clips.count { $0.problem != nil } }
  package var seconds: Double { clips.compactMap { $0.problem == nil ? $0.seconds : nil }.reduce(0, +) }

  /// - Parameters:
  ///   - decoding: decode everything, which finds damage within a video.
  ///   - progress: told how many clips of how many were looked at.
  package init(of dataset: DatasetFolder, decoding: Bool, progress: (Int, Int) -> Void = { _, _ in }) {
    folder = dataset.root.path
    isDecoded = decoding
    for (number, source) in dataset.clips.enumerated() {
      var clip = Clip(
        id: source.id, caption: source.caption, speaker: source.speaker, hasReference: source.reference != nil,
        hasTruth: source.truth != nil)
      do { try DatasetInspection.inspect(source, &clip, decoding) } catch {
        clip.problem = userSentence(error).replacingOccurrences(of: dataset.root.path + "/", with: "")
      }
      clips.append(clip)
      progress(number + 1, dataset.clips.count)
    }
  }

  private static func inspect(_ source: ClipSource, _ clip: inout Clip, _ decoding: Bool) throws {
    var track: VideoReader?
    switch source.pictures {
    case .video(let url):
      let reader = try VideoReader(path: url.path)
      (clip.width, clip.height, clip.fps, clip.seconds) = (
        reader.width, reader.height, reader.frameRate, reader.videoSeconds
      )
      if reader.hasSound { track = reader }
      if decoding {
        while try reader.nextTimed() != nil {}
        if let damage = reader.damage { throw LiveTalkError("The video cannot be used: \(damage).") }
        clip.seconds = reader.endSeconds
      }
    case .frames(let folder, let rate):
      let names = try ClipReader.frameNames(in: folder)
      for (index, name) in names.enumerated() where index == 0 || decoding {
        let picture = try Picture(contentsOf: folder.appendingPathComponent(name).path)
        if index == 0 { (clip.width, clip.height) = (picture.width, picture.height) }
      }
      (clip.fps, clip.seconds) = (rate, Double(names.count) / rate)
    }
    if let sound = source.sound {
      clip.sound = "file"
      clip.soundSeconds = try Sound(contentsOf: sound.path, refusesDamage: true).seconds
    } else if let track {
      clip.sound = "track"
      clip.soundSeconds = decoding ? try Sound(contentsOf: track.path, refusesDamage: true).seconds : track.soundSeconds
    } else {
      throw LiveTalkError("It has no sound.")
    }
    if let reference = source.reference { _ = try Picture(contentsOf: reference.path) }
    if let truth = source.truth { _ = try ClipTruth(contentsOf: truth) }
  }
}
