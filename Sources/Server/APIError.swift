import Basics
import Foundation
package import HTTPTypes
package import Hummingbird
import NIOCore

/// What a client is told when a request fails: a stable code for programs, one sentence for people.
package struct APIError: Error, Equatable, Sendable {
  /// The stable codes. Each belongs to one status of HTTP.
  package enum Code: String, CaseIterable, Sendable {
    case badRequest = "bad_request"
    case invalidJSON = "invalid_json"
    case invalidPicture = "invalid_picture"
    case invalidSound = "invalid_sound"
    case unauthorized
    case forbidden
    case forbiddenOrigin = "forbidden_origin"
    case notFound = "not_found"
    case methodNotAllowed = "method_not_allowed"
    case conflict
    case preconditionFailed = "precondition_failed"
    case preconditionRequired = "precondition_required"
    case tooLarge = "too_large"
    case unsupportedMediaType = "unsupported_media_type"
    case unprocessable
    case upgradeRequired = "upgrade_required"
    case rateLimited = "rate_limited"
    case tooManySessions = "too_many_sessions"
    case internalError = "internal_error"
    case notSupported = "not_supported"
    /// Another server, which this one speaks to, cannot be reached or refuses.
    case upstreamFailed = "upstream_failed"
    case full
    case starting
    case draining
  }

  package let code: Code
  package let message: String
  /// Seconds after which another attempt is worth while.
  package var retryAfter: Int?

  package init(_ code: Code, _ message: String, retryAfter: Int? = nil) {
    self.code = code
    self.message = message
    self.retryAfter = retryAfter
  }

  /// `{"error": {"code": …, "message": …}}`
  package var json: String {
    struct Body: Encodable {
      struct Fault: Encodable { var code, message: String }
      var error: Fault
    }
    return JSON.text(Body(error: .init(code: code.rawValue, message: message)))
  }
}

extension APIError: HTTPResponseError {
  package var status: HTTPResponse.Status {
    switch code {
    case .badRequest, .invalidJSON, .invalidPicture, .invalidSound: .badRequest
    case .unauthorized: .unauthorized
    case .forbidden, .forbiddenOrigin: .forbidden
    case .notFound: .notFound
    case .methodNotAllowed: .methodNotAllowed
    case .conflict: .conflict
    case .preconditionFailed: .preconditionFailed
    case .preconditionRequired: .preconditionRequired
    case .unprocessable: .unprocessableContent
    case .tooLarge: .contentTooLarge
    case .unsupportedMediaType: .unsupportedMediaType
    case .upgradeRequired: .upgradeRequired
    case .rateLimited, .tooManySessions: .tooManyRequests
    case .internalError: .internalServerError
    case .notSupported: .notImplemented
    case .upstreamFailed: .badGateway
    case .full, .starting, .draining: .serviceUnavailable
    }
  }

  package func response(from request: Request, context: some RequestContext) -> Response { response }

  var response: Response {
    var response = Response.json(json, status: status)
    if let retryAfter { response.headers[.retryAfter] = "\(retryAfter)" }
    if code == .unauthorized { response.headers[.wwwAuthenticate] = "Bearer" }
    if code == .upgradeRequired { response.headers[.upgrade] = "websocket" }
    return response
  }
}

/// JSON as this server writes and reads it.
enum JSON {
  /// What is written here are our own value types, which always encode.
  static func text(_ value: some Encodable) -> String { (try? value.jsonText()) ?? "{}" }

  /// - Throws: `APIError` that names the first field that is wrong.
  static func read<Value: Decodable>(_ type: Value.Type, _ bytes: some Sequence<UInt8>) throws(APIError) -> Value {
    do { return try JSONDecoder().decode(type, from: Data(bytes)) } catch let error as APIError {
      throw error
    } catch let error as DecodingError {
      throw APIError(.invalidJSON, sentence(error))
    } catch { throw APIError(.invalidJSON, "The JSON cannot be read.") }
  }

  private static func sentence(_ error: DecodingError) -> String {
    func place(_ context: DecodingError.Context) -> String {
      context.codingPath.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".")
    }
    switch error {
    case .keyNotFound(let key, _): return "The JSON lacks the field '\(key.stringValue)'."
    case .typeMismatch(_, let context), .valueNotFound(_, let context):
      let name = place(context)
      return name.isEmpty ? "The JSON is not an object." : "The field '\(name)' of the JSON is of the wrong type."
    case .dataCorrupted(let context):
      let name = place(context)
      return name.isEmpty
        ? "The body is not JSON." : "The field '\(name)' of the JSON is wrong: \(context.debugDescription)"
    @unknown default: return "The JSON cannot be read."
    }
  }
}

extension Response {
  static func json(_ text: String, status: HTTPResponse.Status = .ok) -> Response {
    Response(
      status: status, headers: [.contentType: "application/json; charset=utf-8", .cacheControl: "no-store"],
      body: .init(byteBuffer: ByteBuffer(string: text)))
  }

  static func json(_ value: some Encodable, status: HTTPResponse.Status = .ok) -> Response {
    json(JSON.text(value), status: status)
  }
}
