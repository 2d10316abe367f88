import Basics
import Foundation
import Media
import Testing

@testable import Server

/// The stream as fragmented MP4.
@Suite(.serialized) struct FragmentTests {
  @Test func fragmentsOfASessionAreOneVideoWithItsOwnTimes() async throws {
    try await RunningServer.with { server in
      let id = try await server.session()
      let socket = try await server.stream(id, query: "?format=fmp4")
      let hello = try await socket.event("session")
      #expect((hello["mime_type"] as? String)?.hasPrefix("video/mp4; codecs=\"avc1.") == true)
      let format = try #require(hello["format"] as? [String: Any])
      let (rate, size) = (format["sampleRate"] as? Int ?? 0, format["size"] as? [String: Int] ?? [:])
      try await socket.send(#"{"type": "say", "text": "Good morning."}"#)
      var (pieces, spoken, finished) = ([[UInt8]](), nil as Int?, 0)
      // A second more than the avatar speaks: AAC is a little behind.
      while pieces.count < 5 || finished < 5, let message = try await socket.next() {
        switch message {
        case .binary(let bytes):
          pieces.append(bytes)
          if finished > 0 { finished += 1 }
        case .text(let text) where text.contains("playback.started"):
          let json = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
          spoken = json?["sample"] as? Int
        case .text(let text) where text.contains("playback.finished"): finished = 1
        default: break
        }
      }
      await socket.close()
      func name(_ bytes: [UInt8]) -> String { String(decoding: bytes.dropFirst(4).prefix(4), as: UTF8.self) }
      #expect(name(pieces[0]) == "ftyp" && pieces.dropFirst().allSatisfy { name($0) == "moof" })
      let file = server.folder.appendingPathComponent("stream.mp4")
      try Data(pieces.joined()).write(to: file)
      let reader = try VideoReader(path: file.path)
      var times: [Double] = []
      while let (picture, seconds) = try reader.nextTimed() {
        #expect(picture.width == size["width"] && picture.height == size["height"])
        times.append(seconds)
      }
      #expect(zip(times, times.dropFirst()).allSatisfy { abs($1 - $0 - 1.0 / 16) < 1e-6 })
      let sound = try reader.alignedSound(sampleRate: rate, maximumSeconds: 60)
      // What the first fragment's time says is the session's own sample.
      let start = try #require(Self.time(of: pieces[1]))
      let first = try #require(sound.samples.firstIndex { abs($0) > 0.05 })
      let begun = try #require(spoken)
      let offset = Double(start + first - begun) / Double(rate)
      print("stream: speech is \(offset * 1_000) ms after its event's sample")
      #expect(abs(offset) < 0.03)
    }
  }

  /// `tfdt` of the first track, in ticks: those of the sound's samples.
  private static func time(of fragment: [UInt8]) -> Int? {
    guard let place = fragment.indices.first(where: { fragment[$0...].starts(with: Array("tfdt".utf8)) }) else {
      return nil
    }
    return fragment.dropFirst(place + 8).prefix(8).reduce(0) { $0 << 8 | Int($1) }
  }

  @Test func formatsThatAreUnknownAreRefused() async throws {
    try await RunningServer.with { server in
      let id = try await server.session()
      for query in ["?format=webm", "?format=fmp4&video=none"] {
        let refusal = await #expect(throws: SocketClient.Refused.self) { _ = try await server.stream(id, query: query) }
        #expect(refusal?.reply?.status == 400 && refusal?.reply?.code == "bad_request")
      }
    }
  }
}
