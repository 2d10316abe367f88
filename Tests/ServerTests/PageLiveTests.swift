import Foundation
import MockEngine
import Testing

@testable import Server
@testable import WebRTC

/// The page in a real browser, in real time: `make live` runs it.
@Suite(
  .serialized, .enabled(if: PageClient.browser != nil, "a Chromium is needed"),
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

  static let browser = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
    .first { FileManager.default.isExecutableFile(atPath: $0) }

  static func run(_ arguments: [String]) async throws -> Report {
    let data = try await output(
      of: "/usr/bin/env",
      ["python3", clients.appendingPathComponent("page_client.py").path, "--browser", try #require(browser)] + arguments
    )
    return try JSONDecoder().decode(Report.self, from: data)
  }

  static let clients = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Clients")

  /// What a program prints before it ends.
  static func output(of program: String, _ arguments: [String]) async throws -> Data {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let data = await withCheckedContinuation { continuation in
      DispatchQueue.global().async { continuation.resume(returning: output.fileHandleForReading.readDataToEndOfFile()) }
    }
    process.waitUntilExit()
    return data
  }
}
