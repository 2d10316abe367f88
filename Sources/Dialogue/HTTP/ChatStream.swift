import NIOCore
import Session

/// One streamed `/v1/chat/completions`.
enum ChatStream {
  /// Sends the request and gives every chunk, in order.
  ///
  /// - Throws: `SessionError` where the server reports an error, sends what is no chunk, or stops before its answer is whole.
  static func run(
    _ server: APIServer, _ request: [String: any Sendable], chunk: @escaping @Sendable (JSONObject) async throws -> Void
  ) async throws {
    let body = Array(JSONObject.encoded(request).utf8)
    try await server.post("chat/completions", body: body, accept: "text/event-stream") { answer in
      guard answer.contentType.hasPrefix("text/event-stream") else {
        // Servers that do not stream answer with one object, or with a page.
        throw server.garbled()
      }
      var parser = ServerSentEventParser()
      var isWhole = false
      while let bytes = try await answer.next() {
        for event in try parser.append(bytes.readableBytesView) {
          if event.data == "[DONE]" { return }
          guard let object = JSONObject(event.data), object.isObject else { throw server.garbled() }
          if object["error"].exists {
            throw server.reported(object.errorMessage ?? "an error without a message")
          }
          // Text and sound may each have a last chunk of their own, so the stream is read to its end.
          if object["choices"][0]["finish_reason"].exists { isWhole = true }
          try await chunk(object)
        }
      }
      guard isWhole else { throw server.brokenOff() }
    }
  }

  /// The turns of a conversation as messages.
  static func messages(_ settings: TextModelSettings, _ history: [Turn]) -> [[String: any Sendable]] {
    let instructions = settings.instructions ?? standardInstructions
    return [["role": "system", "content": instructions]]
      + history.suffix(settings.memory).map { turn in
        let text = turn.text.isEmpty ? "(inaudible)" : turn.text
        // The model is to know that not all it said was heard.
        return [
          "role": turn.role == .user ? "user" : "assistant",
          "content": turn.role == .avatar && turn.wasInterrupted ? text + " …" : text,
        ]
      }
  }

  /// The fields of a request that all models share.
  static func request(_ settings: TextModelSettings, messages: [[String: any Sendable]]) -> [String: any Sendable] {
    var request: [String: any Sendable] = ["model": settings.server.model, "stream": true, "messages": messages]
    if let temperature = settings.temperature { request["temperature"] = temperature }
    if let maxTokens = settings.maxTokens { request["max_tokens"] = maxTokens }
    return request
  }

  static let standardInstructions =
    "You are talking with a person face to face. Answer in one to three short spoken sentences, without lists, headings or emoji."
}
