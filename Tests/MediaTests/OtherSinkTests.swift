import Basics
import Foundation
import Testing

@testable import Media

@Suite struct FrameDirectoryWriterTests {
  @Test func `Frames and sound fill a directory that appears when whole`() throws {
    let scratch = try Scratch()
    let sink = try makeVideoSink(path: scratch.file("frames/"), format: VideoFormat(width: 9, height: 7))
    #expect(sink is FrameDirectoryWriter)
    for i in 0..<3 { try sink.append(frame: plain(9, 7, [UInt8(i), 2, 3])) }
    try sink.append(sound: sine(100, seconds: 1, rate: 16_000))
    #expect(!scratch.content.contains("frames"))
    try sink.finish()
    #expect(scratch.content == ["frames"])
    let names = try FileManager.default.contentsOfDirectory(atPath: scratch.file("frames")).sorted()
    #expect(names == ["frame_000000.png", "frame_000001.png", "frame_000002.png", "sound.wav"])
    #expect(try Picture(contentsOf: scratch.file("frames/frame_000002.png")).bytes == plain(9, 7, [2, 2, 3]))
    #expect(try Sound(contentsOf: scratch.file("frames/sound.wav")).samples.count == 3_000)
    #expect(sentence { try sink.append(sound: [1]) }.contains("already ended"))
  }

  @Test func `Missing sound becomes silence, an empty directory is taken, a full one refused`() throws {
    let scratch = try Scratch()
    mkdir(scratch.file("d"), 0o755)
    let sink = try makeVideoSink(path: scratch.file("d"), format: VideoFormat(width: 2, height: 2))
    try sink.append(frame: plain(2, 2, [1, 1, 1]))
    try sink.append(sound: [0.5])
    try sink.finish()
    let sound = try Sound(contentsOf: scratch.file("d/sound.wav"))
    #expect(sound.samples == [0.5] + [Float](repeating: 0, count: 999))
    let said = sentence { try makeVideoSink(path: scratch.file("d"), format: VideoFormat(width: 2, height: 2)) }
    #expect(said == "The output \(scratch.file("d")) cannot be written: the directory is not empty.")
  }

  @Test func `Errors, cancelling and the end of life remove what was written`() throws {
    let scratch = try Scratch()
    do {
      let sink = try FrameDirectoryWriter(path: scratch.file("x"), format: VideoFormat(width: 2, height: 2))
      try sink.append(frame: plain(2, 2, [1, 1, 1]))
      #expect(scratch.content.count == 1)
    }
    #expect(scratch.content.isEmpty)
    let wrong = try FrameDirectoryWriter(path: scratch.file("x"), format: VideoFormat(width: 2, height: 2))
    #expect(sentence { try wrong.append(frame: [1]) }.contains("a frame of 1 bytes"))
    #expect(scratch.content.isEmpty)
    let none = try FrameDirectoryWriter(path: scratch.file("x"), format: VideoFormat(width: 2, height: 2))
    #expect(sentence { try none.finish() }.contains("no frame"))
    #expect(scratch.content.isEmpty)
    #expect(
      sentence { try FrameDirectoryWriter(path: scratch.file("no/x/"), format: VideoFormat(width: 2, height: 2)) }
        .contains("there is no directory \(scratch.file("no"))"))
  }
}

@Suite struct RawVideoWriterTests {
  @Test func `A raw file holds the frames' bytes`() throws {
    let scratch = try Scratch()
    let sink = try makeVideoSink(path: scratch.file("v.rgb"), format: VideoFormat(width: 3, height: 2))
    try sink.append(frame: plain(3, 2, [1, 2, 3]))
    try sink.append(sound: [1, 2])
    try sink.append(frame: plain(3, 2, [4, 5, 6]))
    #expect(!scratch.content.contains("v.rgb"))
    try sink.finish()
    let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: scratch.file("v.rgb"))))
    #expect(bytes == plain(3, 2, [1, 2, 3]) + plain(3, 2, [4, 5, 6]))
    #expect(scratch.content == ["v.rgb"])
  }

  @Test func `A lone hyphen is standard output`() throws {
    #expect(try makeVideoSink(path: "-", format: VideoFormat(width: 3, height: 2)) is RawVideoWriter)
  }

  @Test func `A named pipe passes frames to its reader`() async throws {
    let scratch = try Scratch()
    let path = scratch.file("pipe")
    #expect(mkfifo(path, 0o600) == 0)
    let reader = Task.detached { try? FileHandle(forReadingFrom: URL(fileURLWithPath: path)).readToEnd() }
    let sink = try makeVideoSink(path: path, format: VideoFormat(width: 100, height: 100))
    #expect(sink is RawVideoWriter)
    for i in 0..<5 { try sink.append(frame: plain(100, 100, [UInt8(i), 9, 9])) }
    try sink.finish()
    let data = try #require(await reader.value)
    #expect(data.count == 5 * 30_000)
    #expect(data[120_000] == 4)
  }

  @Test func `A reader that has gone is an error, not the end of the process`() throws {
    var ends: [Int32] = [0, 0]
    #expect(pipe(&ends) == 0)
    close(ends[0])
    let writer = try RawVideoWriter(descriptor: ends[1], name: "-", format: VideoFormat(width: 100, height: 100))
    #expect(
      sentence { try writer.append(frame: plain(100, 100, [1, 2, 3])) }
        == "The output - cannot be written: its reader has gone.")
    close(ends[1])
  }

  #if os(Linux)
    @Test func `A full device is told`() throws {
      let sink = try makeVideoSink(path: "/dev/full", format: VideoFormat(width: 10, height: 10))
      #expect(
        sentence { try sink.append(frame: plain(10, 10, [1, 2, 3])) }
          == "The output /dev/full cannot be written: No space left on device.")
    }
  #endif
}

@Suite struct MediaLibrariesTests {
  @Test func `The linked libraries are named`() {
    let libraries = MediaLibraries.linked()
    #expect(libraries.versions.map(\.name).contains("libavformat"))
    #expect(libraries.versions.allSatisfy { $0.version.split(separator: ".").count == 3 })
    #expect(libraries.hasAAC)
    #expect(!libraries.h264Encoders.isEmpty)
  }
}
