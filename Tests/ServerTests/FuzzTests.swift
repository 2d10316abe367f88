import Foundation
import Media
import MockEngine
import Testing

@testable import Server

/// Nonsense of every kind. Whatever comes, the answer is a 4xx (or the connection ends, where no HTTP was spoken), and the
/// server lives.
@Suite(.serialized) struct FuzzTests {
  /// The same nonsense in every run: an own generator (SplitMix64).
  struct Dice: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var value = state
      value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
      value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
      return value ^ value >> 31
    }
    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) } }
    /// Some bytes changed, taken away, or doubled.
    mutating func damaged(_ bytes: [UInt8]) -> [UInt8] {
      var result = bytes
      for _ in 0..<Int.random(in: 1...8, using: &self) where !result.isEmpty {
        let place = Int.random(in: 0..<result.count, using: &self)
        switch Int.random(in: 0..<4, using: &self) {
        case 0: result[place] = UInt8.random(in: 0...255, using: &self)
        case 1: result.removeSubrange(place..<min(result.count, place + Int.random(in: 1...40, using: &self)))
        case 2: result.insert(contentsOf: result[place..<min(result.count, place + 20)], at: place)
        default: result.insert(contentsOf: self.bytes(4), at: place)
        }
      }
      return result
    }
  }

  static let rounds = ProcessInfo.processInfo.environment["LIVETALK_FUZZ_ROUNDS"].flatMap { Int($0) } ?? 60

  @Test func malformedHTTPGetsA4xxOrTheDoor() async throws {
    try await RunningServer.with(change: { $0.limits.requestSeconds = 2 }) { server in
      var dice = Dice(state: 1)
      let whole = Array(
        "POST /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
          .utf8)
      var requests: [[UInt8]] = [
        Array("GET / HTTP/9.9\r\n\r\n".utf8), Array("\r\n\r\n\r\n".utf8), Array("GET  /\r\n".utf8), [0, 0, 0, 0],
        Array("GET /\(String(repeating: "a", count: 200_000)) HTTP/1.1\r\nHost: x\r\n\r\n".utf8),
        Array("GET / HTTP/1.1\r\n\((0..<2_000).map { "X-\($0): y\r\n" }.joined())\r\n".utf8),
        Array("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nBig: \(String(repeating: "b", count: 100_000))\r\n\r\n".utf8),
        Array("POST /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n".utf8),
        Array("POST /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n".utf8),
        Array("POST /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999999999\r\n\r\n".utf8),
        Array("\u{16}\u{03}\u{01}\u{02}".utf8), Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8),
      ]
      for _ in 0..<Self.rounds { requests.append(dice.damaged(whole)) }
      for _ in 0..<Self.rounds / 4 { requests.append(dice.bytes(300)) }
      for request in requests {
        let client = try await RawClient.connect(server.port)
        try? await client.send(request)
        // What is too little for a request must not be waited for for ever.
        let answer = (try? await client.rest(within: 0.15)) ?? []
        await client.close()
        guard let reply = Reply(answer) else { continue }
        #expect(
          (200..<500).contains(reply.status) || reply.status == 503,
          "\(reply.status): \(String(decoding: request.prefix(200), as: UTF8.self))")
        if reply.status == 201, let id = try? reply.json()["id"] as? String {
          _ = try await server.send("DELETE", "/v1/sessions/\(id)")
        }
      }
      #expect(try await server.send("GET", "/healthz").status == 200)
      // A request that never ends is given up.
      let slow = try await RawClient.connect(server.port)
      try await slow.send("GET / HTTP/1.1\r\nHos")
      _ = try await slow.rest(within: 6)
    }
  }

  @Test func malformedBodiesGetA4xx() async throws {
    try await RunningServer.with { server in
      var dice = Dice(state: 2)
      let id = try await server.session()
      let texts = [
        "", "{", "[]", "null", "\"text\"", "{\"text\": 5}", "{\"text\": null}", "{\"text\": \"a\", \"more\": 1}",
        "{\"avatar\": {}}", "{\"seed\": -1}", "{\"seed\": 1e99}", String(repeating: "[", count: 5_000),
        "{\"text\": \"\(String(repeating: "x", count: 5_000))\"}",
        "{\"text\": \"\(String(repeating: "x", count: 80_000))\"}",
        "{\"type\": \"user_audio.append\", \"audio\": {\"rate\": 1, \"pcm\": \"AAAA\"}}",
        "{\"type\": \"user_audio.append\", \"audio\": {\"rate\": 16000, \"pcm\": \"%%%\"}}",
        "{\"type\": \"played\", \"sample\": 1e40}", "\u{FEFF}{}", "{\"text\": \"\\ud800\"}",
      ]
      var bodies =
        texts.map { Array($0.utf8) }
        + (0..<Self.rounds).map { _ in dice.damaged(Array(#"{"type": "say", "text": "Hello."}"#.utf8)) }
      bodies += (0..<10).map { _ in dice.bytes(64) }
      for body in bodies {
        for path in ["/v1/sessions", "/v1/sessions/\(id)/say", "/v1/sessions/\(id)/commands"] {
          let reply = try await server.send("POST", path, body)
          #expect(
            reply.status < 500 || reply.code == "full",
            "\(path): \(reply.text) for \(String(decoding: body.prefix(80), as: UTF8.self))")
          if reply.status >= 400 { #expect(reply.code != nil) }
          if reply.status == 201, let new = try reply.json()["id"] as? String {
            _ = try await server.send("DELETE", "/v1/sessions/\(new)")
          }
        }
      }
      #expect(try await server.send("GET", "/healthz").status == 200)
    }
  }

  @Test func malformedPicturesAndFormsGetA4xx() async throws {
    try await RunningServer.with { server in
      var dice = Dice(state: 3)
      let jpeg = try RunningServer.picture().jpeg()
      let form = RunningServer.form([("image", "a.jpg", jpeg), ("text", nil, Array("Hi".utf8))])
      for round in 0..<Self.rounds {
        let picture = try await server.send("POST", "/v1/avatars", dice.damaged(jpeg), type: "image/jpeg")
        #expect([201, 400].contains(picture.status), "round \(round): \(picture.text)")
        for path in ["/v1/avatars", "/v1/videos"] {
          let reply = try await server.send("POST", path, dice.damaged(form.body), type: form.type)
          #expect([201, 202, 400, 413].contains(reply.status) || reply.code == "full", "round \(round): \(reply.text)")
        }
      }
      for type in ["multipart/form-data; boundary=", "multipart/form-data; boundary=\"\"", "multipart/form-data;;;"] {
        #expect(try await server.send("POST", "/v1/videos", form.body, type: type).status == 400)
      }
      #expect(try await server.send("GET", "/healthz").status == 200)
    }
  }

  @Test func malformedWebSocketFramesCloseTheirSocketOnly() async throws {
    try await RunningServer.with(maxSessions: 8, change: { $0.limits.sessionsPerClient = 8 }) { server in
      let id = try await server.session()
      let watcher = try await server.stream(id, query: "?video=none")
      let frames: [([UInt8], Set<Int>)] = [
        (SocketClient.frame(0x81, Array("{}".utf8), mask: nil), [1002]),  // unmasked
        (SocketClient.frame(0xC1, Array("{}".utf8)), [1002]),  // a reserved bit
        (SocketClient.frame(0x83, [1]), [1002]),  // an unknown kind
        (SocketClient.frame(0x80, [1]), [1002]),  // goes on with nothing
        (SocketClient.frame(0x01, [1]) + SocketClient.frame(0x81, [1]), [1002]),  // begins twice
        (SocketClient.frame(0x89, Array(repeating: 1, count: 126)), [1002]),  // a long ping
        (SocketClient.frame(0x09, [1]), [1002]),  // a ping in parts
        (SocketClient.frame(0x81, [0xFF, 0xFE]), [1007]),  // no UTF-8
        (SocketClient.frame(0x82, Array(repeating: 0, count: 70_000)), [1009]),
        ([0x82, 0xFF] + Array(repeating: 0xFF, count: 8), [1002, 1009]),  // a length beyond all
        ((0..<70).flatMap { SocketClient.frame($0 == 0 ? 0x02 : 0x00, [1, 1]) }, [1009]),  // too many parts
      ]
      for (index, (bytes, codes)) in frames.enumerated() {
        let socket = try await server.stream(id, query: "?media=none")
        try await socket.raw.send(bytes)
        let code = try await socket.closeCode(within: 5)
        #expect(code.map(codes.contains) == true, "case \(index) closes with \(code.map(String.init) ?? "nothing")")
        await socket.close()
      }
      var dice = Dice(state: 4)
      for _ in 0..<Self.rounds {
        let socket = try await server.stream(id, query: "?media=none")
        try? await socket.raw.send(dice.damaged(SocketClient.frame(0x81, Array(#"{"type": "interrupt"}"#.utf8))))
        try? await socket.raw.send(dice.bytes(100))
        await socket.close()
      }
      // The session and its other client have noticed nothing.
      _ = try await watcher.event("metrics")
      try await watcher.send(#"{"type": "say", "text": "Still here."}"#)
      _ = try await watcher.event("playback.started")
    }
  }

  @Test func microphoneSoundOfAnyBytesIsTaken() async throws {
    try await RunningServer.with { server in
      var dice = Dice(state: 5)
      let socket = try await server.stream(try await server.session(), query: "?media=none")
      for _ in 0..<50 { try await socket.send(dice.bytes(Int.random(in: 0...500, using: &dice))) }
      // More than is recorded in that time is refused, not kept.
      for _ in 0..<8 { try await socket.send(Array(repeating: 0, count: 60_000)) }
      let deadline = ContinuousClock.now + .seconds(10)
      var code: String?
      while code != "rate_limited", ContinuousClock.now < deadline {
        code = (try await socket.event("error")["error"] as? [String: Any])?["code"] as? String
      }
      #expect(code == "rate_limited")
      try await socket.send(#"{"type": "close"}"#)
      _ = try await socket.event("closed")
    }
  }
}
