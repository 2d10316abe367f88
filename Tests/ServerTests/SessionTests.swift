import Foundation
import MockEngine
import Testing

@testable import Server

@Suite(.serialized) struct SessionTests {
  @Test func sessionSpeaksOverItsStreamWithSoundAndPictures() async throws {
    try await RunningServer.with { server in
      let id = try await server.session()
      let socket = try await server.stream(id)
      let hello = try await socket.event("session")
      let format = try #require(hello["format"] as? [String: Any])
      #expect(format["sampleRate"] as? Int == 48_000 && hello["prompt"] as? String == "A woman nods.")
      try await socket.send(#"{"type": "say", "text": "Good morning."}"#)
      let started = try await socket.event("playback.started")
      let begin = try #require(started["sample"] as? Int)
      var (samples, next, pictures, loudest) = (0, nil as Int?, 0, 0 as Int16)
      while samples < 48_000 {
        guard case .binary(let data) = try #require(try await socket.next()) else { continue }
        func number(_ from: Int, _ count: Int) -> Int {
          data[from..<(from + count)].reversed().reduce(0) { $0 << 8 | Int($1) }
        }
        #expect(data[0] == 1)
        let (sample, bytes) = (number(8, 8), number(20, 4))
        if let next { #expect(sample == next) }
        next = sample + bytes / 2
        let sound = stride(from: 24, to: 24 + bytes, by: 2).map { Int16(bitPattern: UInt16(number($0, 2))) }
        loudest = max(loudest, sound.max() ?? 0)
        if data[24 + bytes] == 0xFF, data[25 + bytes] == 0xD8 { pictures += 1 }
        if sample >= begin { #expect(number(16, 4) <= 1) }
        samples += bytes / 2
      }
      #expect(pictures >= 15 && loudest > 3_000)
      let finished = try await socket.event("playback.finished")
      #expect(finished["interrupted"] as? Bool == false && finished["text"] as? String == "Good morning.")
      try await socket.send(#"{"type": "close"}"#)
      #expect(try await socket.event("closed")["reason"] as? String == "client")
      #expect(try await socket.closeCode() == 1000)
      #expect(try await server.send("GET", "/v1/sessions/\(id)").status == 404)
      #expect(server.engine.openSessions == 0)
    }
  }

  @Test func sayAndInterruptOverHTTPAreSeenInServerSentEvents() async throws {
    try await RunningServer.with { server in
      let id = try await server.session()
      let events = try await RawClient.connect(server.port)
      try await events.send("GET /v1/sessions/\(id)/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
      var seen = ""
      func wait(_ text: String) async throws {
        while !seen.contains(text) {
          seen += String(decoding: try #require(try await events.next()), as: UTF8.self)
        }
      }
      try await wait(#"data: {"state":"idle","type":"state"}"#)
      let said = try await server.send("POST", "/v1/sessions/\(id)/say", json: #"{"text": "A long sentence to stop."}"#)
      #expect(said.status == 202)
      try await wait("playback.started")
      #expect(try await server.send("POST", "/v1/sessions/\(id)/interrupt").status == 202)
      try await wait(#""interrupted":true"#)
      #expect(try await server.send("DELETE", "/v1/sessions/\(id)").status == 204)
      try await wait(#""type":"closed""#)
      await events.close()
    }
  }

  @Test func callerBeyondTheLastPlaceIsToldWhenToTryAgain() async throws {
    try await RunningServer.with(maxSessions: 2) { server in
      _ = try await server.session()
      let second = try await server.session()
      let refused = try await server.send("POST", "/v1/sessions", json: "{}")
      #expect(refused.status == 503 && refused.code == "full" && refused.headers["retry-after"] == "3")
      #expect(try await server.send("DELETE", "/v1/sessions/\(second)").status == 204)
      _ = try await server.session()
    }
  }

  @Test func oneClientMayOpenOnlySoMany() async throws {
    try await RunningServer.with(maxSessions: 9, change: { $0.limits.sessionsPerClient = 2 }) { server in
      _ = try await server.session()
      _ = try await server.session()
      let refused = try await server.send("POST", "/v1/sessions", json: "{}")
      #expect(refused.status == 429 && refused.code == "too_many_sessions")
    }
  }

  @Test func behindAProxyClientsAreToldApartByTheLastForwardedAddress() async throws {
    try await RunningServer.with(
      maxSessions: 9,
      change: {
        $0.limits.sessionsPerClient = 1
        $0.trustsProxy = true
      }
    ) { server in
      for (address, status) in [("1.1.1.1", 201), ("9.9.9.9, 2.2.2.2", 201), ("3.3.3.3, 2.2.2.2", 429)] {
        let reply = try await server.send("POST", "/v1/sessions", headers: ["X-Forwarded-For: \(address)"])
        #expect(reply.status == status)
      }
    }
  }

  @Test func mistakesOnTheStreamAreToldAndManyOfThemEndIt() async throws {
    try await RunningServer.with { server in
      let socket = try await server.stream(try await server.session(), query: "?media=none")
      for (message, code) in [
        ("nonsense", "invalid_json"), (#"{"type": "dance"}"#, "invalid_json"),
        (#"{"type": "say", "text": " "}"#, "bad_request"),
        (#"{"type": "say"}"#, "invalid_json"),
      ] {
        try await socket.send(message)
        let fault = try await socket.event("error")["error"] as? [String: Any]
        #expect(fault?["code"] as? String == code)
      }
      try await socket.send([1, 2, 3])
      let odd = try await socket.event("error")["error"] as? [String: Any]
      #expect(odd?["code"] as? String == "invalid_sound")
      // With the five above it is fifty; what came after them would be lost with the answer.
      for _ in 0..<45 { try await socket.send("nonsense") }
      #expect(try await socket.closeCode() == 1008)
    }
  }

  @Test func commandsBeyondTheRateAreRefused() async throws {
    try await RunningServer.with(change: {
      $0.limits.commandBurst = 3; $0.limits.commandsPerSecond = 0.1
    }) { server in
      let id = try await server.session()
      for _ in 0..<3 { #expect(try await server.send("POST", "/v1/sessions/\(id)/interrupt").status == 202) }
      let refused = try await server.send("POST", "/v1/sessions/\(id)/interrupt")
      #expect(refused.status == 429 && refused.code == "rate_limited")
    }
  }

  @Test func longestTextIsCountedInCharactersEverywhere() async throws {
    try await RunningServer.with { server in
      let path = "/v1/sessions/\(try await server.session())"
      func say(_ text: String) async throws -> Reply {
        try await server.send("POST", path + "/text", json: #"{"text": "\#(text)"}"#)
      }
      // 4,096 characters of three bytes each.
      #expect(try await say(String(repeating: "好", count: 4_096)).status == 202)
      let long = try await say(String(repeating: "a", count: 4_097))
      #expect(long.status == 413 && long.text.contains("A text has at most 4096 characters."), "\(long.text)")
      let form = RunningServer.form([
        ("avatar", nil, Array("ada".utf8)), ("text", nil, Array(repeating: 97, count: 4_097)),
      ])
      #expect(try await server.send("POST", "/v1/videos", form.body, type: form.type).text.contains("4096 characters"))
    }
  }

  @Test func failedComputationEndsItsSessionOnly() async throws {
    var faults = MockEngine.Faults()
    faults.failsOnSpeech = true
    try await RunningServer.with(faults: faults) { server in
      let socket = try await server.stream(try await server.session())
      try await socket.send(#"{"type": "say", "text": "Fail."}"#)
      let fault = try await socket.event("error")["error"] as? [String: Any]
      #expect(fault?["code"] as? String == "engine_failed")
      #expect(try await socket.event("closed")["reason"] as? String == "failed")
      #expect(try await server.send("GET", "/healthz").status == 200)
      _ = try await server.session()
    }
  }

  @Test func abandonedIdleAndExpiredSessionsEnd() async throws {
    try await RunningServer.with(change: { $0.limits.abandonedSeconds = 0.3 }) { server in
      let id = try await server.session()
      try await Task.sleep(for: .seconds(2.5))
      #expect(try await server.send("GET", "/v1/sessions/\(id)").status == 404)
    }
    try await RunningServer.with(change: { $0.limits.idleSeconds = 3 }) { server in
      let socket = try await server.stream(try await server.session(), query: "?media=none")
      #expect(try await socket.event("closed")["reason"] as? String == "idle")
    }
    try await RunningServer.with(change: { $0.limits.sessionSeconds = 3 }) { server in
      let socket = try await server.stream(try await server.session(), query: "?media=none")
      #expect(try await socket.event("closed")["reason"] as? String == "expired")
    }
  }

  @Test func deadSocketIsNoticedAndTheSessionWaitsForAnother() async throws {
    try await RunningServer.with(change: { $0.limits.silentSeconds = 0.6 }) { server in
      let id = try await server.session()
      let dead = try await server.stream(id, query: "?media=none")
      _ = try await dead.event("session")
      // Nothing is read and no ping answered.
      try await Task.sleep(for: .seconds(1.5))
      let state = try await server.send("GET", "/v1/sessions/\(id)").json()
      #expect(state["connections"] as? Int == 0)
      let again = try await server.stream(id, query: "?media=none")
      #expect(try await again.event("session")["id"] as? String == id)
    }
  }

  @Test func readinessFollowsTheEngine() async throws {
    try await RunningServer.with { server in
      #expect(try await server.send("GET", "/readyz").status == 200)
      server.engine.setReady(false)
      let waiting = try await server.send("GET", "/readyz")
      #expect(waiting.status == 503 && waiting.code == "starting")
      let refused = try await server.send("POST", "/v1/sessions", json: "{}")
      #expect(refused.status == 503 && refused.headers["retry-after"] != nil)
    }
  }

  @Test func stoppingServerEndsItsSessionsAndSaysWhy() async throws {
    let socket = try await withCheckedThrowingContinuation { (done: CheckedContinuation<SocketClient, any Error>) in
      Task {
        try await RunningServer.with { server in
          let socket = try await server.stream(try await server.session(), query: "?media=none")
          _ = try await socket.event("session")
          done.resume(returning: socket)
        }
      }
    }
    #expect(try await socket.event("closed")["reason"] as? String == "draining")
  }

  @Test func metricsPageTellsOfSessionsAndRequests() async throws {
    try await RunningServer.with { server in
      let socket = try await server.stream(try await server.session())
      _ = try await socket.event("metrics")
      let page = try await server.send("GET", "/metrics")
      #expect(page.headers["content-type"]?.hasPrefix("text/plain; version=0.0.4") == true)
      for line in [
        "livetalk_sessions 1", "livetalk_sessions_free 3", "livetalk_connections 1", "livetalk_missed_deadlines_total",
        #"livetalk_http_requests_total{route="/v1/sessions",method="POST",status="201"} 1"#,
      ] { #expect(page.text.contains(line), "\(line) is missing") }
      _ = try await server.send("BREW", "/v1/coffee")
      #expect(!(try await server.send("GET", "/metrics").text.contains("BREW")))
    }
  }
}
