import Foundation
import MockEngine
import TestClients
import Testing

@testable import Server
@testable import WebRTC

/// The page in a real browser, in real time: `make live` runs it.
@Suite(
  .serialized, .enabled(if: TestClients.chromium != nil, "a Chromium is needed"),
  .enabled(if: ProcessInfo.processInfo.environment["LIVETALK_LIVE_TESTS"] != nil, "make live runs them"))
struct PageLiveTests {
  @Test(arguments: ["websocket", "webrtc"])
  func pageTellsThatItsNetworkIsGoneAndConnectsAnewWhenItIsBack(_ transport: String) async throws {
    if transport == "webrtc" {
      do { try Peer.warmUp() } catch let error as WebRTCError where error.reason == .unavailable { return }
    }
    try await RunningServer.with(change: {
      $0.limits.silentSeconds = 5
      $0.limits.abandonedSeconds = 30
      $0.webRTC.isLoopbackOnly = true
    }) { server in
      let report = try await PageClient.run(["--port", "\(server.port)", "--transport", transport, "--cut", "10"])
      print("\(transport): \(report)")
      #expect(report.transport == transport)
      #expect(report.live != nil, "there was something to lose")
      #expect((report.told ?? .infinity) < 6)
      #expect(report.moved == 0, "nothing gets through")
      #expect((report.back ?? .infinity) < 5)
      #expect(report.view == "talk" && server.engine.openSessions == 1, "the same conversation goes on")
    }
  }
}

enum PageClient {
  /// What page_client.py saw; times are in seconds, and nil for what did not come.
  struct Report: Decodable {
    /// From the start to a moving picture.
    let live: Double?
    /// From the cut to the page's notice.
    let told: Double?
    /// Pictures in the last 2 s of the cut.
    let moved: Int
    /// From the network's return to a moving picture.
    let back: Double?
    let transport, view: String
  }

  static func run(_ arguments: [String]) async throws -> Report {
    let script = TestClients.tests.appendingPathComponent("ServerTests/Clients/page_client.py").path
    let browser = try #require(TestClients.chromium)
    return try await ClientProcess("/usr/bin/env", ["python3", script, "--browser", browser] + arguments)
      .next(Report.self)
  }
}
