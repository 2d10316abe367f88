import Hummingbird
import LiveKit
import Logging
import Session
import WebRTC

/// An avatar for an agent in a LiveKit room: a session that this server takes there itself.
struct LiveKitRoutes: Sendable {
  let gateway: WebRTCGateway
  let registry: SessionRegistry
  let settings: LiveServerSettings
  let logger: Logger

  var all: [Route] {
    [
      Route(.post, "/v1/livekit") { request, context in
        guard let usual = settings.liveKit.first else {
          throw APIError(
            .notSupported, "This server may speak to no LiveKit server: start it with --livekit wss://HOST.")
        }
        let wanted = try await request.json(NewCall.self, settings.limits)
        let server = try wanted.url.map(permitted) ?? usual
        let conversation = try await registry.create(
          wanted.session, client: settings.client(request, context), caller: context.caller, speaker: .agent)
        do { try await start(conversation, wanted, server) } catch {
          await registry.close(conversation)
          switch error {
          case let error as WebRTCError: throw APIError(error)
          case let error as LiveKitError: throw APIError(error)
          default: throw error
          }
        }
        return SessionRoutes.created(conversation)
      }
    ]
  }

  /// What a call is started with.
  private struct NewCall: Decodable {
    var url: String?
    var token: String
    var agent: String?
    var session: NewSession

    private enum Key: String, CodingKey, CaseIterable { case url, token, agent, avatar, prompt, seed }

    init(from decoder: any Decoder) throws {
      try refuseUnknownKeys(decoder, Key.allCases.map(\.rawValue))
      let fields = try decoder.container(keyedBy: Key.self)
      url = try fields.decodeIfPresent(String.self, forKey: .url)
      token = try fields.decode(String.self, forKey: .token)
      agent = try fields.decodeIfPresent(String.self, forKey: .agent)
      session = NewSession(
        avatar: try fields.decodeIfPresent(String.self, forKey: .avatar),
        prompt: try fields.decodeIfPresent(String.self, forKey: .prompt),
        seed: try fields.decodeIfPresent(UInt64.self, forKey: .seed))
      // It becomes a header.
      guard !token.isEmpty, token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
        throw APIError(.badRequest, "The token is none of LiveKit's: it has letters, digits and signs of ASCII only.")
      }
    }
  }

  private func permitted(_ url: String) throws(APIError) -> LiveKitServer {
    let server: LiveKitServer
    do { server = try LiveKitServer(url) } catch { throw APIError(error) }
    guard settings.liveKit.contains(server) else {
      throw APIError(.forbidden, "This server may not speak to that LiveKit server: start it with --livekit \(server).")
    }
    return server
  }

  /// Joins the room; the call then goes on by itself.
  private func start(_ conversation: OpenSession, _ wanted: NewCall, _ server: LiveKitServer) async throws {
    var peers = settings.webRTC
    peers.isLoopbackOnly = server.isLoopback
    let logger = logger
    let id = conversation.id.prefix(8)
    let (joined, join) = AsyncThrowingStream.makeStream(of: Void.self)
    Task { [peers] in
      await conversation.withConnection {
        do {
          try await gateway.withStream(of: conversation) { stream in
            let call = try await AvatarCall.join(
              server, token: wanted.token, agent: wanted.agent, session: conversation.handle, peers: peers
            ) { logger.info("\($0)", metadata: ["session": "\(id)"]) }
            join.finish()
            await call.run(stream)
          }
        } catch { join.finish(throwing: error) }
      }
    }
    for try await _ in joined {}
  }
}

extension APIError {
  init(_ error: LiveKitError) {
    let code: Code =
      switch error.reason {
      case .badAddress: .badRequest
      case .refused: .unprocessable
      case .unreachable, .ended: .upstreamFailed
      }
    self.init(code, error.description)
  }
}
