import Session

/// A text model that writes the answer and a voice that reads it, sentence by sentence.
struct PipelineResponder: Responder {
  let settings: TextModelSettings
  let server: APIServer
  let voice: any SentenceVoice

  var hears: Bool { false }

  func respond(to request: ResponseRequest) -> AsyncThrowingStream<SpeechEvent, any Error> {
    var messages = ChatStream.messages(settings, request.history)
    messages.append(["role": "user", "content": request.text ?? ""])
    let body = ChatStream.request(settings, messages: messages)
    return speechStream { output in
      // The model goes on writing while a sentence is spoken.
      let (sentences, writer) = AsyncThrowingStream.makeStream(of: String.self)
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          do {
            try await write(body, to: writer)
            writer.finish()
          } catch {
            writer.finish(throwing: error)
          }
        }
        try await read(sentences, output)
        try await group.waitForAll()
      }
    }
  }

  private func write(
    _ body: [String: any Sendable], to writer: AsyncThrowingStream<String, any Error>.Continuation
  ) async throws {
    let text = SentenceStream(writer)
    try await ChatStream.run(server, body) { chunk in
      if let delta = chunk["choices"][0]["delta"]["content"].text { await text.append(delta) }
    }
    await text.finish()
  }

  private func read(_ sentences: AsyncThrowingStream<String, any Error>, _ output: SpeechOutput) async throws {
    var reader = SentenceReader(voice, output)
    for try await sentence in sentences { try await reader.speak(sentence) }
    try Task.checkCancellation()
    output.yield(.done)
  }
}

/// The sentences of a text that comes in pieces.
private actor SentenceStream {
  private var spoken = SpokenText()
  private var splitter = SentenceSplitter()
  private let writer: AsyncThrowingStream<String, any Error>.Continuation

  init(_ writer: AsyncThrowingStream<String, any Error>.Continuation) { self.writer = writer }

  func append(_ delta: String) { give(splitter.append(spoken.append(delta))) }

  func finish() { give(splitter.append(spoken.finish()) + splitter.finish()) }

  private func give(_ sentences: [String]) {
    for sentence in sentences.map(SpokenText.cleaned) where !sentence.isEmpty { writer.yield(sentence) }
  }
}
