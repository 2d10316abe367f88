package import HTTPTypes
import Hummingbird
import Logging
import Metrics
import NIOCore

/// One route of the API. The table of all of them is what the router, the errors for wrong methods, and the test of the
/// OpenAPI document read.
package struct Route: Sendable {
  package let method: HTTPRequest.Method
  /// As OpenAPI writes it: `/v1/sessions/{id}`.
  package let path: String
  let respond: @Sendable (Request, LiveContext) async throws -> Response

  init(
    _ method: HTTPRequest.Method, _ path: String,
    _ respond: @escaping @Sendable (Request, LiveContext) async throws -> Response
  ) {
    (self.method, self.path, self.respond) = (method, path, respond)
  }
}

extension Router where Context == LiveContext {
  func add(_ routes: [Route]) {
    for route in routes { on(RouterPath(route.path), method: route.method, use: route.respond) }
  }
}

/// Answers in JSON what went wrong, whatever it was.
struct ErrorMiddleware: RouterMiddleware {
  let routes: [Route]

  func handle(
    _ request: Request, context: LiveContext, next: (Request, LiveContext) async throws -> Response
  ) async throws -> Response {
    var response: Response
    do {
      response = try await next(request, context)
    } catch let error as APIError {
      response = error.response
    } catch let error as HTTPError where error.status == .notFound {
      response = notFound(request)
    } catch let error as any HTTPResponseError {
      response = Self.translate(error).response
    } catch is CancellationError {
      response = APIError(.draining, "The server is being stopped.", retryAfter: 30).response
    } catch {
      // Its text may name paths: it is for the log.
      context.logger.error("A request failed: \(error)", metadata: ["path": "\(request.uri.path)"])
      response = APIError(.internalError, "The server made a mistake; its log says more.").response
    }
    response.headers[.xContentTypeOptions] = "nosniff"
    if response.headers[.contentSecurityPolicy] == nil {
      response.headers[.contentSecurityPolicy] = "default-src 'none'"
    }
    return response
  }

  private func notFound(_ request: Request) -> Response {
    let methods = routes.filter { $0.matches(request.uri.path) }.map(\.method.rawValue)
    guard !methods.isEmpty else {
      return APIError(.notFound, "There is nothing at this path; /openapi.json lists what there is.").response
    }
    var response = APIError(
      .methodNotAllowed,
      "This path takes \(methods.joined(separator: ", ")), not \(request.method.rawValue.prefix(20))."
    )
    .response
    response.headers[.allow] = methods.joined(separator: ", ")
    return response
  }

  private static func translate(_ error: any HTTPResponseError) -> APIError {
    switch error.status {
    case .contentTooLarge: APIError(.tooLarge, "The body is too large.")
    case .unsupportedMediaType: APIError(.unsupportedMediaType, "The body is of a type that is not read here.")
    case let status where status.kind == .clientError: APIError(.badRequest, "The request cannot be understood.")
    default: APIError(.internalError, "The server made a mistake; its log says more.")
    }
  }
}

extension Route {
  func matches(_ path: String) -> Bool {
    let (pattern, pieces) = (self.path.split(separator: "/"), path.split(separator: "/"))
    return pattern.count == pieces.count && zip(pattern, pieces).allSatisfy { $0.hasPrefix("{") || $0 == $1 }
  }
}

extension Request {
  /// The whole body, at most `most` bytes.
  func bytes(_ most: Int) async throws -> [UInt8] {
    if let claimed = headers[.contentLength].flatMap({ Int($0) }), claimed > most { throw Self.tooLarge(most) }
    do { return Array(buffer: try await body.collect(upTo: most)) } catch is NIOTooManyBytesError {
      throw Self.tooLarge(most)
    }
  }

  private static func tooLarge(_ most: Int) -> APIError {
    APIError(
      .tooLarge,
      "The body is too large: at most \(most >= 1 << 20 ? "\(most >> 20) MiB" : "\(most >> 10) KiB") are read here.")
  }

  /// The body as JSON; an empty one as `{}` where that is allowed.
  func json<Value: Decodable>(_ type: Value.Type, _ limits: ServerLimits, emptyIsAllowed: Bool = false) async throws
    -> Value
  {
    let bytes = try await bytes(limits.jsonBytes)
    if bytes.isEmpty, emptyIsAllowed { return try JSON.read(type, Array("{}".utf8)) }
    if let kind = headers[.contentType], !kind.lowercased().contains("json") {
      throw APIError(.unsupportedMediaType, "The body should be JSON: set Content-Type to application/json.")
    }
    return try JSON.read(type, bytes)
  }
}

/// Counts requests and how long they took. Methods and paths that are none of ours share one label: what a client makes up must not
/// grow the page of metrics.
struct RequestMetrics: RouterMiddleware {
  let metrics: any MetricsFactory
  private static let methods: Set<HTTPRequest.Method> = [.get, .post, .delete, .put, .patch, .options, .head]

  func handle(
    _ request: Request, context: LiveContext, next: (Request, LiveContext) async throws -> Response
  ) async throws -> Response {
    let start = ContinuousClock.now
    let response = try await next(request, context)
    let labels = [
      ("route", context.endpointPath ?? "none"),
      ("method", Self.methods.contains(request.method) ? request.method.rawValue : "other"),
      ("status", "\(response.status.code)"),
    ]
    Counter(label: "livetalk_http_requests", dimensions: labels, factory: metrics).increment()
    Metrics.Timer(label: "livetalk_http_request", dimensions: [labels[0]], factory: metrics)
      .recordSeconds((ContinuousClock.now - start) / .seconds(1))
    return response
  }
}
