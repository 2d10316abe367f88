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
  /// Seconds of the trial at which the way is cut and whole again.
  private static let (cut, whole) = (4.0, 10.0)

  @Test(arguments: ["websocket", "webrtc"])
  func pageConnectsAnewByItselfWhenTheNetworkIsBack(_ transport: String) async throws {
    if transport == "webrtc" {
      do { try Peer.warmUp() } catch let error as WebRTCError where error.reason == .unavailable { return }
    }
    try await RunningServer.with(change: {
      $0.limits.silentSeconds = 5
      $0.limits.abandonedSeconds = 30
      $0.webRTC.isLoopbackOnly = true
    }) { server in
      let report = try await PageClient.run([
        "--port", "\(server.port)", "--transport", transport, "--cut-after", "\(Self.cut)", "--cut",
        "\(Self.whole - Self.cut)", "--seconds", "18",
      ])
      #expect(report.transport == transport && report.notice == nil)
      /// Pictures that differ from the one before, in a part of the trial.
      func moving(_ part: Range<Double>) -> Int {
        let pictures = report.seen.filter { part.contains($0.time) }.map(\.picture)
        return zip(pictures, pictures.dropFirst()).count { $0 != $1 }
      }
      #expect(moving(1..<Self.cut) >= 10, "before")
      // What was on the way is shown for a little longer.
      #expect(moving(Self.cut + 2..<Self.whole) <= 3, "while the way is cut")
      #expect(report.seen.contains { $0.subtitle.contains("connection was lost") }, "it is told")
      let back = report.seen.first { $0.time > Self.whole && $0.subtitle == "Live" && $0.state != "Reconnecting" }
      let seconds = (back?.time ?? .infinity) - Self.whole
      print("\(transport): live again \((seconds * 10).rounded() / 10) s after the network was back")
      #expect(seconds < 5)
      #expect(moving(Self.whole + 5..<18) >= 10, "after")
      #expect(report.seen.allSatisfy { $0.view == "talk" }, "the conversation goes on")
      #expect(server.engine.openSessions == 1, "in the same session")
    }
  }
}

enum PageClient {
  struct Report: Decodable {
    struct Moment: Decodable {
      let time: Double
      let view, subtitle, state: String
      let picture: Int?
    }
    let seen: [Moment]
    let transport: String
    let notice: String?
  }

  static let browser = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
    .first { FileManager.default.isExecutableFile(atPath: $0) }

  static func run(_ arguments: [String], file: String = #filePath) async throws -> Report {
    let script = URL(fileURLWithPath: file).deletingLastPathComponent().appendingPathComponent("Clients/page_client.py")
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", script.path, "--browser", try #require(browser)] + arguments
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let data = await withCheckedContinuation { continuation in
      DispatchQueue.global().async { continuation.resume(returning: output.fileHandleForReading.readDataToEndOfFile()) }
    }
    process.waitUntilExit()
    return try JSONDecoder().decode(Report.self, from: data)
  }
}
