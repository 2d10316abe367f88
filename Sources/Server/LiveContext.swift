import HTTPTypes
package import Hummingbird
import Logging
import NIOCore

/// What a request carries besides itself: its client's address.
package struct LiveContext: RequestContext {
  package var coreContext: CoreRequestContextStorage
  let address: String

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
}

extension Substring {
  func trimmingWhitespace() -> String {
    String(drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
  }
}

extension HTTPField.Name {
  static let forwardedFor = HTTPField.Name("X-Forwarded-For")!
}
