import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import Session

/// Sessions over HTTP.
struct SessionRoutes: Sendable {
  let registry: SessionRegistry
  let settings: LiveServerSettings

  var all: [Route] {
    [
      Route(.post, "/v1/sessions") { request, context in
        let wanted = try await request.json(NewSession.self, settings.limits, emptyIsAllowed: true)
        let conversation = try await registry.create(
          wanted, client: settings.client(request, context), caller: context.caller)
        return Self.created(conversation)
      },
      Route(.get, "/v1/sessions") { _, context in
        .json(List(data: registry.index.all.filter(context.caller.mayUse).map(Self.description)))
      },
      Route(.get, "/v1/sessions/{id}") { _, context in .json(Self.description(try registry.find(context))) },
      Route(.delete, "/v1/sessions/{id}") { _, context in
        await registry.close(try registry.find(context))
        return Response(status: .noContent)
      },
      Route(.post, "/v1/sessions/{id}/say") { request, context in
        let spoken = try await request.json(Words.self, settings.limits)
        return try await send(.say(spoken.text), context)
      },
      Route(.post, "/v1/sessions/{id}/text") { request, context in
        let typed = try await request.json(Words.self, settings.limits)
        return try await send(.text(typed.text), context)
      },
      Route(.post, "/v1/sessions/{id}/interrupt") { _, context in try await send(.interrupt, context) },
      Route(.post, "/v1/sessions/{id}/commands") { request, context in
        let command = try await request.json(SessionCommand.self, settings.limits)
        return try await send(command, context)
      },
      Route(.get, "/v1/sessions/{id}/events") { _, context in try await events(try registry.find(context)) },
      // Reached only by what asked for no WebSocket: `WebSocketChannel` takes the others.
      Route(.get, "/v1/sessions/{id}/stream") { request, context in
        _ = try registry.find(context)
        _ = try StreamMedia(request.uri)
        throw APIError(.upgradeRequired, "This is a WebSocket: connect to it with one, version 13.")
      },
    ]
  }

  private struct Words: Decodable {
    var text: String

    private enum Key: String, CodingKey { case text }

    init(from decoder: any Decoder) throws {
      try refuseUnknownKeys(decoder, [Key.text.rawValue])
      text = try decoder.container(keyedBy: Key.self).decode(String.self, forKey: .text)
    }
  }

  struct List<Element: Encodable>: Encodable {
    var object = "list"
    var data: [Element]
  }

  /// A session as clients see it.
  private struct Description: Encodable {
    var id: String
    var object = "session"
    var avatar: String
    var prompt: String
    var state: ConversationState
    var format: StreamFormat
    var createdAt: Int
    var expiresAt: Int
    var connections: Int
    var stream: String
    var events: String
    var metrics: SessionMetrics?

    private enum CodingKeys: String, CodingKey {
      case id, object, avatar, prompt, state, format, connections, stream, events, metrics
      case createdAt = "created_at"
      case expiresAt = "expires_at"
    }
  }

  static func created(_ conversation: OpenSession) -> Response {
    var response = Response.json(description(conversation), status: .created)
    response.headers[.location] = "/v1/sessions/\(conversation.id)"
    return response
  }

  private static func description(_ conversation: OpenSession) -> Description {
    let created = conversation.created.timeIntervalSince1970
    return Description(
      id: conversation.id, avatar: conversation.avatar, prompt: conversation.prompt,
      state: conversation.conversationState, format: conversation.handle.format, createdAt: Int(created),
      expiresAt: Int(created + conversation.seconds), connections: conversation.connections,
      stream: "/v1/sessions/\(conversation.id)/stream", events: "/v1/sessions/\(conversation.id)/events",
      metrics: conversation.metrics)
  }

  private func send(_ command: SessionCommand, _ context: LiveContext) async throws -> Response {
    try await registry.find(context).send(command)
    return Response.json(["accepted": true], status: .accepted)
  }

  /// Server-sent events: each event's JSON, named by its type. A comment every few seconds finds out whether anybody listens.
  private func events(_ conversation: OpenSession) async throws -> Response {
    let events = await conversation.handle.events()
    let interval = Duration.seconds(settings.limits.silentSeconds)
    return Response(
      status: .ok,
      headers: [.contentType: "text/event-stream", .cacheControl: "no-store", .xAccelBuffering: "no"],
      body: .init { writer in
        let lines = AsyncStream<String>(bufferingPolicy: .bufferingNewest(256)) { continuation in
          let source = Task {
            for await event in events { continuation.yield("data: \(JSON.text(event))\n\n") }
            continuation.finish()
          }
          let clock = Task {
            while !Task.isCancelled {
              try? await Task.sleep(for: interval)
              continuation.yield(":\n\n")
            }
          }
          continuation.onTermination = { _ in
            source.cancel()
            clock.cancel()
          }
        }
        try await conversation.withConnection {
          for await line in lines { try await writer.write(ByteBuffer(string: line)) }
        }
        try await writer.finish(nil)
      })
  }
}

extension SessionRegistry {
  /// The session that a request's path names.
  ///
  /// - Throws: `APIError` where there is none.
  nonisolated func find(_ context: LiveContext) throws(APIError) -> OpenSession {
    guard let conversation = index.find(context.parameters.get("id") ?? ""), context.caller.mayUse(conversation) else {
      throw APIError(.notFound, "There is no such session: it may be over.")
    }
    return conversation
  }
}

extension HTTPField.Name {
  /// Tells nginx to pass events on as they come.
  static let xAccelBuffering = HTTPField.Name("X-Accel-Buffering")!
}
