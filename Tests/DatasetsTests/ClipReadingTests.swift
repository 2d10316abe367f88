import Basics
import Foundation
import Generation
import Media
import Testing
import Torch

@testable import Datasets

@Suite struct NearestFramesTests {
  private func sample(times: [Double], end: Double, rate: Double) -> [Int] {
    var sampler = NearestFrames<Int>(framesPerSecond: rate)
    var result: [Int] = []
    for (index, time) in times.enumerated() { sampler.push(index, at: time) { frame, _ in result.append(frame) } }
    sampler.finish(at: end) { frame, _ in result.append(frame) }
    #expect(result.count == sampler.count)
    return result
  }

  @Test func `the same rate gives every frame once`() {
    let times = (0..<81).map { Double($0) / 16 }
    #expect(sample(times: times, end: 81.0 / 16, rate: 16) == Array(0..<81))
  }

  @Test(arguments: [8.0, 23.976, 25, 29.97, 30, 50, 60])
  func `other rates give the nearest frame, for as long as the clip lasts`(rate: Double) {
    let times = (0..<Int(rate * 3)).map { Double($0) / rate }
    let end = Double(times.count) / rate
    let result = sample(times: times, end: end, rate: 16)
    #expect(abs(result.count - Int((end * 16).rounded())) <= 1)
    for (index, frame) in result.enumerated() {
      let moment = Double(index) / 16
      let best = times.map { abs($0 - moment) }.min() ?? 0
      #expect(abs(times[frame] - moment) <= best + 1e-9, "moment \(index)")
    }
  }

  @Test func `times without a rhythm are followed`() {
    #expect(sample(times: [0, 0.01, 0.5, 0.52], end: 0.625, rate: 16) == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3])
    #expect(sample(times: [0], end: 0.25, rate: 16) == [0, 0, 0, 0])
    #expect(sample(times: [], end: 1, rate: 16).isEmpty)
  }
}

@Suite struct ClipReaderTests {
  private let fixture: DatasetFixture
  private let reader = ClipReader(requirements: ClipRequirements(size: ReferencePicture.Size(height: 32, width: 32)))

  init() throws { fixture = try DatasetFixture() }

  private func source(_ line: String) throws -> ClipSource {
    try fixture.metadata([line])
    return try DatasetFolder(fixture.root).clips[0]
  }

  private func read(_ line: String) throws -> ReadClip { try reader.read(try source(line)) }

  @Test func `25 frames and 48000 samples a second become 16 and 16000`() throws {
    try fixture.video("a.mp4", frames: 50, fps: 25, soundRate: 48_000) { index, _, _ in
      [UInt8](repeating: UInt8(20 + 4 * index), count: 3)
    }
    let clip = try read(#"{"id": "a", "video": "a.mp4"}"#)
    #expect(clip.frames.count == 32)
    for (index, frame) in clip.frames.enumerated() {
      let nearest = Int((Double(index) * 25 / 16 - 1e-9).rounded())
      #expect(frame.count == 32 * 32 * 3)
      #expect(abs(Int(frame[frame.count / 2]) - (20 + 4 * nearest)) < 2, "frame \(index)")
    }
    #expect(abs(clip.samples.count - 32_000) < 200)
    // The tone is as high as it was: it crosses zero 440 times a second.
    let second = clip.samples[8000..<24_000]
    let crossings = zip(second, second.dropFirst()).count { ($0 < 0) != ($1 < 0) }
    #expect(abs(crossings - 440) <= 2)
  }

  @Test func `frames are cropped in the middle as the reference picture is`() throws {
    try fixture.frames("f", count: 16, width: 100, height: 40)
    try fixture.wave("s.wav", seconds: 1)
    let clip = try read(#"{"id": "a", "frames": "f", "sound": "s.wav"}"#)
    #expect(clip.frames.count == 16 && clip.samples.count == 16_000)
    let picture = try Picture(contentsOf: fixture.path("f/0003.png"))
    let size = ReferencePicture.Size(height: 32, width: 32)
    let expected = ReferencePicture.prepared(picture, size)
    let values = expected.squeeze(0).squeeze(1).permute(1, 2, 0).array(Float.self)
    for (value, byte) in zip(values, clip.frames[3]) { #expect(abs((value + 1) * 127.5 - Float(byte)) <= 0.5001) }
  }

  @Test func `a folder of frames has the rate that is given`() throws {
    try fixture.frames("f", count: 16)
    try fixture.wave("s.wav", seconds: 2, rate: 48_000)
    let clip = try read(#"{"id": "a", "frames": "f", "fps": 8, "sound": "s.wav"}"#)
    #expect(clip.frames.count == 32 && clip.samples.count == 32_000)
  }

  @Test func `a video without sound takes that of a file, or is refused`() throws {
    try fixture.video("a.mp4", frames: 16, soundRate: nil)
    #expect(sentence { try read(#"{"id": "a", "video": "a.mp4"}"#) }.contains("has no sound"))
    try fixture.wave("s.wav", seconds: 1)
    #expect(try read(#"{"id": "a", "video": "a.mp4", "sound": "s.wav"}"#).frames.count == 16)
    try fixture.frames("f", count: 2)
    #expect(sentence { try read(#"{"id": "a", "frames": "f"}"#) }.contains("no sound file"))
  }

  @Test func `lengths that differ are refused, and a little less sound ends in silence`() throws {
    try fixture.video("a.mp4", frames: 32, soundRate: nil)
    try fixture.wave("s.wav", seconds: 0.8)
    let text = sentence { try read(#"{"id": "a", "video": "a.mp4", "sound": "s.wav"}"#) }
    #expect(text.contains("2.00 s") && text.contains("0.80 s"))
    try fixture.wave("s.wav", seconds: 1.75)
    let clip = try read(#"{"id": "a", "video": "a.mp4", "sound": "s.wav"}"#)
    #expect(clip.samples.count == 32_000 && clip.samples[28_100...].allSatisfy { $0 == 0 })
  }

  @Test func `pictures that are too small are refused unless they may be enlarged`() throws {
    try fixture.video("a.mp4", frames: 16, width: 64, height: 16)
    let text = sentence { try read(#"{"id": "a", "video": "a.mp4"}"#) }
    #expect(text.contains("64 × 16") && text.contains("32 × 32"))
    var requirements = reader.requirements
    requirements.enlarges = true
    let clip = try ClipReader(requirements: requirements).read(try source(#"{"id": "a", "video": "a.mp4"}"#))
    #expect(clip.frames.count == 16)
  }

  @Test func `a clip that is too long is refused`() throws {
    try fixture.video("a.mp4", frames: 40)
    var requirements = reader.requirements
    requirements.longest = 2
    let source = try source(#"{"id": "a", "video": "a.mp4"}"#)
    #expect(sentence { try ClipReader(requirements: requirements).read(source) }.contains("longer than 2.0 seconds"))
  }

  @Test func `a truncated, a corrupt, an empty and a missing video are refused`() throws {
    try fixture.video("a.mp4", frames: 64, width: 96, height: 64) { index, x, y in
      [UInt8((x * 7 + index * 5) % 256), UInt8((x * y + index) % 256), UInt8((y * 13 + index * 3) % 256)]
    }
    let line = #"{"id": "a", "video": "b.mp4"}"#
    let data = try Data(contentsOf: URL(fileURLWithPath: fixture.path("a.mp4")))
    let file = URL(fileURLWithPath: fixture.path("b.mp4"))
    for share in [0.9, 0.6, 0.2] {
      try data.prefix(Int(Double(data.count) * share)).write(to: file)
      #expect(
        sentence { try read(line) }.contains("b.mp4") || sentence { try read(line) }.contains("video"), "\(share)")
    }
    var corrupt = data
    let media = try #require(corrupt.range(of: Data("mdat".utf8))).upperBound
    for place in media + 2000..<media + 4000 { corrupt[place] = UInt8(truncatingIfNeeded: place &* 73 &+ 11) }
    try corrupt.write(to: file)
    #expect(sentence { try read(line) }.contains("video"))
    try Data().write(to: file)
    #expect(sentence { try read(line) }.contains("is empty"))
    try FileManager.default.removeItem(at: file)
    #expect(sentence { try read(line) }.contains("no such file"))
  }

  @Test func `a damaged sound is refused`() throws {
    try fixture.video("a.mp4", frames: 32, soundRate: nil)
    try fixture.wave("s.wav", seconds: 2)
    let url = URL(fileURLWithPath: fixture.path("s.wav"))
    let data = try Data(contentsOf: url)
    try data.prefix(data.count * 4 / 5).write(to: url)
    let text = sentence { try read(#"{"id": "a", "video": "a.mp4", "sound": "s.wav"}"#) }
    #expect(text.contains("s.wav"), "\(text)")
    try Data("no sound at all, only words, and some more of them".utf8).write(to: url)
    #expect(sentence { try read(#"{"id": "a", "video": "a.mp4", "sound": "s.wav"}"#) }.contains("s.wav"))
  }

  @Test func `a sound whose header gives no length is whole`() throws {
    try fixture.video("a.mp4", frames: 32, soundRate: nil)
    try fixture.wave("s.wav", seconds: 2)
    let url = URL(fileURLWithPath: fixture.path("s.wav"))
    var data = try Data(contentsOf: url)
    // As a program writes it that does not know how much will come.
    for place in [4, 40] { data.replaceSubrange(place..<place + 4, with: [0xFF, 0xFF, 0xFF, 0xFF]) }
    try data.write(to: url)
    #expect(try read(#"{"id": "a", "video": "a.mp4", "sound": "s.wav"}"#).samples.count == 32_000)
  }

  @Test func `a broken picture and an empty folder of frames are refused`() throws {
    try fixture.frames("f", count: 4)
    try fixture.wave("s.wav", seconds: 0.25)
    let line = #"{"id": "a", "frames": "f", "sound": "s.wav"}"#
    #expect(try read(line).frames.count == 4)
    try Data("x".utf8).write(to: URL(fileURLWithPath: fixture.path("f/0002.png")))
    #expect(sentence { try read(line) }.contains("0002.png"))
    try FileManager.default.createDirectory(atPath: fixture.path("g"), withIntermediateDirectories: true)
    #expect(sentence { try read(#"{"id": "a", "frames": "g", "sound": "s.wav"}"#) }.contains("no PNG or JPEG"))
    #expect(sentence { try read(#"{"id": "a", "frames": "h", "sound": "s.wav"}"#) }.contains("no folder of frames"))
  }

  // Only ffmpeg's program makes such a file for us.
  @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/ffmpeg")))
  func `sound that starts later than the picture keeps its place`() throws {
    try fixture.video("silent.mp4", frames: 48, soundRate: nil)
    try fixture.wave("s.wav", seconds: 2.6)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/ffmpeg")
    process.arguments = [
      "-v", "error", "-i", fixture.path("silent.mp4"), "-itsoffset", "0.4", "-i", fixture.path("s.wav"), "-c:v", "copy",
      "-c:a", "pcm_s16le", fixture.path("late.mkv"),
    ]
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0)
    let clip = try read(#"{"id": "a", "video": "late.mkv"}"#)
    let first = try #require(clip.samples.firstIndex { abs($0) > 0.01 })
    #expect(abs(first - 6400) < 40, "\(first)")
  }
}
