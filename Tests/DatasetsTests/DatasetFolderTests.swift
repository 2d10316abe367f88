import ClipShards
import Foundation
import Generation
import Testing
import Torch

@testable import Datasets

@Suite struct DatasetFolderTests {
  private let fixture: DatasetFixture

  init() throws { fixture = try DatasetFixture() }

  private func refusal(_ lines: String...) throws -> String {
    try fixture.metadata(lines)
    return sentence { try DatasetFolder(fixture.root) }
  }

  @Test func `every key is read`() throws {
    try fixture.metadata([
      #"{"id": "a", "video": "a.mp4"}"#, "",
      #"{"id": "b", "frames": "b", "fps": 12.5, "sound": "b.wav", "caption": "Hello.", "reference": "b.png", "truth": "b.json", "speaker": "s"}"#,
    ])
    let clips = try DatasetFolder(fixture.root).clips
    #expect(clips.map(\.id) == ["a", "b"] && clips.map(\.line) == [1, 3])
    #expect(clips[0].pictures == .video(fixture.root.appendingPathComponent("a.mp4")))
    #expect(clips[0].sound == nil && clips[0].caption == nil)
    #expect(clips[1].pictures == .frames(fixture.root.appendingPathComponent("b"), framesPerSecond: 12.5))
    #expect(clips[1].caption == "Hello." && clips[1].speaker == "s")
    #expect(clips[1].reference?.lastPathComponent == "b.png" && clips[1].truth?.lastPathComponent == "b.json")
  }

  @Test(arguments: [
    (#"{"id": "a", "video": "#, "not a JSON object"), ("[1]", "not a JSON object"), ("\u{FFFD}", "not a JSON object"),
    (#"{"video": "a.mp4"}"#, "no 'id'"), (#"{"id": 7, "video": "a.mp4"}"#, "'id' is not a text"),
    (#"{"id": " ", "video": "a.mp4"}"#, "'id' is empty"), (#"{"id": "a"}"#, "neither 'video' nor 'frames'"),
    (#"{"id": "a", "video": "a.mp4", "frames": "a"}"#, "both 'video' and 'frames'"),
    (#"{"id": "a", "video": "a.mp4", "fps": 25}"#, "goes with 'frames'"),
    (#"{"id": "a", "frames": "a", "fps": 0}"#, "'fps'"), (#"{"id": "a", "frames": "a", "fps": "25"}"#, "'fps'"),
    (#"{"id": "a", "video": "/etc/a.mp4"}"#, "relative"),
    (#"{"id": "a", "video": "a.mp4", "captoin": "x"}"#, "'captoin'"),
    (#"{"id": "a\nb", "video": "a.mp4"}"#, "control character"),
  ])
  func `a line that cannot be used is named with its number`(line: String, words: String) throws {
    let text = try refusal(#"{"id": "first", "video": "a.mp4"}"#, line)
    #expect(text.contains("metadata.jsonl, line 2:") && text.contains(words), "\(text)")
  }

  @Test func `two clips of one id, and an id that a piece of another would have, are refused`() throws {
    let text = try refusal(#"{"id": "a", "video": "a.mp4"}"#, #"{"id": "a", "video": "b.mp4"}"#)
    #expect(text.contains("line 2") && text.contains("line 1"))
    let piece = try refusal(#"{"id": "a.1", "video": "a.mp4"}"#, #"{"id": "a", "video": "b.mp4"}"#)
    #expect(piece.contains("line 1") && piece.contains("piece of 'a'"))
  }

  @Test func `an empty file, no file and no folder are refused`() throws {
    #expect(try refusal().contains("is empty"))
    #expect(try refusal("", "  ").contains("is empty"))
    try FileManager.default.removeItem(atPath: fixture.path("metadata.jsonl"))
    #expect(sentence { try DatasetFolder(fixture.root) }.contains("no metadata.jsonl"))
    #expect(sentence { try DatasetFolder(fixture.scratch["none"]) }.contains("no dataset folder"))
    try Data([1]).write(to: fixture.scratch["file"])
    #expect(sentence { try DatasetFolder(fixture.scratch["file"]) }.contains("is a file"))
  }
}

@Suite struct ClipTruthTests {
  private let fixture: DatasetFixture

  init() throws { fixture = try DatasetFixture() }

  private func truth(_ text: String) throws -> ClipTruth {
    let url = fixture.scratch["truth.json"]
    try Data(text.utf8).write(to: url)
    return try ClipTruth(contentsOf: url)
  }

  static let whole = #"""
    {"version": 1, "seed": 5, "fps": 16, "sampleRate": 16000, "caption": "A woman nods.", "phonemes": [
    {"symbol": "_", "viseme": "rest", "start": 0, "end": 0.5}, {"symbol": "h", "viseme": "open", "start": 0.5, "end": 1.25},
    {"symbol": "i", "start": 1.25, "end": 2}], "frames": [{"mouthOpen": 0, "yaw": 10, "pitch": -3, "roll": 0},
    {"yaw": 20, "pitch": 0}], "identity": {"hair": "red"}}
    """#

  @Test func `poses and phonemes of a part are those of the clip`() throws {
    let truth = try truth(ClipTruthTests.whole)
    #expect(truth.frame(at: 1.0 / 16)?.yaw == 20 && truth.frame(at: 0)?.pitch == -3 && truth.frame(at: 1) == nil)
    let part = truth.phonemes(from: 1, seconds: 0.5)
    #expect(part.map(\.symbol) == ["h", "i"])
    #expect(part.map(\.start) == [0, 0.25] && part.map(\.end) == [0.25, 0.5])
    let tail = truth.phonemes(from: 1.75, seconds: 1)
    #expect(tail.map(\.symbol) == ["i", "_"] && tail.map(\.end) == [0.25, 1])
  }

  @Test func `faces are those of the scaled and cropped picture, where all of one is known`() throws {
    #expect(
      try truth(ClipTruthTests.whole).faces(from: 0, count: 1, framesPerSecond: 16, .init(height: 64, width: 64)) == nil
    )
    let landmarks = FaceTruth.Landmark.allCases.map { "\"\($0)\": [\(100 + $0.rawValue), 50]" }.joined(separator: ", ")
    let face = FaceTruth.Value.allCases.suffix(5).enumerated().map { "\"\($1)\": 0.\($0)" }.joined(separator: ", ")
    let state = FaceTruth.Value.allCases.dropLast(5).enumerated().map { "\"\($1)\": \($0)" }.joined(separator: ", ")
    let frame = "{\(state), \"face\": {\(face)}, \"landmarks\": {\(landmarks)}}"
    let known = try truth(
      #"{"version": 1, "fps": 16, "width": 200, "height": 100, "phonemes": [], "frames": ["# + frame + "]}")
    // Half as high and half as wide, and 25 pixels off each side.
    let rows = try #require(
      known.faces(from: 0, count: 2, framesPerSecond: 16, .init(height: 50, width: 50)), "all of it is known")
    #expect(rows.shape == [2, FaceTruth.columns])
    let values = rows.select(0, 1).array(Double.self)
    for landmark in FaceTruth.Landmark.allCases {
      #expect(values[landmark.column] == 25 + Double(landmark.rawValue) / 2 && values[landmark.column + 1] == 25)
    }
    #expect(values[FaceTruth.Value.yaw.column] == 5 && abs(values[FaceTruth.Value.smile.column] - 0.4) < 1e-6)
  }

  @Test func `what is no truth file is refused`() throws {
    #expect(sentence { try truth("{}") }.contains("not one"))
    let later = ClipTruthTests.whole.replacingOccurrences(of: "\"version\": 1", with: "\"version\": 2")
    #expect(sentence { try truth(later) }.contains("version 2"))
    let turned = ClipTruthTests.whole.replacingOccurrences(of: "\"start\": 1.25", with: "\"start\": 0.25")
    #expect(sentence { try truth(turned) }.contains("order"))
    #expect(sentence { try ClipTruth(contentsOf: fixture.scratch["none.json"]) }.contains("not there"))
  }
}
