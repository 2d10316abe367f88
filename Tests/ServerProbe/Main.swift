import Foundation
import Logging
import MockEngine
import Server
import Session

/// The server over the mock engine, for trials of it alone: `server-probe PORT AVATARS VIDEOS [SESSIONS [TOKEN]]`.
@main
enum ServerProbe {
  static func main() async throws {
    let arguments = CommandLine.arguments
    guard arguments.count >= 4, let port = Int(arguments[1]) else {
      FileHandle.standardError.write(Data("usage: server-probe PORT AVATARS VIDEOS [SESSIONS [TOKEN]]\n".utf8))
      exit(64)
    }
    var settings = LiveServerSettings()
    settings.port = port
    settings.webFolder = ProcessInfo.processInfo.environment["LIVETALK_WEB"]
    settings.limits.sessionsPerClient = 1_000
    settings.trustsProxy = true
    settings.token = arguments.count > 5 ? arguments[5] : nil
    let sessions = arguments.count > 4 ? Int(arguments[4]) ?? 4 : 4
    let engine = MockEngine(side: 256, maxSessions: sessions)
    let avatars = try AvatarStore(folder: URL(fileURLWithPath: arguments[2]), limits: settings.limits)
    let server = try LiveServer(
      settings: settings, engine: engine, avatars: avatars, voice: HummingVoice(),
      videoFolder: URL(fileURLWithPath: arguments[3]), metrics: PrometheusRegistry(), logger: Logger(label: "probe")
    ) { try openMockSession(engine, $0) }
    try await server.run { port in print("The mock avatar listens on http://127.0.0.1:\(port)") }
  }
}
