/// Who sends a request: whoever runs the server, or a user whom a signed token names.
package struct Caller: Sendable, Equatable {
  /// Owns what the request makes, and sees nothing of others; nil for who runs the server, to whom all is open.
  package var user: String?
  /// Sessions at a time; the server's own limit if nil.
  package var sessions: Int?
  /// How long a session may last at the most.
  package var sessionSeconds: Double?
  /// The one session that may be used, whosever it is, and nothing else.
  package var session: String?

  package static let administrator = Caller()

  func mayUse(ownedBy owner: String?) -> Bool { user == nil || user == owner }

  func mayUse(_ conversation: OpenSession) -> Bool {
    session.map { $0 == conversation.id } ?? mayUse(ownedBy: conversation.owner)
  }

  /// - Throws: `APIError` for what the caller's token does not cover.
  func checkPath(_ path: String) throws(APIError) {
    guard user != nil else { return }
    if path == "/metrics" { throw APIError(.forbidden, "Metrics are for who runs the server only.") }
    guard let session else { return }
    let pieces = path.split(separator: "/", maxSplits: 3)
    guard pieces.count >= 3, pieces[0] == "v1", pieces[1] == "sessions", pieces[2] == session else {
      throw APIError(.forbidden, "This token is for one session only.")
    }
  }
}
