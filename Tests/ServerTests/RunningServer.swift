import Basics
import Foundation
import Logging
import Media
import MockEngine
import ServiceLifecycle
import Session
import Testing

@testable import Server

/// A server over the mock engine on a free port, for as long as a test runs.
struct RunningServer: Sendable {
  let port: Int
  let engine: MockEngine
  let server: LiveServer
  let folder: URL
  let token: String?

  /// Runs `body` with a server, then stops it as a signal would.
  static func with(
    token: String? = nil, maxSessions: Int = 4, faults: MockEngine.Faults = .init(), folder: URL? = nil,
    change: (inout LiveServerSettings) -> Void = { _ in },
    _ body: @Sendable @escaping (RunningServer) async throws -> Void
  ) async throws {
    var settings = LiveServerSettings()
    (settings.port, settings.token) = (0, token)
    settings.limits.drainSeconds = 1
    // A busy machine is no dead client.
    settings.limits.silentSeconds = 60
    settings.limits.abandonedSeconds = 600
    change(&settings)
    let home = folder ?? FileManager.default.temporaryDirectory.appendingPathComponent("livetalk-\(UUID().uuidString)")
    defer { if folder == nil { try? FileManager.default.removeItem(at: home) } }
    let people = home.appendingPathComponent("avatars")
    try FileManager.default.createDirectory(at: people, withIntermediateDirectories: true)
    try Data(picture().jpeg()).write(to: people.appendingPathComponent("ada.jpg"))
    try Data("A woman nods.\n".utf8).write(to: people.appendingPathComponent("ada.txt"))
    let engine = MockEngine(maxSessions: maxSessions, faults: faults)
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let server = try LiveServer(
      settings: settings, engine: engine, avatars: AvatarStore(folder: people, limits: settings.limits),
      voice: HummingVoice(), videoFolder: home.appendingPathComponent("videos"), metrics: PrometheusRegistry(),
      logger: logger
    ) { try openMockSession(engine, $0) }
    let (ports, port) = AsyncStream.makeStream(of: Int.self)
    try await withThrowingTaskGroup(of: Void.self) { group in
      let (stops, stop) = AsyncStream.makeStream(of: Void.self)
      group.addTask {
        defer { port.finish() }
        try await server.run(signals: [], stop: stops) { port.yield($0) }
      }
      guard let number = await ports.first(where: { _ in true }) else {
        try await group.next()
        return
      }
      let running = RunningServer(port: number, engine: engine, server: server, folder: home, token: token)
      group.addTask {
        defer { stop.yield() }
        try await body(running)
      }
      try await group.waitForAll()
    }
  }

  /// 80 × 64 pixels.
  static func picture() -> Picture {
    Picture(width: 80, height: 64, bytes: (0..<(80 * 64 * 3)).map { UInt8(truncatingIfNeeded: $0 / 60) })
  }

  func send(
    _ method: String, _ path: String, _ body: [UInt8]? = nil, type: String = "application/json",
    headers: [String] = []
  ) async throws -> Reply {
    var lines = ["\(method) \(path) HTTP/1.1", "Host: 127.0.0.1:\(port)", "Connection: close"] + headers
    if let token, !headers.contains(where: { $0.hasPrefix("Authorization") }) {
      lines.append("Authorization: Bearer \(token)")
    }
    if let body { lines += ["Content-Type: \(type)", "Content-Length: \(body.count)"] }
    let client = try await RawClient.connect(port)
    defer { Task { await client.close() } }
    try await client.send(Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8) + (body ?? []))
    return try #require(Reply(try await client.rest()))
  }

  func send(_ method: String, _ path: String, json: String) async throws -> Reply {
    try await send(method, path, Array(json.utf8))
  }

  /// The id of a new session.
  func session() async throws -> String {
    let reply = try await send("POST", "/v1/sessions", json: "{}")
    #expect(reply.status == 201, "\(reply.text)")
    return try #require(try reply.json()["id"] as? String)
  }

  func stream(_ id: String, query: String = "") async throws -> SocketClient {
    try await SocketClient.connect(
      port, "/v1/sessions/\(id)/stream\(query)", headers: token.map { ["Authorization: Bearer \($0)"] } ?? [])
  }

  /// A form of `multipart/form-data`: names, file names, contents.
  static func form(_ parts: [(String, String?, [UInt8])]) -> (body: [UInt8], type: String) {
    var body: [UInt8] = []
    for (name, file, content) in parts {
      let named = file.map { "; filename=\"\($0)\"" } ?? ""
      body += Array("--XX\r\nContent-Disposition: form-data; name=\"\(name)\"\(named)\r\n\r\n".utf8) + content
      body += Array("\r\n".utf8)
    }
    return (body + Array("--XX--\r\n".utf8), "multipart/form-data; boundary=XX")
  }
}
