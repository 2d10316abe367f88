import AsyncHTTPClient
import Basics
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Session
import Synchronization

/// A server of an OpenAI-compatible interface, as the dialogue calls it: with its key, time limits and tries, and with errors that are
/// sentences and hold no key.
struct APIServer: Sendable {
  /// For the whole process, as their connections are worth keeping; one for each time limit of connecting.
  private static let clients = Mutex<[Double: HTTPClient]>([:])

  private static func client(connect seconds: Double) -> HTTPClient {
    clients.withLock { clients in
      if let client = clients[seconds] { return client }
      var configuration = HTTPClient.Configuration()
      // Redirects would lead where the settings do not.
      configuration.redirectConfiguration = .disallow
      configuration.connectionPool.retryConnectionEstablishment = false
      configuration.connectionPool.idleTimeout = .seconds(30)
      configuration.timeout.connect = .milliseconds(Int64(seconds * 1000))
      configuration.httpVersion = .http1Only
      let client = HTTPClient(
        eventLoopGroup: .singletonMultiThreadedEventLoopGroup, configuration: configuration)
      clients[seconds] = client
      return client
    }
  }

  let settings: ServerSettings
  let timeouts: DialogueTimeouts
  /// What messages call it: "text model", "voice".
  let role: String
  private let failed: SessionError.Code
  private let timedOut: SessionError.Code
  private let key: String?

  /// - Throws: `LiveTalkError` where the environment lacks the key.
  init(
    _ settings: ServerSettings, role: String, failed: SessionError.Code, timedOut: SessionError.Code,
    timeouts: DialogueTimeouts, environment: [String: String]
  ) throws {
    (self.settings, self.role, self.failed, self.timedOut) = (settings, role, failed, timedOut)
    self.timeouts = timeouts
    key = try Self.key(settings, role: role, environment)
  }

  /// The key that the settings name.
  static func key(_ settings: ServerSettings, role: String, _ environment: [String: String]) throws -> String? {
    guard let name = settings.key else { return nil }
    guard let key = environment[name]?.trimmingCharacters(in: .whitespacesAndNewlines), !key.isEmpty else {
      throw LiveTalkError("The environment has no \(name), which holds the key of the \(role): set it.")
    }
    guard key.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
      throw LiveTalkError("The key in \(name) holds characters that no key has: set it again.")
    }
    return key
  }

  /// The body of an answer, as it comes.
  final class Body {
    private var iterator: HTTPClientResponse.Body.AsyncIterator
    private let watchdog: Watchdog
    private let idle: Double
    let contentType: String

    fileprivate init(_ response: HTTPClientResponse, _ watchdog: Watchdog, idle: Double) {
      iterator = response.body.makeAsyncIterator()
      contentType = response.headers.first(name: "content-type")?.lowercased() ?? ""
      (self.watchdog, self.idle) = (watchdog, idle)
    }

    func next() async throws -> ByteBuffer? {
      try await watchdog.wait(idle) { try await iterator.next() }
    }

    /// All of it, or its first so many bytes.
    func collect(upTo limit: Int) async throws -> [UInt8] {
      var bytes: [UInt8] = []
      while bytes.count < limit, let part = try await next() { bytes += part.readableBytesView }
      return Array(bytes.prefix(limit))
    }
  }

  /// Sends a request and reads its answer. A connection that fails, and a server that is busy, is tried again while nothing of the
  /// answer has been read.
  ///
  /// - Parameter path: behind the server's address, such as `chat/completions`.
  /// - Throws: `SessionError`, or `CancellationError`.
  func post<Result: Sendable>(
    _ path: String, body: [UInt8], contentType: String = "application/json", accept: String,
    read: @escaping @Sendable (Body) async throws -> Result
  ) async throws -> Result {
    var request = HTTPClientRequest(url: settings.url.appendingPathComponent(path).absoluteString)
    request.method = .POST
    request.headers.add(name: "content-type", value: contentType)
    request.headers.add(name: "accept", value: accept)
    request.headers.add(name: "user-agent", value: "livetalk")
    if let key { request.headers.add(name: "authorization", value: "Bearer \(key)") }
    request.body = .bytes(body)
    var backoff = Backoff()
    while true {
      do {
        return try await attempt(request, read)
      } catch let error as Retry where backoff.tries + 1 < timeouts.attempts {
        try await backoff.wait(atLeast: error.after)
      } catch let error as Retry {
        throw error.reason
      }
    }
  }

  /// A failure behind which another try makes sense.
  private struct Retry: Error {
    let reason: SessionError
    var after = 0.0
  }

  private func attempt<Result: Sendable>(
    _ request: HTTPClientRequest, _ read: @escaping @Sendable (Body) async throws -> Result
  ) async throws -> Result {
    let client = Self.client(connect: timeouts.connect)
    do {
      return try await Watchdog.run { watchdog in
        let response: HTTPClientResponse
        do {
          response = try await watchdog.wait(timeouts.first) {
            try await client.execute(request, deadline: .distantFuture)
          }
        } catch let error where Self.isConnectionFailure(error) {
          throw Retry(reason: unreachable(Self.reason(error)))
        }
        let body = Body(response, watchdog, idle: timeouts.idle)
        guard (200..<300).contains(response.status.code) else { throw try await refusal(response, body) }
        return try await read(body)
      }
    } catch let error as Retry {
      throw error
    } catch {
      throw described(error)
    }
  }

  /// An error as the session tells it; a cancellation stays one.
  private func described(_ error: any Error) -> any Error {
    switch error {
    case let error as SessionError: return error
    case is CancellationError: return error
    case _ where Task.isCancelled: return CancellationError()
    case is Watchdog.Expired:
      return SessionError(timedOut, "The \(role) at \(settings.place) does not answer in time: see that it keeps up.")
    case is ServerSentEventParser.TooLong: return garbled()
    default:
      return SessionError(
        failed, "The \(role) at \(settings.place) broke off its answer (\(Self.reason(error))): ask again.")
    }
  }

  private func unreachable(_ reason: String) -> SessionError {
    SessionError(failed, "The \(role) at \(settings.place) cannot be reached (\(reason)): see that it runs.")
  }

  /// For an answer that is not what such a server sends.
  func garbled() -> SessionError {
    SessionError(failed, "The \(role) at \(settings.place) sends what cannot be understood: check the address.")
  }

  /// For an answer that ends too early.
  func brokenOff() -> SessionError {
    SessionError(failed, "The \(role) at \(settings.place) broke off its answer: ask again.")
  }

  /// For what the server itself reports.
  func reported(_ message: String) -> SessionError {
    SessionError(failed, "The \(role) at \(settings.place) reports: \(shown(message))")
  }

  /// Whether a server that refuses with this status may take the same request a little later.
  static func isBusy(_ status: Int) -> Bool { [429, 502, 503, 504].contains(status) }

  private func refusal(_ response: HTTPClientResponse, _ body: Body) async throws -> any Error {
    let text = String(decoding: (try? await body.collect(upTo: 4096)) ?? [], as: UTF8.self)
    let message = JSONObject(text)?.errorMessage.map { ": \(shown($0))" } ?? "."
    let status = "\(response.status.code) \(response.status.reasonPhrase)"
    let error = SessionError(failed, "The \(role) at \(settings.place) refuses the request (\(status))\(message)")
    guard Self.isBusy(Int(response.status.code)) else { return error }
    let after = response.headers.first(name: "retry-after").flatMap(Double.init) ?? 0
    // Nobody waits longer than this in a conversation.
    return after <= 3 ? Retry(reason: error, after: after) : error
  }

  /// A server's words: one line, not too long, without the key.
  static func words(_ message: String, without key: String?) -> String {
    var text = message.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    if let key { text = text.replacingOccurrences(of: key, with: "…") }
    if text.count > 200 { text = text.prefix(200) + "…" }
    return text
  }

  /// Those words as a sentence's end.
  private func shown(_ message: String) -> String {
    let text = Self.words(message, without: key)
    return text.hasSuffix(".") || text.hasSuffix("…") ? text : text + "."
  }

  private static func isConnectionFailure(_ error: any Error) -> Bool {
    switch error {
    case is NIOConnectionError, is IOError, is ChannelError: true
    case let error as HTTPClientError:
      error == .connectTimeout || error == .remoteConnectionClosed || error == .getConnectionFromPoolTimeout
    default: false
    }
  }

  /// A few words for an error of the network.
  static func reason(_ error: any Error) -> String {
    switch error {
    case let error as NIOConnectionError:
      error.connectionErrors.first.map { reason($0.error) } ?? "its name cannot be resolved"
    case let error as IOError: String(cString: strerror(error.errnoCode)).lowercased()
    case let error as HTTPClientError: error.shortDescription.lowercased()
    default: "the connection failed"
    }
  }
}

/// Waits between tries: twice as long each time, and never twice the same, so that many clients do not come back at once.
struct Backoff {
  private(set) var tries = 0

  mutating func wait(atLeast seconds: Double = 0) async throws {
    let longest = min(0.2 * Double(1 << min(tries, 5)), 3)
    tries += 1
    try await Task.sleep(for: .seconds(max(seconds, Double.random(in: longest / 2...longest))))
  }
}
