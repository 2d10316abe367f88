package import Foundation

/// The address of a LiveKit server, such as `wss://live.example.org`.
package struct LiveKitServer: Hashable, Sendable, CustomStringConvertible {
  /// `ws` or `wss`, without a path's last slash.
  package let url: URL

  /// - Parameter text: `http` and `https` mean `ws` and `wss`, as LiveKit's own clients have it.
  /// - Throws: `LiveKitError` that is `badAddress`.
  package init(_ text: String) throws(LiveKitError) {
    let schemes = ["ws": "ws", "wss": "wss", "http": "ws", "https": "wss"]
    guard var parts = URLComponents(string: text), let scheme = schemes[parts.scheme?.lowercased() ?? ""],
      let host = parts.host, !host.isEmpty, parts.user == nil, parts.password == nil, parts.query == nil,
      parts.fragment == nil
    else {
      throw LiveKitError(
        .badAddress, "The address of a LiveKit server is such as wss://live.example.org, not '\(text.prefix(100))'.")
    }
    (parts.scheme, parts.host) = (scheme, host.lowercased())
    if parts.port == (scheme == "wss" ? 443 : 80) { parts.port = nil }
    while parts.path.hasSuffix("/") { parts.path.removeLast() }
    guard let url = parts.url else {
      throw LiveKitError(.badAddress, "The address of a LiveKit server cannot be used: '\(text.prefix(100))'.")
    }
    self.url = url
  }

  package var description: String { url.absoluteString }

  package var isLoopback: Bool { ["127.0.0.1", "::1", "[::1]", "localhost"].contains(url.host ?? "") }

  /// Where signalling begins. Tracks of others are not wanted: only data is.
  var signalling: URL {
    url.appending(path: "rtc").appending(queryItems: [
      URLQueryItem(name: "protocol", value: "\(Self.protocolVersion)"),
      URLQueryItem(name: "auto_subscribe", value: "0"),
      URLQueryItem(name: "adaptive_stream", value: "0"), URLQueryItem(name: "sdk", value: "livetalk"),
    ])
  }

  /// Of the signalling that is spoken here: two connections, the subscriber's being the primary one.
  private static let protocolVersion = 15
}
