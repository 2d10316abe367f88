import Foundation
import LiveKit
import MockEngine
import Testing

@testable import Server

/// Calls that come to nothing; those that do are in `LiveKitLiveTests`.
@Suite(.serialized) struct LiveKitRouteTests {
  @Test func aServerThatWasGivenNoLiveKitServerSaysSo() async throws {
    try await RunningServer.with { server in
      let reply = try await server.send("POST", "/v1/livekit", json: #"{"token": "a.b.c"}"#)
      #expect(reply.status == 501 && reply.code == "not_supported")
      #expect(reply.text.contains("--livekit"))
    }
  }

  @Test func onlyTheServersOfTheConfigurationAreSpokenTo() async throws {
    let permitted = try LiveKitServer("wss://live.example.org")
    try await RunningServer.with(change: { $0.liveKit = [permitted] }) { server in
      for url in [
        "wss://evil.example.org", "ws://live.example.org", "wss://live.example.org:444", "wss://live.example.org/x",
        "http://127.0.0.1:\(server.port)",
      ] {
        let reply = try await server.send("POST", "/v1/livekit", json: #"{"url": "\#(url)", "token": "a.b.c"}"#)
        #expect(reply.status == 403 && reply.code == "forbidden", "\(url)")
      }
      for url in ["", "live.example.org", "wss://a:b@live.example.org", "file:///etc/passwd"] {
        let reply = try await server.send("POST", "/v1/livekit", json: #"{"url": "\#(url)", "token": "a.b.c"}"#)
        #expect(reply.status == 400 && reply.code == "bad_request", "\(url)")
      }
      #expect(server.engine.openSessions == 0)
    }
  }

  @Test func aRequestThatIsWrongIsToldSo() async throws {
    let permitted = try LiveKitServer("ws://127.0.0.1:9")
    try await RunningServer.with(change: { $0.liveKit = [permitted] }) { server in
      for (body, status, code) in [
        ("{}", 400, "invalid_json"), (#"{"token": 1}"#, 400, "invalid_json"),
        (#"{"token": "a", "room": "b"}"#, 400, "invalid_json"), (#"{"token": ""}"#, 400, "bad_request"),
        (#"{"token": "a\r\nX-Evil: b"}"#, 400, "bad_request"),
        (#"{"token": "a", "avatar": "nobody"}"#, 404, "not_found"),
      ] {
        let reply = try await server.send("POST", "/v1/livekit", json: body)
        #expect(reply.status == status && reply.code == code, "\(body)")
        #expect(!reply.text.contains("Evil"))
      }
    }
  }

  @Test func whereNobodyAnswersTheCallIsNotOpenedAndItsPlaceIsGivenBack() async throws {
    let permitted = try LiveKitServer("ws://127.0.0.1:9")
    try await RunningServer.with(change: { $0.liveKit = [permitted] }) { server in
      let reply = try await server.send("POST", "/v1/livekit", json: #"{"token": "a.secret.token"}"#)
      // Without GStreamer it does not come so far.
      #expect([502, 501].contains(reply.status), "\(reply.text)")
      #expect(!reply.text.contains("secret"))
      let end = ContinuousClock.now + .seconds(5)
      while server.engine.openSessions > 0, ContinuousClock.now < end { try await Task.sleep(for: .milliseconds(20)) }
      #expect(server.engine.openSessions == 0)
    }
  }
}
