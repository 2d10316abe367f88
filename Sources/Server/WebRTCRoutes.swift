import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import WebRTC

/// WebRTC's signalling over HTTP: `webrtc` (both ways, with a data channel), and strict WHIP (RFC 9725) and WHEP beside it.
///
/// An offer is posted; the answer comes with all its candidates, and `Location` names the connection. Candidates of the client may
/// follow by PATCH; DELETE ends the connection. A viewer whose offer cannot be taken gets one itself (406), which it answers by PATCH.
struct WebRTCRoutes: Sendable {
  let gateway: WebRTCGateway
  let registry: SessionRegistry
  let settings: LiveServerSettings

  private static let kinds: [(name: String, role: PeerRole)] = [
    ("webrtc", .conversation), ("whip", .microphone), ("whep", .viewer),
  ]
  private static let offerBytes = 65_536

  var all: [Route] { Self.kinds.flatMap { routes($0.name, $0.role) } }

  private func routes(_ name: String, _ role: PeerRole) -> [Route] {
    let path = "/v1/sessions/{id}/\(name)"
    return [
      Route(.options, path) { _, context in
        _ = try registry.find(context)
        return Response(status: .ok, headers: [.acceptPost: "application/sdp"])
      },
      // There is nothing to be seen here; players ask so whether this is an endpoint of WHEP.
      Route(.get, path) { _, context in
        _ = try registry.find(context)
        return Response(status: .noContent)
      },
      Route(.head, path) { _, context in
        _ = try registry.find(context)
        return Response(status: .ok, headers: [.contentType: "application/sdp", .contentLength: "0"])
      },
      Route(.post, path) { request, context in
        let conversation = try registry.find(context)
        let offer = try await text(request, "application/sdp")
        let (connection, answer) = try await gateway.connect(conversation, offer: offer, role: role)
        var headers: HTTPFields = [
          .contentType: "application/sdp", .cacheControl: "no-store", .eTag: connection.tag,
          .location: "/v1/sessions/\(conversation.id)/\(name)/\(connection.id)",
        ]
        for link in settings.webRTC.iceServerLinks { headers.append(HTTPField(name: .link, value: link)) }
        return Response(
          status: connection.peer.isAnswered ? .created : .notAcceptable, headers: headers,
          body: .init(byteBuffer: ByteBuffer(string: answer)))
      },
      Route(.get, path + "/{connection}") { _, context in
        _ = try await connection(context)
        return Response(status: .noContent)
      },
      Route(.patch, path + "/{connection}") { request, context in try await patch(request, context) },
      Route(.delete, path + "/{connection}") { _, context in
        await gateway.close(try await connection(context))
        return Response(status: .ok)
      },
    ]
  }

  private func patch(_ request: Request, _ context: LiveContext) async throws -> Response {
    let connection = try await connection(context)
    guard connection.peer.isAnswered else {
      let answer = try await text(request, "application/sdp")
      do { try await connection.peer.accept(answer) } catch let error as WebRTCError { throw APIError(error) }
      return Response(status: .noContent)
    }
    let fragment = try await text(request, "application/trickle-ice-sdpfrag")
    guard let match = request.headers[.ifMatch] else {
      throw APIError(.preconditionRequired, "Send the connection's ETag as If-Match.")
    }
    guard match == connection.tag || match == "*" else {
      throw APIError(.preconditionFailed, "If-Match is not the connection's ETag.")
    }
    do { try connection.peer.add(fragment: fragment) } catch let error as WebRTCError { throw APIError(error) }
    return Response(status: .noContent)
  }

  private func connection(_ context: LiveContext) async throws -> WebRTCGateway.Connection {
    try await gateway.find(context.parameters.get("connection") ?? "", of: try registry.find(context).id)
  }

  private func text(_ request: Request, _ type: String) async throws -> String {
    let given = request.headers[.contentType]?.split(separator: ";").first?.trimmingWhitespace().lowercased()
    guard given == type else { throw APIError(.unsupportedMediaType, "The body should be of the type \(type).") }
    guard let text = String(validating: try await request.bytes(Self.offerBytes), as: UTF8.self) else {
      throw APIError(.badRequest, "The body is not UTF-8.")
    }
    return text
  }
}

extension PeerSettings {
  /// The servers that clients may use too, as RFC 9725 (4.6) has them in `Link`.
  var iceServerLinks: [String] {
    ([stunServer].compactMap { $0 } + turnServers).compactMap { server in
      guard let url = URLComponents(string: server), let scheme = url.scheme, let host = url.percentEncodedHost else {
        return nil
      }
      let port = url.port.map { ":\($0)" } ?? ""
      var link = "<\(scheme):\(host)\(port)\(url.percentEncodedQuery.map { "?\($0)" } ?? "")>; rel=\"ice-server\""
      if let user = url.user, let password = url.password {
        func quoted(_ text: String) -> String {
          "\"\(text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\""
        }
        link += "; username=\(quoted(user)); credential=\(quoted(password)); credential-type=\"password\""
      }
      return link
    }
  }
}

extension HTTPField.Name {
  static let link = HTTPField.Name("Link")!
  static let acceptPost = HTTPField.Name("Accept-Post")!
}
