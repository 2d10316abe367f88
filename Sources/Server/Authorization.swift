import HTTPTypes
import Hummingbird
import NIOCore

/// Decides from a request's head whether it may be answered. Everything needs a token but what is named as open: the server's own, or
/// one that is signed.
package struct Authorization: Sendable {
  private let token: [UInt8]?
  private let verifier: TokenVerifier?
  /// Beginning of the WebSocket subprotocol that carries a token, since browsers let a page set no headers there.
  static let subprotocolPrefix = "bearer."
  static let subprotocol = "livetalk.v1"

  init(_ settings: LiveServerSettings) {
    (token, verifier) = (settings.token.map { Array($0.utf8) }, settings.verifier)
  }

  private var isOff: Bool { token == nil && verifier == nil }

  /// What needs no token: health checks, and the files of the page, which hold nothing of anybody's.
  static func isOpen(_ path: String) -> Bool {
    path == "/healthz" || path == "/readyz" || WebPage.names.contains(path)
  }

  /// - Parameters:
  ///   - protocols: the subprotocols that a WebSocket offers.
  ///   - host: whom the client believes to speak to; the request's authority.
  /// - Returns: who asks.
  /// - Throws: `APIError`.
  @discardableResult
  func check(path: String, authorization: String?, protocols: [String], host: String?, origin: String?) throws(APIError)
    -> Caller
  {
    try checkOrigin(origin, host: host)
    guard !Self.isOpen(path), !isOff else { return .administrator }
    var offered: [Substring] = []
    if let authorization, authorization.lowercased().hasPrefix("bearer ") { offered.append(authorization.dropFirst(7)) }
    for name in protocols where name.hasPrefix(Self.subprotocolPrefix) {
      offered.append(name.dropFirst(Self.subprotocolPrefix.count))
    }
    if let token, offered.contains(where: { isSame(Array($0.utf8), token) }) { return .administrator }
    guard let verifier, let signed = offered.first(where: { token == nil || $0.utf8.count(where: { $0 == 0x2E }) == 2 })
    else { throw APIError(.unauthorized, "This needs the server's token: send 'Authorization: Bearer TOKEN'.") }
    let caller = try verifier.check(signed)
    try caller.checkPath(path)
    return caller
  }

  /// Pages of other sites may not use this server through a visitor's browser. Without a token, nor may a name that
  /// somebody has pointed at this machine (DNS rebinding).
  private func checkOrigin(_ origin: String?, host: String?) throws(APIError) {
    if isOff, let host, !LiveServerSettings.loopbackNames.contains(Self.name(host)) {
      throw APIError(.forbiddenOrigin, "Without a token this server answers only to 127.0.0.1 and localhost.")
    }
    guard let origin else { return }
    let site = origin.split(separator: "/", omittingEmptySubsequences: true).last.map(String.init) ?? ""
    guard let host, site.lowercased() == host.lowercased() else {
      throw APIError(.forbiddenOrigin, "Pages of other sites may not use this server.")
    }
  }

  /// The name in an authority: without the port, and without the brackets of an IPv6 address.
  private static func name(_ authority: String) -> String {
    if authority.hasPrefix("[") { return String(authority.dropFirst().prefix { $0 != "]" }) }
    return String(authority.prefix { $0 != ":" }).lowercased()
  }

  /// Takes as long for a wrong token as for the right one.
  private func isSame(_ one: [UInt8], _ other: [UInt8]) -> Bool {
    var difference = one.count == other.count ? 0 as UInt8 : 1
    for (index, byte) in other.enumerated() { difference |= byte ^ (index < one.count ? one[index] : ~byte) }
    return difference == 0
  }
}

/// Refuses what may not be answered, before anything of it is read.
struct AuthorizationMiddleware: RouterMiddleware {
  let authorization: Authorization

  func handle(
    _ request: Request, context: LiveContext, next: (Request, LiveContext) async throws -> Response
  ) async throws -> Response {
    var context = context
    context.caller = try authorization.check(
      path: request.uri.path, authorization: request.headers[.authorization], protocols: [],
      host: request.head.authority, origin: request.headers[.origin])
    return try await next(request, context)
  }
}
