import HTTPTypes
package import Hummingbird
import Logging
import NIOCore

/// What a request carries besides itself: its client's address, and who sends it.
package struct LiveContext: RequestContext {
  package var coreContext: CoreRequestContextStorage
  let address: String
  /// Nobody's, until `AuthorizationMiddleware` has found out.
  var caller = Caller(user: "", sessions: 0, session: "")

  package init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    address = source.channel.remoteAddress?.ipAddress ?? "local"
  }
}

extension LiveServerSettings {
  /// The address that limits for each client count by.
  func client(_ address: String, forwarded: String?) -> String {
    guard trustsProxy, let last = forwarded?.split(separator: ",").last else { return address }
    return last.trimmingWhitespace()
  }

  /// What limits for each client count by: a user of a signed token, else an address.
  func client(_ request: Request, _ context: LiveContext) -> String {
    context.caller.user.map { "user \($0)" }
      ?? client(context.address, forwarded: request.headers[.forwardedFor])
  }
}

extension Substring {
  func trimmingWhitespace() -> String {
    String(drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
  }
}

extension HTTPField.Name {
  static let forwardedFor = HTTPField.Name("X-Forwarded-For")!
}
