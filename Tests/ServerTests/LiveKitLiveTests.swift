import Foundation
import LiveKit
import MockEngine
import TestClients
import Testing

@testable import Server

/// An avatar in a room of which Clients/livekit_room.py is the server and the agent, in real time: `make live` runs it.
@Suite(
  .serialized, .enabled(if: TestClients.areThere, "scripts/setup tests makes the environment of the other clients"),
  .enabled(if: ProcessInfo.processInfo.environment["LIVETALK_LIVE_TESTS"] != nil, "make live runs them"))
struct LiveKitLiveTests {
  /// What the room saw and heard of the avatar.
  struct Report: Decodable {
    struct Finish: Decodable, Equatable {
      let seconds: Double
      let wasInterrupted: Bool

      init(from decoder: any Decoder) throws {
        var fields = try decoder.unkeyedContainer()
        seconds = try fields.decode(Double.self)
        wasInterrupted = try fields.decode(Bool.self)
      }
    }

    let query: [String: String]
    /// Why the avatar left, if it said so.
    let left: String?
    let started, pictures, clicks, flashes, pings: Int
    let finished: [Finish]
    let size: [Int]
    /// Seconds from each click to its flash.
    let lips: [Double]
    /// What was not as it should be.
    let faults: [String]
    /// Whether packets are numbered without a gap.
    let sequences: Bool
    // Of an interruption.
    var answer, stranger: String?
    var unknown: Int?
    /// Seconds from `lk.playback_started` to `lk.clear_buffer`, and from there to `lk.playback_finished`.
    var heard, told: Double?
    var isToldAfterAnswer: Bool?
  }

  /// Runs a room and a server that may speak to it.
  private func with(
    _ scenario: String, _ body: @Sendable @escaping (RunningServer, ClientProcess) async throws -> Void
  ) async throws {
    let script = TestClients.tests.appendingPathComponent("ServerTests/Clients/livekit_room.py").path
    let room = try ClientProcess(TestClients.python, [script, "--scenario", scenario])
    let url = try #require(try await room.next([String: String].self)["url"])
    let permitted = try LiveKitServer(url)
    try await RunningServer.with(change: { $0.liveKit = [permitted] }) { server in
      // A server's process lets its children ignore SIGTERM.
      defer { room.send(SIGKILL) }
      try await body(server, room)
      let end = ContinuousClock.now + .seconds(5)
      while server.engine.openSessions > 0, ContinuousClock.now < end { try await Task.sleep(for: .milliseconds(20)) }
      #expect(server.engine.openSessions == 0, "the session has ended with the call")
    }
  }

  /// Opens a call; its events come over the socket.
  private func call(_ server: RunningServer) async throws -> (id: String, events: SocketClient) {
    let reply = try await server.send("POST", "/v1/livekit", json: #"{"token": "a.good.token", "avatar": "ada"}"#)
    try #require(reply.status == 201, "\(reply.text)")
    let id = try #require(try reply.json()["id"] as? String)
    #expect(reply.headers["location"] == "/v1/sessions/\(id)")
    return (id, try await server.stream(id, query: "?media=none"))
  }

  @Test func anAgentsSpeechIsSeenAndHeardAndItsEndIsToldOnceForEachSegment() async throws {
    try await with("speak") { server, room in
      let (id, events) = try await call(server)
      let report = try await room.next(Report.self)
      print("speak:", report)
      #expect(report.faults == [])
      #expect(report.query["auto_subscribe"] == "0" && report.query["access_token"] == nil)
      #expect(report.pings >= 2 && report.sequences)
      #expect(report.size == [64, 64])
      #expect(report.pictures > 5 * 14, "\(report.pictures) pictures in more than 5 s")
      #expect(report.started == 2)
      #expect(report.finished.map(\.wasInterrupted) == [false, false])
      #expect(zip(report.finished, [3.0, 2.0]).allSatisfy { abs($0.seconds - $1) < 0.02 }, "\(report.finished)")
      #expect(report.clicks == 5 && report.flashes == 5)
      #expect(report.lips.allSatisfy { abs($0) < 0.15 }, "\(report.lips)")
      // The room was closed under it.
      #expect(try await (events.event("error")["error"] as? [String: Any])?["code"] as? String == "call_failed")
      #expect(try await events.event("closed")["reason"] as? String == "failed")
      #expect(try await server.send("GET", "/v1/sessions/\(id)").status == 404)
    }
  }

  @Test func clearBufferStopsTheAvatarAndTellsOnceWhatWasPlayed() async throws {
    try await with("interrupt") { server, room in
      _ = try await call(server)
      let report = try await room.next(Report.self)
      print("interrupt:", report)
      #expect(report.faults == [])
      #expect(report.answer == "ok" && report.stranger == "reject" && report.unknown == 1400)
      try #require(report.finished.map(\.wasInterrupted) == [true, false])
      let heard = try #require(report.heard)
      #expect(abs(report.finished[0].seconds - heard) < 0.3, "\(report.finished) after \(heard) s")
      #expect(abs(report.finished[1].seconds - 1) < 0.02)
      #expect(report.isToldAfterAnswer == true && (report.told ?? .infinity) < 0.5)
      // Two of the seconds before the interruption, and the one afterwards.
      #expect((2...3).contains(report.clicks), "\(report.clicks) clicks")
    }
  }

  /// livekit_agent.py: what LiveKit's own client sends and understands is its own account, not that of the room's fake agent.
  @Test func anAgentOverLiveKitsOwnClientIsUnderstoodAndUnderstands() async throws {
    try await with("client") { server, room in
      _ = try await call(server)
      let report = try await room.next(Report.self)
      print("client:", report)
      #expect(report.faults == [])
      #expect(report.answer == "ok")
      #expect(report.started == 2)
      try #require(report.finished.map(\.wasInterrupted) == [false, true])
      #expect(abs(report.finished[0].seconds - 2) < 0.02)
      let heard = try #require(report.heard)
      #expect(abs(report.finished[1].seconds - heard) < 0.3, "\(report.finished) after \(heard) s")
    }
  }

  @Test func whatIsNoMessageIsPassedOver() async throws {
    try await with("garbage") { server, room in
      _ = try await call(server)
      let report = try await room.next(Report.self)
      #expect(report.faults == [])
      #expect(report.finished.map(\.wasInterrupted) == [false])
    }
  }

  @Test func speechInAFormatThatThereIsNotIsToldAndEndsAtOnce() async throws {
    try await with("formats") { server, room in
      let (_, events) = try await call(server)
      let report = try await room.next(Report.self)
      #expect(report.faults == [])
      // The first was told again, after an error.
      #expect(report.finished.map(\.wasInterrupted) == [false, true, true, true])
      #expect(report.finished.dropFirst().allSatisfy { $0.seconds == 0 })
      for _ in 0..<3 {
        let error = try await events.event("error")["error"] as? [String: Any]
        #expect(error?["code"] as? String == "bad_sound" && error?["isFatal"] as? Bool == false)
      }
    }
  }

  @Test func theSessionEndsWhenTheAgentLeaves() async throws {
    try await with("leave") { server, room in
      let (_, events) = try await call(server)
      #expect(try await events.event("closed", within: 20)["reason"] as? String == "client")
      #expect(try await room.next(Report.self).left == "CLIENT_INITIATED")
    }
  }

  @Test func theSessionEndsWithAnErrorWhenTheAvatarIsRemoved() async throws {
    try await with("remove") { server, _ in
      let (_, events) = try await call(server)
      let error = try await events.event("error", within: 20)["error"] as? [String: Any]
      #expect(error?["code"] as? String == "call_failed" && error?["isFatal"] as? Bool == true)
      #expect((error?["message"] as? String)?.contains("removed") == true)
      #expect(try await events.event("closed")["reason"] as? String == "failed")
    }
  }

  @Test func theSessionEndsWithAnErrorWhenLiveKitsServerDies() async throws {
    try await with("die") { server, room in
      let (_, events) = try await call(server)
      _ = try await room.next([String: Bool].self)
      let start = ContinuousClock.now
      let error = try await events.event("error", within: 10)["error"] as? [String: Any]
      print("die: noticed after \(ContinuousClock.now - start)")
      #expect(ContinuousClock.now - start < .seconds(5))
      #expect(error?["code"] as? String == "call_failed")
      #expect(try await events.event("closed")["reason"] as? String == "failed")
    }
  }

  @Test func theSessionEndsWithAnErrorWhenLiveKitsServerStandsStill() async throws {
    try await with("silence") { server, room in
      let (_, events) = try await call(server)
      // Long enough for its connections.
      try await Task.sleep(for: .seconds(4))
      room.send(SIGSTOP)
      let start = ContinuousClock.now
      let error = try await events.event("error", within: 10)["error"] as? [String: Any]
      print("silence: noticed after \(ContinuousClock.now - start)")
      #expect(ContinuousClock.now - start < .seconds(6))
      #expect(error?["code"] as? String == "call_failed")
    }
  }

  @Test func theAvatarLeavesTheRoomWhenItsSessionIsDeletedAndNobodyElseLetsItSpeak() async throws {
    try await with("silence") { server, room in
      let (id, events) = try await call(server)
      let said = try await server.send("POST", "/v1/sessions/\(id)/say", json: #"{"text": "I am here too."}"#)
      #expect(said.status == 409)
      #expect(try await server.send("POST", "/v1/sessions/\(id)/interrupt").status == 202)
      try await Task.sleep(for: .seconds(2))
      #expect(try await server.send("DELETE", "/v1/sessions/\(id)").status == 204)
      #expect(try await events.event("closed")["reason"] as? String == "client")
      let report = try await room.next(Report.self)
      #expect(report.left == "CLIENT_INITIATED" && report.faults == [])
      #expect(report.started == 0 && report.finished == [])
    }
  }

  @Test func aTokenThatLiveKitRefusesOpensNothing() async throws {
    try await with("silence") { server, _ in
      let reply = try await server.send("POST", "/v1/livekit", json: #"{"token": "a.bad.token"}"#)
      #expect(reply.status == 422)
      #expect(reply.code == "unprocessable")
      #expect(!reply.text.contains("a.bad.token"))
    }
  }

  @Test func aServerThatDoesNotSpeakAsLiveKitDoesOpensNothing() async throws {
    try await with("stranger") { server, _ in
      let reply = try await server.send("POST", "/v1/livekit", json: #"{"token": "a.good.token"}"#)
      #expect(reply.status == 502)
      #expect(reply.code == "upstream_failed")
    }
  }
}
