import Foundation
package import Logging
package import Metrics
import ServiceLifecycle
package import Session

/// Opens sessions, finds them, and ends those whose time is over.
package actor SessionRegistry: Service {
  /// Opens a session with an avatar: the engine, the dialogue and the turn-taking behind it.
  package typealias Open = @Sendable (AvatarRequest) async throws -> any SessionHandle

  private let engine: any AvatarEngine
  private let avatars: AvatarStore
  private let open: Open
  private let limits: ServerLimits
  private let logger: Logger
  private let metrics: any MetricsFactory
  /// Read on event loops too, which cannot wait for an actor.
  nonisolated let index = OpenSessions()
  /// Places taken by sessions that are being opened, by client.
  private var opening: [String: Int] = [:]
  private(set) var isDraining = false

  package init(
    engine: any AvatarEngine, avatars: AvatarStore, limits: ServerLimits, metrics: any MetricsFactory, logger: Logger,
    open: @escaping Open
  ) {
    (self.engine, self.avatars, self.limits, self.metrics) = (engine, avatars, limits, metrics)
    (self.logger, self.open) = (logger, open)
  }

  /// - Throws: `APIError`.
  func create(
    _ request: NewSession, client: String, caller: Caller, speaker: Speaker = .clients
  ) async throws -> OpenSession {
    guard !isDraining else { throw APIError(.draining, "The server is being stopped.", retryAfter: 30) }
    let name = request.avatar ?? avatars.all(for: caller).first?.id ?? ""
    let unknown = APIError(.notFound, "There is no avatar '\(name.prefix(60))': GET /v1/avatars lists them.")
    guard let avatar = avatars.avatar(name, for: caller) else { throw unknown }
    let prompt = request.prompt ?? avatar.prompt
    try TextLimit.prompt.check(prompt)
    let mine = index.all.count { $0.client == client } + opening[client, default: 0]
    let most = caller.sessions ?? limits.sessionsPerClient
    guard mine < most else {
      count("refused", "too_many_sessions")
      throw APIError(
        .tooManySessions, "You have \(mine) sessions open, and one client may have \(most).",
        retryAfter: 5)
    }
    guard let picture = try avatars.picture(name) else { throw unknown }
    opening[client, default: 0] += 1
    let handle: any SessionHandle
    do {
      // From here to `index.add` nothing is waited for: the place counts once.
      defer { opening[client] = opening[client].flatMap { $0 > 1 ? $0 - 1 : nil } }
      handle = try await open(AvatarRequest(picture: picture, prompt: prompt, seed: request.seed ?? 0))
    } catch let error as AdmissionError {
      count("refused", error.code)
      throw APIError(error)
    } catch let error as SessionError {
      count("refused", error.code.rawValue)
      throw APIError(.badRequest, error.message)
    }
    let conversation = OpenSession(
      id: Identifier.make(), avatar: avatar.id, prompt: prompt, client: client, caller: caller, speaker: speaker,
      handle: handle, limits: limits)
    index.add(conversation)
    count("opened", "ok")
    let events = await handle.events()
    Task { await self.watch(conversation, events) }
    // The signal to stop may have come while the session was opened.
    if isDraining { await handle.close(.draining) }
    return conversation
  }

  func close(_ conversation: OpenSession) async { await conversation.handle.close(.client) }

  /// Ends what is overdue; when the server is being stopped, lets running answers end and then ends everything.
  package func run() async throws {
    let ticks = AsyncStream<Void> { continuation in
      let task = Task {
        while !Task.isCancelled {
          continuation.yield()
          try? await Task.sleep(for: .seconds(1))
        }
      }
      continuation.onTermination = { _ in task.cancel() }
    }
    for await _ in ticks.cancelOnGracefulShutdown() { await endOverdue() }
    await drain()
  }

  private func endOverdue() async {
    for conversation in index.all {
      guard let reason = conversation.overdue(limits) else { continue }
      logger.info("A session ends.", metadata: ["session": "\(conversation.id.prefix(8))", "reason": "\(reason)"])
      await conversation.handle.close(reason)
    }
  }

  private func drain() async {
    isDraining = true
    logger.info("Draining: no new sessions; \(index.all.count) are open.")
    let deadline = ContinuousClock.now + .seconds(limits.drainSeconds)
    while !index.all.isEmpty {
      let isLate = ContinuousClock.now >= deadline
      for conversation in index.all where isLate || conversation.conversationState != .speaking {
        await conversation.handle.close(.draining)
      }
      if isLate { break }
      try? await Task.sleep(for: .milliseconds(100))
    }
    // Streams end after their sessions: their last events are still on the way.
    try? await Task.sleep(for: .milliseconds(200))
  }

  private func watch(_ conversation: OpenSession, _ first: AsyncStream<SessionEvent>) async {
    let start = ContinuousClock.now
    var events = first
    var previous = SessionMetrics()
    while conversation.closed == nil {
      var isOver = true
      for await event in events {
        isOver = false
        conversation.follow(event)
        switch event {
        case .metrics(let new):
          record(new, since: previous)
          previous = new
        case .error(let error): count("errors", error.code.rawValue)
        default: break
        }
      }
      // A stream that was cut off for being slow is no end of the session; one that is empty is.
      if isOver { break }
      if conversation.closed == nil { events = await conversation.handle.events() }
    }
    index.remove(conversation.id)
    Counter(
      label: "livetalk_sessions_closed", dimensions: [("reason", conversation.closed?.rawValue ?? "failed")],
      factory: metrics
    ).increment()
    Metrics.Timer(label: "livetalk_session_length", dimensions: [], factory: metrics)
      .recordSeconds((ContinuousClock.now - start) / .seconds(1))
  }

  private func count(_ what: String, _ code: String) {
    Counter(label: "livetalk_sessions_\(what)", dimensions: [("code", code)], factory: metrics).increment()
  }

  private func record(_ new: SessionMetrics, since old: SessionMetrics) {
    func counter(_ name: String, _ amount: Int) {
      Counter(label: "livetalk_\(name)", factory: metrics).increment(by: max(0, amount))
    }
    func histogram(_ name: String, _ seconds: Double) {
      Metrics.Timer(label: "livetalk_\(name)", dimensions: [], factory: metrics).recordSeconds(seconds)
    }
    counter("blocks", new.blocks - old.blocks)
    counter("missed_deadlines", new.missedDeadlines - old.missedDeadlines)
    counter("held_frames", new.heldFrames - old.heldFrames)
    if let first = new.timeToFirstFrame, old.timeToFirstFrame == nil { histogram("first_frame", first) }
    if let latency = new.responseLatency, latency != old.responseLatency { histogram("response_latency", latency) }
  }

  /// What the metrics page says of the moment.
  func gauges() async -> [(String, Double)] {
    let load = await engine.load()
    let open = index.all
    let metrics = open.compactMap { $0.metrics }
    // Of the session that is worst off.
    let p50: Double = metrics.map { $0.blockP50 }.max() ?? 0
    let p99: Double = metrics.map { $0.blockP99 }.max() ?? 0
    let queued: Double = metrics.map { $0.queued }.min() ?? 0
    let rate: Int = metrics.map { $0.framesPerSecond }.min() ?? 0
    let steps: Int = metrics.map { $0.steps }.min() ?? 0
    return [
      ("livetalk_sessions", Double(open.count)), ("livetalk_sessions_free", Double(load.free)),
      ("livetalk_connections", Double(open.reduce(0) { $0 + $1.connections })),
      ("livetalk_engine_memory_bytes", Double(load.memory)), ("livetalk_engine_ready", load.isReady ? 1 : 0),
      ("livetalk_block_p50_seconds", p50), ("livetalk_block_p99_seconds", p99),
      ("livetalk_queued_seconds_least", queued), ("livetalk_frames_per_second_least", Double(rate)),
      ("livetalk_steps_least", Double(steps)),
    ]
  }

  /// - Throws: `APIError` that says why no session could be opened.
  func checkReady() async throws {
    guard !isDraining else { throw APIError(.draining, "The server is being stopped.", retryAfter: 30) }
    guard await engine.load().isReady else {
      throw APIError(.starting, "The server is loading its models.", retryAfter: 5)
    }
  }
}

extension APIError {
  /// - Parameter error: why the engine takes no session.
  init(_ error: AdmissionError) {
    let code: Code =
      switch error {
      case .full, .memory: .full
      case .warmingUp: .starting
      case .draining: .draining
      }
    self.init(code, error.description, retryAfter: error.retryAfter)
  }
}
