import Basics
import Foundation
import Testing

@testable import Media

@Suite struct VideoWriterTests {
  private func write(
    _ path: String, frames: Int, format: VideoFormat, sound: [Float], piece: Int = 1_000, device: String? = nil
  ) throws {
    let writer = try VideoWriter(path: path, format: format, device: device)
    var place = 0
    for i in 0..<frames {
      try writer.append(frame: plain(format.width, format.height, [UInt8(i * 10 & 255), 100, 50]))
      let end = min(sound.count, place + piece)
      if format.soundSampleRate != nil, place < end { try writer.append(sound: Array(sound[place..<end])) }
      place = end
    }
    if format.soundSampleRate != nil, place < sound.count { try writer.append(sound: Array(sound[place...])) }
    try writer.finish()
  }

  @Test(arguments: [(33, 16_000, 2.0), (17, 44_100, 5.0), (5, 16_000, 0.0), (40, 22_050, 1.013), (1, 8_000, 0.01)])
  func `Sound and picture end together whatever the length of the sound`(
    frames: Int, rate: Int, seconds: Double
  ) throws {
    let scratch = try Scratch()
    let path = scratch.file("v.mp4")
    let format = VideoFormat(width: 64, height: 48, soundSampleRate: rate)
    try write(path, frames: frames, format: format, sound: sine(300, seconds: seconds, rate: rate))
    let reader = try VideoReader(path: path)
    let video = try #require(reader.videoSeconds)
    let sound = try #require(reader.soundSeconds)
    #expect(abs(video - Double(frames) / 16) < 1e-3)
    #expect(abs(sound - video) < 1.0 / 16)
    #expect(abs(try reader.sound().seconds - video) < 1.0 / 16)
    #expect(reader.frameRate == 16)
    var count = 0
    while try reader.next() != nil { count += 1 }
    #expect(count == frames)
    #expect(scratch.content == ["v.mp4"])
  }

  @Test(arguments: ["v.mp4", "v.mov", "v.mkv"])
  func `Colours, tone and statement survive in every container`(name: String) throws {
    let scratch = try Scratch()
    let path = scratch.file(name)
    let colours: [[UInt8]] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 120, 90]]
    let format = VideoFormat(width: 64, height: 64)
    let sink = try makeVideoSink(path: path, format: format)
    for colour in colours { for _ in 0..<4 { try sink.append(frame: plain(64, 64, colour)) } }
    try sink.append(sound: sine(440, seconds: 1.5, rate: 16_000))
    try sink.finish()
    let reader = try VideoReader(path: path)
    for colour in colours {
      for _ in 0..<4 {
        let frame = try #require(try reader.next())
        #expect(largestDifference(frame.bytes, plain(64, 64, colour)) <= 6)
      }
    }
    #expect(try reader.next() == nil)
    let metadata = reader.metadata.reduce(into: [String: String]()) { $0[$1.key.lowercased()] = $1.value }
    #expect(metadata["comment"]?.contains("AI-generated") == true)
    #expect(metadata["title"]?.contains("AI-generated") == true)
    let sound = try reader.sound()
    // Matroska keeps AAC's priming as sound before the first frame's time.
    if name.hasSuffix("mkv") { return #expect(abs(sound.seconds - 1.5) < 1.0 / 16) }
    let wave = sine(440, seconds: 1.5, rate: 16_000)
    let error = zip(sound.samples[2_000..<20_000], wave[2_000..<20_000]).map { abs($0 - $1) }.max() ?? 1
    #expect(error < 0.05)
  }

  @Test func `An MP4's index stands before its media`() throws {
    let scratch = try Scratch()
    let path = scratch.file("v.mp4")
    try write(path, frames: 3, format: VideoFormat(width: 32, height: 32), sound: [])
    let file = try Data(contentsOf: URL(fileURLWithPath: path))
    let index = try #require(file.range(of: Data("moov".utf8))).lowerBound
    let media = try #require(file.range(of: Data("mdat".utf8))).lowerBound
    #expect(index < media)
  }

  @Test func `Odd sides are padded, and the picture stays in its corner`() throws {
    let scratch = try Scratch()
    let path = scratch.file("odd.mp4")
    var frame = plain(35, 21, [30, 60, 200])
    for y in 0..<21 {
      for x in 0..<16 { frame.replaceSubrange((y * 35 + x) * 3..<(y * 35 + x) * 3 + 3, with: [220, 210, 20]) }
    }
    let writer = try VideoWriter(path: path, format: VideoFormat(width: 35, height: 21, soundSampleRate: nil))
    for _ in 0..<3 { try writer.append(frame: frame) }
    try writer.finish()
    let reader = try VideoReader(path: path)
    let decoded = try #require(try reader.next())
    #expect(decoded.width == 36 && decoded.height == 22)
    #expect(reader.soundSeconds == nil)
    func pixel(_ x: Int, _ y: Int) -> [UInt8] { Array(decoded.bytes[(y * 36 + x) * 3..<(y * 36 + x) * 3 + 3]) }
    #expect(largestDifference(pixel(2, 2), [220, 210, 20]) < 16)
    #expect(largestDifference(pixel(35, 21), [30, 60, 200]) < 16)
  }

  @Test(arguments: [90, 180, 270])
  func `A phone's turned video is read upright`(degrees: Int) throws {
    let frame = try #require(try VideoReader(path: fixture("turned-\(degrees).mp4")).next())
    let expected = try expectedPicture("turned-\(degrees).mp4.rgb")
    #expect(frame.width == expected.width && frame.height == expected.height)
    // Corners, away from the edges where chroma is interpolated otherwise.
    for (x, y) in [(4, 4), (frame.width - 5, 4), (4, frame.height - 5), (frame.width - 5, frame.height - 5)] {
      let place = (y * frame.width + x) * 3
      #expect(largestDifference(Array(frame.bytes[place..<place + 3]), Array(expected.bytes[place..<place + 3])) <= 4)
    }
  }

  @Test(arguments: Orientation.allCases)
  func `Every display matrix is applied, mirrored ones too`(orientation: Orientation) throws {
    let numbers: [Orientation: [Int32]] = [
      .upright: [1, 0, 0, 1], .mirrored: [-1, 0, 0, 1], .upsideDown: [-1, 0, 0, -1], .flipped: [1, 0, 0, -1],
      .transposed: [0, 1, 1, 0], .rightTop: [0, 1, -1, 0], .transverse: [0, -1, -1, 0], .leftBottom: [0, -1, 1, 0],
    ]
    let scratch = try Scratch()
    /// The fixture with another matrix in its track header: a, b, u, c, d, v, x, y, w.
    func read(_ orientation: Orientation) throws -> (Picture, reader: VideoReader) {
      var file = try Data(contentsOf: URL(fileURLWithPath: fixture("turned-90.mp4")))
      let header = try #require(file.range(of: Data("tkhd".utf8))).upperBound
      let steps = try #require(numbers[orientation])
      for (index, value) in zip([0, 1, 3, 4, 6, 7], steps + [0, 0]) {
        let place = header + 40 + 4 * index
        let bits = UInt32(bitPattern: value << 16)
        file.replaceSubrange(place..<place + 4, with: withUnsafeBytes(of: bits.bigEndian) { Data($0) })
      }
      let reader = try VideoReader(path: try scratch.write([UInt8](file), "\(orientation).mp4"))
      return (try #require(try reader.next()), reader)
    }
    let stored = try read(.upright).0
    let (shown, reader) = try read(orientation)
    #expect(shown == stored.upright(from: orientation))
    #expect(reader.width == shown.width && reader.height == shown.height)
    // As a picture the video's first frame is turned too.
    let picture = try Picture(contentsOf: scratch.file("\(orientation).mp4"))
    #expect(picture == shown)
  }

  @Test func `Pixels that are not square are made so`() throws {
    let reader = try VideoReader(path: fixture("wide-pixels.mp4"))
    let frame = try #require(try reader.next())
    #expect(frame.width == 128 && frame.height == 32 && reader.width == 128 && reader.height == 32)
    func pixel(_ x: Int, _ y: Int) -> [UInt8] { Array(frame.bytes[(y * 128 + x) * 3..<(y * 128 + x) * 3 + 3]) }
    #expect(
      largestDifference(pixel(20, 8), [200, 30, 30]) < 12 && largestDifference(pixel(100, 24), [180, 180, 40]) < 12)
    #expect(try Picture(contentsOf: fixture("wide-pixels.mp4")) == frame)
  }

  @Test(arguments: [("interlaced.mp4", "bwdif"), ("pq.mp4", "HDR"), ("hlg.mp4", "HDR")])
  func `What would come out wrong is refused`(name: String, word: String) throws {
    #expect(sentence { try VideoReader(path: fixture(name)).next() }.contains(word))
    #expect(sentence { try Picture(contentsOf: fixture(name)) }.contains(word))
  }

  @Test func `Frames can be read at another rate`() throws {
    let scratch = try Scratch()
    let path = scratch.file("v.mp4")
    let writer = try VideoWriter(path: path, format: VideoFormat(width: 32, height: 32, soundSampleRate: nil))
    for i in 0..<16 { try writer.append(frame: plain(32, 32, Array(repeating: UInt8(i * 15), count: 3))) }
    try writer.finish()
    for (rate, expected) in [(8.0, Array(stride(from: 0, to: 16, by: 2))), (32.0, (0..<32).map { $0 / 2 })] {
      let reader = try VideoReader(path: path, framesPerSecond: rate)
      var seen: [Int] = []
      while let frame = try reader.next() { seen.append(Int((Double(frame.bytes[0]) / 15).rounded())) }
      #expect(seen == expected)
    }
  }

  /// In a process of its own, where other tests' memory does not count.
  @Test func `A long stream keeps within its memory`() async {
    await #expect(processExitsWith: .success) {
      let scratch = try Scratch()
      let path = scratch.file("long.mp4")
      let writer = try VideoWriter(path: path, format: VideoFormat(width: 128, height: 128))
      let sound = sine(200, seconds: 1.0 / 16, rate: 16_000)
      var early = 0
      for i in 0..<1_600 {
        try writer.append(frame: plain(128, 128, [UInt8(i & 255), UInt8(i * 3 & 255), 80]))
        try writer.append(sound: sound)
        if i == 300 { early = residentBytes() }
      }
      #expect(residentBytes() - early < 16 << 20)
      try writer.finish()
      #expect(abs((try VideoReader(path: path).videoSeconds ?? 0) - 100) < 1e-3)
    }
  }

  /// In a process of its own, where other tests' memory does not count.
  @Test func `Many files leave nothing behind in memory`() async {
    await #expect(processExitsWith: .success) {
      let scratch = try Scratch()
      var early = 0
      for i in 0..<60 {
        let path = scratch.file("v.mp4")
        let writer = try VideoWriter(path: path, format: VideoFormat(width: 64, height: 64))
        for j in 0..<4 { try writer.append(frame: plain(64, 64, [UInt8(j), 2, 3])) }
        try writer.finish()
        let reader = try VideoReader(path: path)
        while try reader.next() != nil {}
        _ = try reader.sound()
        for name in ["rgb.png", "420.jpg", "lossy.webp", "two-frames.gif"] {
          _ = try Picture(contentsOf: fixture(name))
        }
        for name in ["tone.mp3", "tone.m4a", "tone.ogg"] { _ = try Sound(contentsOf: fixture(name)) }
        _ = try? Picture(contentsOf: fixture("tone.mp3"))
        if i == 20 { early = residentBytes() }
      }
      #expect(residentBytes() - early < 4 << 20)
    }
  }

  @Test func `Without finish nothing is left`() throws {
    let scratch = try Scratch()
    do {
      let writer = try VideoWriter(path: scratch.file("a.mp4"), format: VideoFormat(width: 32, height: 32))
      try writer.append(frame: plain(32, 32, [1, 2, 3]))
      #expect(scratch.content.count == 1)
      #expect(scratch.content[0].hasPrefix(".a.partial-"))
    }
    #expect(scratch.content.isEmpty)
    let cancelled = try VideoWriter(path: scratch.file("b.mp4"), format: VideoFormat(width: 32, height: 32))
    cancelled.cancel()
    #expect(scratch.content.isEmpty)
    #expect(sentence { try cancelled.append(sound: [0]) }.contains("already ended"))
    let wrong = try VideoWriter(path: scratch.file("c.mp4"), format: VideoFormat(width: 32, height: 32))
    #expect(sentence { try wrong.append(frame: [1, 2, 3]) }.contains("a frame of 3 bytes"))
    #expect(scratch.content.isEmpty)
    let none = try VideoWriter(path: scratch.file("d.mp4"), format: VideoFormat(width: 32, height: 32))
    #expect(sentence { try none.finish() }.contains("no frame was written"))
    #expect(scratch.content.isEmpty)
  }

  @Test func `An earlier output stays until the new one is whole`() throws {
    let scratch = try Scratch()
    let path = try scratch.write(Array("old".utf8), "v.mp4")
    let writer = try VideoWriter(path: path, format: VideoFormat(width: 32, height: 32))
    try writer.append(frame: plain(32, 32, [1, 2, 3]))
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "old")
    writer.cancel()
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "old")
    try write(path, frames: 2, format: VideoFormat(width: 32, height: 32), sound: [])
    #expect(try VideoReader(path: path).frameRate == 16)
  }

  @Test func `Places that cannot be written are told at the start`() throws {
    let scratch = try Scratch()
    let format = VideoFormat(width: 32, height: 32)
    #expect(
      sentence { try VideoWriter(path: "\(scratch.path)/none/v.mp4", format: format) }
        == "The output \(scratch.path)/none/v.mp4 cannot be written: there is no directory \(scratch.path)/none.")
    #expect(sentence { try VideoWriter(path: scratch.path, format: format) }.hasSuffix("it is a directory."))
    let file = try scratch.write([1], "file")
    #expect(sentence { try VideoWriter(path: "\(file)/v.mp4", format: format) }.hasSuffix("Not a directory."))
    // Permissions do not hold the superuser back; Linux's /sys does.
    var closed = "/sys"
    if geteuid() != 0 {
      closed = scratch.file("closed")
      mkdir(closed, 0o555)
    }
    let said = sentence { try VideoWriter(path: "\(closed)/v.mp4", format: format) }
    #expect(said == "The output \(closed)/v.mp4 cannot be written: Permission denied.")
    #expect(sentence { try makeVideoSink(path: scratch.file("v.gif"), format: format) }.contains("must end in .mp4"))
    #expect(
      sentence { try VideoWriter(path: scratch.file("z.mp4"), format: VideoFormat(width: 0, height: 9)) }.contains(
        "no video"))
    #expect(scratch.content.allSatisfy { !$0.contains("partial") })
  }

  #if os(Linux)
    @Test func `A full disk is told in one sentence`() throws {
      let scratch = try Scratch()
      let path = scratch.file("v.mp4")
      let said = sentence {
        try write(path, frames: 200, format: VideoFormat(width: 64, height: 64), sound: [], device: "/dev/full")
      }
      #expect(said == "The output \(path) cannot be written: No space left on device.")
      #expect(scratch.content.isEmpty)
    }
  #endif
}
