import Foundation
import MockEngine
import Testing

@testable import Server

@Suite(.serialized) struct LoadTests {
  @Test func twentyStreamsAtOnceGetEveryFrame() async throws {
    try await RunningServer.with(maxSessions: 20, change: { $0.limits.sessionsPerClient = 20 }) { server in
      try await withThrowingTaskGroup(of: Int.self) { group in
        for number in 0..<20 {
          group.addTask {
            let socket = try await server.stream(try await server.session())
            try await socket.send(#"{"type": "say", "text": "I am number \#(number)."}"#)
            var frames = 0
            while frames < 40 { if case .binary = try #require(try await socket.next()) { frames += 1 } }
            try await socket.send(#"{"type": "close"}"#)
            _ = try await socket.event("closed")
            return frames
          }
        }
        for try await frames in group { #expect(frames == 40) }
      }
      #expect(server.engine.openSessions == 0)
    }
  }
}
