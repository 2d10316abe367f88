import Foundation
import Testing

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// `serve` by several processes.
@Suite struct ServePipelineTests {
  /// Answers of a server on this machine.
  private struct Client {
    let port: Int

    /// Nil where nobody answers.
    func status(_ method: String, _ path: String) async -> Int? {
      guard let url = URL(string: "http://127.0.0.1:\(port)\(path)") else { return nil }
      var request = URLRequest(url: url)
      request.httpMethod = method
      request.timeoutInterval = 20
      return ((try? await URLSession.shared.data(for: request))?.1 as? HTTPURLResponse)?.statusCode
    }

    func await(_ path: String, _ status: Int) async throws -> Bool {
      for _ in 0..<600 {
        if await self.status("GET", path) == status { return true }
        try await Task.sleep(for: .milliseconds(100))
      }
      return false
    }
  }

  private let folder: Folder
  private let port = 30_000 + Int.random(in: 0..<10_000)

  init() async throws {
    folder = try Folder()
    let made = try await Tool.run("checkpoint", "init", "--preset", "liveavatar-tiny", "--out", folder["avatar"].path)
    try #require(made.status == 0, "\(made.error)")
    let avatars = folder["avatar"].appendingPathComponent("avatars")
    try FileManager.default.createDirectory(at: avatars, withIntermediateDirectories: true)
    try FileManager.default.copyItem(atPath: Fixtures.picture, toPath: avatars.appendingPathComponent("anna.png").path)
    try "A person speaks.".write(to: avatars.appendingPathComponent("anna.txt"), atomically: true, encoding: .utf8)
  }

  private func serve(
    _ size: Int, _ more: String..., then: @escaping @Sendable ([Int32]) async throws -> Void = { _ in }
  )
    async throws -> [Tool.Result]
  {
    let started = Locked([Int: Int32]())
    let work = Locked<Task<Void, any Error>?>(nil)
    let results = try await Tool.runTogether(
      try Tool.executable(),
      [
        "serve", "--pipeline", "--checkpoint", folder["avatar"].path, "--port", "\(port)", "--device", "cpu",
        "--videos", folder["videos"].path,
      ] + more, Fixtures.ranks(size)
    ) { rank, process in
      let all = started.withLock {
        $0[rank] = process
        return $0
      }
      guard all.count == size else { return }
      let processes = (0..<size).compactMap { all[$0] }
      work.withLock { $0 = Task { try await then(processes) } }
    }
    try await work.withLock { $0 }?.value
    return results
  }

  @Test func `the first process serves, and ends the others`() async throws {
    let client = Client(port: port)
    let answers = Locked([String: Int]())
    let results = try await serve(2, "--layers-per-device", "2") { processes in
      defer { kill(processes[0], SIGTERM) }
      let isReady = try await client.await("/readyz", 200)
      let opened = await client.status("POST", "/v1/sessions")
      let full = await client.status("POST", "/v1/sessions")
      // Another process than the first goes on, as a terminal's Ctrl-C is for all of them.
      kill(processes[1], SIGINT)
      try await Task.sleep(for: .seconds(1))
      let health = await client.status("GET", "/healthz")
      answers.withLock {
        $0 = ["ready": isReady ? 200 : 0, "opened": opened ?? 0, "full": full ?? 0, "health": health ?? 0]
      }
    }
    #expect(answers.withLock { $0 } == ["ready": 200, "opened": 201, "full": 503, "health": 200])
    let text = results.map(\.error).joined()
    #expect(results.map(\.status) == [0, 0], "\(text)")
    #expect(results.count { $0.text.contains("LiveTalk is on http://127.0.0.1:\(port)/") } == 1, "\(text)")
  }

  @Test func `what one process cannot do ends all with its reason`() async throws {
    let results = try await serve(2, "--avatars", folder["none"].path)
    #expect(Set(results.map(\.status)) == [1, 75])
    #expect(results.contains { $0.error.contains("Rank 0 of 2 failed: ") }, "\(results)")
    #expect(!results.contains { $0.error.hasSuffix("..\n") }, "\(results)")
    let alone = try await Tool.run("serve", "--pipeline", "--checkpoint", folder["avatar"].path)
    #expect(alone.status == 1 && alone.error.contains("has 2 to 5 processes, not 1"), "\(alone.error)")
    let other = try await Tool.runTogether(
      try Tool.executable(), ["serve", "--pipeline", "--checkpoint", try await Fixtures.checkpoint.value],
      Fixtures.ranks(2))
    #expect(other.contains { $0.error.contains(" has no --pipeline; leave it out.") }, "\(other)")
  }
}
