import Basics
import Foundation
import Logging
import Session
import Synchronization
import WebRTC

/// The WebRTC connections of all sessions.
///
/// A session that somebody watches has one `LiveStream`, which its frames feed and which encodes once for all who watch. A peer that
/// converses sends its microphone, and commands over its data channel; events go back there.
actor WebRTCGateway {
  /// What a connection is known by, besides its own unguessable name.
  struct Connection: Sendable {
    let id: String
    let peer: Peer
    /// Changes when the connection's candidates do: RFC 9725 compares it in `If-Match`.
    let tag: String
  }

  private struct Broadcast {
    var stream: LiveStream
    var task: Task<Void, Never>
    var watchers = 0
  }

  private let settings: PeerSettings
  private let logger: Logger
  private var connections: [String: (connection: Connection, session: String)] = [:]
  private var broadcasts: [String: Broadcast] = [:]
  static let mostPerSession = 16

  init(settings: PeerSettings, logger: Logger) { (self.settings, self.logger) = (settings, logger) }

  /// Answers an offer. That of a viewer which cannot be taken is countered by one that it can answer.
  ///
  /// - Returns: the connection and the SDP of the answer, or of the counter-offer: then the connection's peer is not answered yet.
  /// - Throws: `APIError`.
  func connect(_ conversation: OpenSession, offer: String, role: PeerRole) async throws -> (Connection, String) {
    let count = connections.values.count { $0.session == conversation.id }
    guard count < Self.mostPerSession else {
      throw APIError(.full, "This session has \(count) connections already.", retryAfter: 5)
    }
    do {
      let needsStream = role != .microphone
      let stream = needsStream ? try await watch(conversation) : nil
      do {
        let (peer, answer) = try await describe(offer, role, stream)
        let connection = Connection(id: Identifier.make(), peer: peer, tag: "\"\(Identifier.make().prefix(16))\"")
        connections[connection.id] = (connection, conversation.id)
        Task { await self.run(connection, conversation) }
        return (connection, answer)
      } catch {
        if needsStream { unwatch(conversation.id) }
        throw error
      }
    } catch let error as WebRTCError {
      throw APIError(error)
    }
  }

  private func describe(_ offer: String, _ role: PeerRole, _ stream: LiveStream?) async throws -> (Peer, String) {
    do { return try await Peer.answer(offer, role: role, stream: stream, settings: settings) } catch let error
      as WebRTCError
    {
      guard error.reason == .unsupported, role == .viewer, let stream else { throw error }
      return try await Peer.counterOffer(stream: stream, settings: settings)
    }
  }

  /// - Throws: `APIError` where the session has no such connection.
  func find(_ id: String, of session: String) throws(APIError) -> Connection {
    guard let found = connections[id], found.session == session else {
      throw APIError(.notFound, "There is no such connection: it may be over.")
    }
    return found.connection
  }

  func close(_ connection: Connection) async { await connection.peer.close() }

  // MARK: one connection

  private func run(_ connection: Connection, _ conversation: OpenSession) async {
    let peer = connection.peer
    await conversation.withConnection {
      await withTaskGroup(of: Void.self) { group in
        group.addTask {
          for await samples in peer.microphone {
            try? await conversation.send(.appendUserAudio(PCM(samples, rate: Peer.microphoneRate)))
          }
        }
        if peer.offer.role == .conversation {
          group.addTask { await Self.tell(peer, conversation) }
        }
        // This one ends when the peer does.
        for await event in peer.events {
          switch event {
          case .text(let text): await Self.take(text, peer, conversation)
          case .lost(let reason):
            self.logger.info("\(reason)", metadata: ["session": "\(conversation.id.prefix(8))"])
          case .connected, .channelOpened, .data: break
          }
        }
        group.cancelAll()
      }
    }
    await peer.close()
    connections[connection.id] = nil
    if peer.offer.role != .microphone { unwatch(conversation.id) }
  }

  private static func tell(_ peer: Peer, _ conversation: OpenSession) async {
    for await event in await conversation.handle.events() { peer.send(JSON.text(event)) }
    // The session is over, and its connections with it.
    if !Task.isCancelled { await peer.close() }
  }

  private static func take(_ text: String, _ peer: Peer, _ conversation: OpenSession) async {
    guard text.utf8.count <= StreamLimits.messageBytes else { return }
    do {
      let command = try JSON.read(SessionCommand.self, text.utf8)
      // What was played is told by the stream itself.
      if case .played = command { return }
      try await conversation.send(command)
    } catch { peer.send(JSON.text(StreamMistake(error))) }
  }

  // MARK: what is watched

  /// Lets somebody else than a connection of its own watch a session.
  ///
  /// - Throws: `WebRTCError` without GStreamer, before `body`.
  func withStream(of conversation: OpenSession, _ body: @Sendable (LiveStream) async throws -> Void) async throws {
    let stream = try await watch(conversation)
    defer { unwatch(conversation.id) }
    try await body(stream)
  }

  /// The stream of a session, made for its first watcher.
  private func watch(_ conversation: OpenSession) async throws -> LiveStream {
    if broadcasts[conversation.id] == nil {
      let format = conversation.handle.format
      let handle = conversation.handle
      let (played, report) = AsyncStream.makeStream(of: Int.self, bufferingPolicy: .bufferingNewest(1))
      let stream = try LiveStream(
        .init(
          width: format.size.width, height: format.size.height, framesPerSecond: format.framesPerSecond,
          sampleRate: format.sampleRate)
      ) { report.yield($0) }
      let task = Task {
        await withTaskGroup(of: Void.self) { group in
          group.addTask { for await sample in played { await handle.send(.played(sample: sample)) } }
          group.addTask {
            for await event in await handle.events() {
              if case .playbackCleared(let sample) = event { stream.clear(from: sample) }
            }
          }
          for await frame in await handle.frames() {
            stream.append(pixels: frame.picture.bytes, samples: frame.samples, at: frame.sample)
          }
          group.cancelAll()
        }
        stream.close()
      }
      broadcasts[conversation.id] = Broadcast(stream: stream, task: task)
    }
    broadcasts[conversation.id]?.watchers += 1
    guard let stream = broadcasts[conversation.id]?.stream else { throw APIError(.internalError, "The stream ended.") }
    return stream
  }

  private func unwatch(_ session: String) {
    broadcasts[session]?.watchers -= 1
    guard let broadcast = broadcasts[session], broadcast.watchers <= 0 else { return }
    broadcasts[session] = nil
    broadcast.task.cancel()
  }
}

extension APIError {
  init(_ error: WebRTCError) {
    let code: Code =
      switch error.reason {
      case .malformed: .badRequest
      case .unsupported: .unprocessable
      case .failed: .internalError
      case .unavailable: .notSupported
      }
    self.init(code, error.description)
  }
}
