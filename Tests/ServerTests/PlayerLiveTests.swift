import Foundation
import TestClients
import Testing

@testable import Server
@testable import WebRTC

/// A player of WHEP that is not ours (aiortc), over HTTP and in real time: `make live` runs it.
@Suite(
  .enabled(if: TestClients.areThere, "the tests' Python environment is needed (scripts/setup tests)"),
  .enabled(if: ProcessInfo.processInfo.environment["LIVETALK_LIVE_TESTS"] != nil, "make live runs them"))
struct PlayerLiveTests {
  private struct Report: Decodable {
    let states: [String]
    /// Pictures, and levels of sound every 5 ms.
    let seen, heard: [Entry]
    /// Its times are not read.
    struct Entry: Decodable { init(from decoder: any Decoder) throws {} }
  }

  @Test func aPlayerWhoseOfferIsRefusedTakesTheServersAndSeesTheAvatar() async throws {
    do { try Peer.warmUp() } catch let error as WebRTCError where error.reason == .unavailable { return }
    try await RunningServer.with(change: { $0.webRTC.isLoopbackOnly = true }) { server in
      let url = "http://127.0.0.1:\(server.port)/v1/sessions/\(try await server.session())/whep"
      let script = TestClients.tests.appendingPathComponent("WebRTCTests/Clients/aiortc_client.py").path
      let player = try ClientProcess(
        TestClients.python, [script, "--role", "answerer", "--whep", url, "--seconds", "4"])
      let report = try await player.next(Report.self)
      #expect(report.states.last == "connected")
      #expect(report.seen.count >= 3 * 16, "\(report.seen.count) pictures in 4 s")
      #expect(report.heard.count >= 3 * 200)
    }
  }
}
