import Basics
import Foundation
import Testing

@testable import Media

/// Fragments as a browser gets them, put together and read back by our own readers.
@Suite struct FragmentedVideoTests {
  private static let rate = 16_000
  private static let format = VideoFormat(width: 64, height: 48, framesPerSecond: 16, soundSampleRate: rate)

  private struct Box: Equatable {
    var name: String
    var body: ArraySlice<UInt8>
  }

  /// The boxes of a piece of MP4, one after the other.
  private func boxes(_ bytes: ArraySlice<UInt8>) throws -> [Box] {
    var (rest, found) = (bytes, [Box]())
    while !rest.isEmpty {
      let size = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
      try #require(size >= 8 && size <= rest.count)
      let start = rest.startIndex
      found.append(
        Box(
          name: String(decoding: rest[(start + 4)..<(start + 8)], as: UTF8.self),
          body: rest[(start + 8)..<(start + size)])
      )
      rest = rest.dropFirst(size)
    }
    return found
  }

  private func box(_ path: String, of bytes: ArraySlice<UInt8>) throws -> [ArraySlice<UInt8>] {
    try path.split(separator: "/").reduce([bytes]) { bodies, name in
      try bodies.flatMap { try boxes($0).filter { $0.name == name }.map(\.body) }
    }
  }

  /// The time at which each track's part of a fragment begins, and the durations of its samples, in ticks.
  private func times(_ fragment: [UInt8]) throws -> [(start: Int, samples: Int)] {
    try box("moof/traf", of: fragment[...]).map { traf in
      let time = try #require(try box("tfdt", of: traf).first)
      let run = try #require(try box("trun", of: traf).first)
      #expect(time.first == 1, "64-bit times")
      return (
        time.dropFirst(4).prefix(8).reduce(0) { $0 << 8 | Int($1) },
        run.dropFirst(4).prefix(4).reduce(0) { $0 << 8 | Int($1) }
      )
    }
  }

  private func frame(_ level: UInt8) -> [UInt8] { [UInt8](repeating: level, count: Self.format.frameBytes) }

  private func withFile(_ pieces: [[UInt8]], _ body: (String) throws -> Void) throws {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("livetalk-\(UUID().uuidString).mp4")
    defer { try? FileManager.default.removeItem(at: file) }
    try Data(pieces.joined()).write(to: file)
    try body(file.path)
  }

  @Test(arguments: [0, 1_234_567]) func framesSamplesAndTheirTimesAreThoseThatWereGiven(_ start: Int) throws {
    let writer = try FragmentedVideoWriter(format: Self.format)
    #expect(try boxes(writer.header[...]).map(\.name) == ["ftyp", "moov"])
    #expect(writer.mimeType.wholeMatch(of: /video\/mp4; codecs="avc1\.[0-9a-f]{6}, mp4a\.40\.2"/) != nil)
    // A flash and a beep begin together with frame 20 and last for one frame.
    let (count, length, flash) = (40, Self.rate / 16, 20)
    var fragments: [[UInt8]] = []
    for index in 0..<count {
      let isOn = index == flash
      let samples = (0..<length).map { isOn ? 0.8 * sinf(Float($0) * 0.5) : 0 }
      let piece = try writer.append(frame: frame(isOn ? 255 : 0), samples: samples, at: start + index * length)
      // Four frames of 62.5 ms are the first that last 200 ms.
      #expect((piece != nil) == (index % 4 == 3))
      if let piece { fragments.append(piece) }
    }
    try writer.finish().map { fragments.append($0) }
    var pictures = 0
    for (number, fragment) in fragments.enumerated() {
      #expect(try boxes(fragment[...]).map(\.name).prefix(2) == ["moof", "mdat"])
      let tracks = try times(fragment)
      if number < count / 4 {
        #expect(tracks[0].start == start + number * 4 * length && tracks[0].samples == 4)
        pictures += tracks[0].samples
      }
      if number == 0 { #expect(tracks[1].start == start) }
    }
    #expect(pictures == count)
    try withFile([writer.header] + fragments) { path in
      let reader = try VideoReader(path: path)
      var (shown, at) = (0, nil as Double?)
      while let (picture, seconds) = try reader.nextTimed() {
        #expect(abs(seconds - Double(shown) / 16) < 1e-6)
        if picture.bytes[picture.bytes.count / 2] > 128, at == nil { at = seconds }
        shown += 1
      }
      #expect(shown == count)
      let sound = try reader.alignedSound(sampleRate: Self.rate, maximumSeconds: 60)
      // AAC comes in frames of 1,024 samples.
      #expect((0..<2_048).contains(sound.samples.count - count * length), "\(sound.samples.count)")
      let beep = try #require(sound.samples.firstIndex { abs($0) > 0.2 })
      // A sample is 1/16 ms; AAC rings a little before what is sudden.
      let offset = Double(beep) / Double(Self.rate) - (at ?? 0)
      print("fragments: sound begins \(offset * 1_000) ms after its picture")
      #expect(at == Double(flash) / 16 && abs(offset) < 0.004)
    }
  }

  @Test func pictureIsHeldInSilenceWhereFramesWereLost() throws {
    let writer = try FragmentedVideoWriter(format: Self.format, fragmentSeconds: 0.05)
    let length = Self.rate / 16
    var pieces: [[UInt8]] = []
    // Frames 5 to 9 do not come; one of the past is left out.
    for index in Array(0..<5) + [3] + Array(10..<16) {
      let samples = (0..<length).map { 0.5 * sinf(Float($0) * 0.3) }
      if let piece = try writer.append(frame: frame(UInt8(index)), samples: samples, at: index * length) {
        pieces.append(piece)
      }
    }
    try writer.finish().map { pieces.append($0) }
    try withFile([writer.header] + pieces) { path in
      let reader = try VideoReader(path: path)
      var times: [Double] = []
      while let (_, seconds) = try reader.nextTimed() { times.append(seconds) }
      // The one before the gap is held in a frame of its own.
      #expect(times == (Array(0...5) + Array(10..<16)).map { Double($0) / 16 })
      let sound = try reader.alignedSound(sampleRate: Self.rate, maximumSeconds: 60)
      #expect((0..<2_048).contains(sound.samples.count - 16 * length), "\(sound.samples.count)")
      let gap = sound.samples[(6 * length)..<(9 * length)].map(abs).max() ?? 1
      let voice = sound.samples[(11 * length)..<(15 * length)].map(abs).max() ?? 0
      #expect(gap < 0.02 && voice > 0.4, "\(gap), \(voice)")
    }
  }

  @Test(arguments: [0, 160_000]) func soundThatIsLostOnTheWayIsTold(_ start: Int) throws {
    let writer = try FragmentedVideoWriter(format: Self.format, fragmentSeconds: 0.05)
    let length = Self.rate / 16
    let pieces = try (0..<16).compactMap { index in
      try writer.append(frame: frame(9), samples: .init(repeating: 0, count: length), at: start + index * length)
    }
    try withFile([writer.header] + pieces.prefix(4) + pieces.suffix(4)) { path in
      #expect(throws: LiveTalkError.self) {
        try VideoReader(path: path).alignedSound(sampleRate: Self.rate, maximumSeconds: 60)
      }
    }
  }

  @Test func slowerFramesLastAsLongAsTheirSound() throws {
    let writer = try FragmentedVideoWriter(format: Self.format, fragmentSeconds: 0.05)
    var (pieces, place, starts) = ([[UInt8]](), 0, [Double]())
    for length in [1_000, 1_600, 3_200, 1_000, 2_000] {
      starts.append(Double(place) / Double(Self.rate))
      if let piece = try writer.append(frame: frame(9), samples: .init(repeating: 0, count: length), at: place) {
        pieces.append(piece)
      }
      place += length
    }
    try writer.finish().map { pieces.append($0) }
    try withFile([writer.header] + pieces) { path in
      let reader = try VideoReader(path: path)
      var times: [Double] = []
      while let (_, seconds) = try reader.nextTimed() { times.append(seconds) }
      #expect(zip(times, starts).allSatisfy { abs($0 - $1) < 1e-6 } && times.count == starts.count)
    }
  }

  @Test func aFrameOfAnotherSizeIsRefused() throws {
    let writer = try FragmentedVideoWriter(format: Self.format)
    #expect(throws: (any Error).self) { try writer.append(frame: [0], samples: [0], at: 0) }
    #expect(try writer.finish() == nil)
  }
}
