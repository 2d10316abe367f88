import Basics
package import ClipShards
package import Foundation
import Generation
import Torch

/// What is known exactly of a drawn clip, as far as preparing it needs to know.
package struct ClipTruth: Decodable, Sendable {
  /// One video frame.
  package struct Frame: Decodable, Sendable {
    /// Pose of the head in degrees.
    package let yaw: Double
    package let pitch: Double
    /// A row of `FaceTruth`, its landmarks in pixels of the drawn picture; nil where the file does not have all of it.
    let face: [Float]?

    package init(from decoder: any Decoder) throws {
      let values = try Fields(decoder)
      yaw = try values.number("yaw")
      pitch = try values.number("pitch")
      face = try? Frame.row(values)
    }

    private static func row(_ values: Fields) throws -> [Float] {
      let landmarks = try values.fields("landmarks")
      let points = try FaceTruth.Landmark.allCases.flatMap { try landmarks.point("\($0)") }
      let expression = try values.fields("face")
      let states = try FaceTruth.Value.allCases.map { value in
        switch value {
        case .browRaise, .browTilt, .lids, .cheeks, .smile: try expression.number("\(value)")
        default: try values.number("\(value)")
        }
      }
      return (points + states).map(Float.init)
    }
  }

  package let version: Int
  package let fps: Double
  /// Pixels of the drawn picture; nil in files without faces.
  let width, height: Int?
  /// Gapless, in seconds from the clip's start.
  package let phonemes: [ShardPhoneme]
  package let frames: [Frame]
  package let caption: String?

  /// - Throws: `LiveTalkError` for a file that is not there or is no truth file.
  package init(contentsOf url: URL) throws {
    guard let data = try? Data(contentsOf: url) else {
      throw LiveTalkError("The truth file \(url.path) is not there, or cannot be read.")
    }
    do { self = try JSONDecoder().decode(ClipTruth.self, from: data) } catch {
      throw LiveTalkError("The truth file \(url.path) is not one: it is damaged, or lacks what it needs.")
    }
    guard version == 1 else {
      throw LiveTalkError("The truth file \(url.path) is of version \(version), and this program reads version 1.")
    }
    var time = 0.0
    for phoneme in phonemes {
      guard phoneme.start >= time - 1e-6, phoneme.end >= phoneme.start else {
        throw LiveTalkError("The truth file \(url.path) has phonemes out of their order.")
      }
      time = phoneme.end
    }
  }

  /// What is known of the video frame at a time, nil outside the clip.
  package func frame(at seconds: Double) -> Frame? {
    let frame = Int((seconds * fps).rounded())
    return frames.indices.contains(frame) ? frames[frame] : nil
  }

  /// Rows of `FaceTruth` for so many frames from a time on, `[count, FaceTruth.columns]`, of pictures that were scaled to cover `size`
  /// and cropped in the middle; nil where not all of it is known.
  func faces(from start: Double, count: Int, framesPerSecond: Double, _ size: ReferencePicture.Size) -> Tensor? {
    guard let width, let height, width > 0, height > 0 else { return nil }
    let scale = max(Double(size.width) / Double(width), Double(size.height) / Double(height))
    let left = (Double(width) * scale - Double(size.width)) / 2
    let top = (Double(height) * scale - Double(size.height)) / 2
    var rows: [Float] = []
    for index in 0..<count {
      // A clip may end a fraction of a frame after its last picture.
      let time = min(start + Double(index) / framesPerSecond, Double(max(frames.count - 1, 0)) / fps)
      guard var row = frame(at: time)?.face else { return nil }
      for landmark in FaceTruth.Landmark.allCases {
        row[landmark.column] = Float(Double(row[landmark.column]) * scale - left)
        row[landmark.column + 1] = Float(Double(row[landmark.column + 1]) * scale - top)
      }
      rows += row
    }
    return Tensor(rows, [count, FaceTruth.columns])
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

/// The fields of a JSON object by names that are known only when it is read.
private struct Fields {
  private struct Name: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  private let container: KeyedDecodingContainer<Name>

  init(_ decoder: any Decoder) throws { container = try decoder.container(keyedBy: Name.self) }
  private init(_ container: KeyedDecodingContainer<Name>) { self.container = container }

  func number(_ name: String) throws -> Double { try container.decode(Double.self, forKey: Name(stringValue: name)) }

  func point(_ name: String) throws -> [Double] {
    let key = Name(stringValue: name)
    let point = try container.decode([Double].self, forKey: key)
    guard point.count == 2 else {
      throw DecodingError.dataCorruptedError(forKey: key, in: container, debugDescription: "a point is x and y")
    }
    return point
  }

  func fields(_ name: String) throws -> Fields {
    Fields(try container.nestedContainer(keyedBy: Name.self, forKey: Name(stringValue: name)))
  }
}
