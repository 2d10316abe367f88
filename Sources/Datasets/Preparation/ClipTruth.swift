import ClipShards
import Foundation

/// What is known exactly of a drawn clip, as far as preparing it needs to know.
package struct ClipTruth: Decodable, Sendable {
  /// The pose of the head in one video frame, in degrees.
  package struct Pose: Decodable, Sendable {
    package let yaw: Double
    package let pitch: Double
  }

  package let version: Int
  package let fps: Double
  /// Gapless, in seconds from the clip's start.
  package let phonemes: [ShardPhoneme]
  package let frames: [Pose]
  package let caption: String?

  /// - Throws: `DatasetError` for a file that is not there or is no truth file.
  package init(contentsOf url: URL) throws {
    guard let data = try? Data(contentsOf: url) else {
      throw DatasetError("The truth file \(url.path) is not there, or cannot be read.")
    }
    do { self = try JSONDecoder().decode(ClipTruth.self, from: data) } catch {
      throw DatasetError("The truth file \(url.path) is not one: it is damaged, or lacks what it needs.")
    }
    guard version == 1 else {
      throw DatasetError("The truth file \(url.path) is of version \(version), and this program reads version 1.")
    }
    var time = 0.0
    for phoneme in phonemes {
      guard phoneme.start >= time - 1e-6, phoneme.end >= phoneme.start else {
        throw DatasetError("The truth file \(url.path) has phonemes out of their order.")
      }
      time = phoneme.end
    }
  }

  /// The pose at a time, nil outside the clip.
  package func pose(at seconds: Double) -> Pose? {
    let frame = Int((seconds * fps).rounded())
    return frames.indices.contains(frame) ? frames[frame] : nil
  }

  /// The phonemes of a part of the clip, in seconds from its start; what is silent behind the last one is "_".
  package func phonemes(from start: Double, seconds: Double) -> [ShardPhoneme] {
    var part = phonemes.compactMap { phoneme -> ShardPhoneme? in
      let (from, to) = (max(phoneme.start - start, 0), min(phoneme.end - start, seconds))
      return to - from > 1e-9 ? ShardPhoneme(symbol: phoneme.symbol, start: from, end: to) : nil
    }
    let end = part.last?.end ?? 0
    if seconds - end > 1e-6 { part.append(ShardPhoneme(symbol: "_", start: end, end: seconds)) }
    return part
  }
}
