import Basics
package import LiveKit
package import WebRTC

/// Where the server listens, who may use it, and what bounds every request.
package struct LiveServerSettings: Sendable {
  package var host = "127.0.0.1"
  package var port = 8080
  /// What every request but health checks and the page must carry as its bearer token, if it carries none that is signed. Nil without a
  /// `verifier`: only loopback is served.
  package var token: String?
  /// Checks signed tokens (JWT).
  package var verifier: TokenVerifier?
  /// Whether a reverse proxy sets `X-Forwarded-For`: the client's address is then its last entry.
  package var trustsProxy = false
  /// Read in place of the page that is built in; for work on the page.
  package var webFolder: String?
  package var limits = ServerLimits()
  package var webRTC = PeerSettings()
  /// Servers in whose rooms avatars may be: no request leads anywhere else. The first is the usual one.
  package var liveKit: [LiveKitServer] = []

  package init() {}

  /// - Throws: what is wrong with the settings.
  package func check() throws(LiveServerSettingsError) {
    guard (0...65_535).contains(port) else {
      throw LiveServerSettingsError("A port is a number from 0 to 65535, not \(port).")
    }
    if let token, token.utf8.count < 16 {
      throw LiveServerSettingsError(
        "The token is too short: give at least 16 characters, such as those of `openssl rand -hex 16`.")
    }
    if let token, !token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) {
      throw LiveServerSettingsError("The token may hold letters, digits and signs of ASCII only, and no spaces.")
    }
    guard isProtected || isLoopback else {
      throw LiveServerSettingsError(
        "Without a token only this machine may be served: give LIVETALK_TOKEN, --token or --jwks, or --host 127.0.0.1 in place of \(host)."
      )
    }
  }

  /// Whether requests need a token.
  package var isProtected: Bool { token != nil || verifier != nil }

  var isLoopback: Bool { Self.loopbackNames.contains(host) }

  static let loopbackNames: Set<String> = ["127.0.0.1", "::1", "localhost"]
}

/// A mistake in the settings, in one sentence.
package struct LiveServerSettingsError: SentenceError, Equatable {
  package let description: String

  init(_ description: String) { self.description = description }
}

/// What one client may send, open and keep.
package struct ServerLimits: Sendable {
  /// Bytes of all header fields of a request.
  package var headerBytes = 16_384
  package var headerFields = 100
  /// Bytes of a JSON body or message.
  package var jsonBytes = 65_536
  /// Bytes of an uploaded picture.
  package var pictureBytes = 10 << 20
  /// Pixels of an uploaded picture.
  package var picturePixels = 25_000_000
  /// Bytes of an uploaded recording.
  package var soundBytes = 64 << 20
  /// Pictures that clients have left here; the oldest goes when another comes.
  package var uploads = 64
  /// Sessions that one address may have open.
  package var sessionsPerClient = 4
  /// Commands that a session takes at once, and those it takes a second.
  package var commandBurst = 40.0
  package var commandsPerSecond = 20.0
  /// Seconds of microphone sound that a session takes at once; it is refilled at twice the speed of time.
  package var soundBurst = 5.0
  package var sessionSeconds = 3_600.0
  /// Without any client connected.
  package var abandonedSeconds = 30.0
  /// Without a word from the user or the avatar.
  package var idleSeconds = 600.0
  /// A connection that sends no request, or not the rest of one.
  package var requestSeconds: Int64 = 20
  /// A WebSocket that answers no ping, or takes no bytes.
  package var silentSeconds = 5.0
  /// Running sessions get this long to end after a signal to stop.
  package var drainSeconds = 20.0
  /// Jobs that wait, and those kept when done.
  package var queuedJobs = 16
  package var keptJobs = 64

  package init() {}
}
