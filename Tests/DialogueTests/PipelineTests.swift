import Foundation
import NIOHTTP1
import Session
import Synchronization
import Testing

@testable import Dialogue

extension NetworkTests {
  /// A text model, a voice and a speech recognition on one server.
  @Suite struct PipelineTests {
    static func chunk(_ text: String, finish: String? = nil) -> String {
      event([
        "object": "chat.completion.chunk",
        "choices": [["index": 0, "delta": ["content": text], "finish_reason": finish ?? NSNull()] as [String: Any]],
      ])
    }

    static let sound = tone(0.2, rate: 24_000)
    static let words = ["<think>hm</think>", "Hel", "lo **the", "re**. How ", "are you", "?"]

    static func json(_ port: Int, more: String = "", voice: String = "") -> String {
      let server = #""url": "http://127.0.0.1:\#(port)/v1/""#
      return """
        {"kind": "pipeline", "text": {\(server), "model": "text"\(more)},
         "voice": {"kind": "server", \(server), "model": "tts", "name": "anna"\(voice)},
         "recognition": {\(server), "model": "asr", "language": "en"}}
        """
    }

    /// Answers as all three servers do; `size` is that of the pieces.
    static func server(
      by size: Int = .max, every pause: Duration? = nil,
      chat: FakeServer.HTTPHandler? = nil, speech: FakeServer.HTTPHandler? = nil
    ) async throws -> FakeServer {
      try await FakeServer(http: { request, answer in
        switch request.head.uri {
        case "/v1/chat/completions":
          if let chat { return try await chat(request, answer) }
          try await answer.head()
          let text = words.map { chunk($0) }.joined() + chunk("", finish: "stop") + "data: [DONE]\n\n"
          try await answer.write(text.utf8, by: size, every: pause)
          try await answer.finish()
        case "/v1/audio/speech":
          if let speech { return try await speech(request, answer) }
          try await answer.head(type: "audio/pcm")
          try await answer.write(sound.int16, by: size == .max ? size : size + 300)
          try await answer.finish()
        case "/v1/audio/transcriptions": try await answer.answer(#"{"text": " How are you? "}"#)
        default: try await answer.answer(404, #"{"error": {"message": "no such page"}}"#)
        }
      })
    }

    @Test(arguments: [1, 3, 17, 1000])
    func `text becomes speech sentence by sentence, however it is cut`(size: Int) async throws {
      let server = try await Self.server(by: size)
      let answer = await Answer(try dialogue(Self.json(server.port)).responder().respond(to: request()))
      #expect(answer.error == nil && answer.isDone)
      #expect(answer.text == "Hello there. How are you?")
      #expect(answer.events.first == .text("Hello there.", at: 0))
      #expect(answer.events.contains(.text(" How are you?", at: Self.sound.seconds)))
      let expected = PCM(int16: Self.sound.int16, rate: 24_000).samples
      #expect(answer.samples == expected + expected && answer.rates == [24_000])
      let spoken = server.requests.filter { $0.head.uri == "/v1/audio/speech" }.map { $0.json["input"] as? String }
      #expect(spoken == ["Hello there.", "How are you?"])
    }

    @Test func `the model gets its instructions, the conversation and the key`() async throws {
      let server = try await Self.server()
      let history = [
        Turn(.user, "Hi."), Turn(.avatar, "Hello, I am", wasInterrupted: true), Turn(.user, ""),
      ]
      let more = #", "instructions": "Be kind.", "temperature": 0.5, "max_tokens": 99, "memory": 2, "key": "K""#
      let talk = try dialogue(Self.json(server.port, more: more), ["K": "sesame"])
      _ = await Answer(talk.responder().respond(to: request(history: history)))
      let sent = try #require(server.requests.first)
      #expect(sent.head.headers.first(name: "authorization") == "Bearer sesame")
      #expect(sent.json["model"] as? String == "text" && sent.json["stream"] as? Bool == true)
      #expect(sent.json["temperature"] as? Double == 0.5 && sent.json["max_tokens"] as? Int == 99)
      let messages = try #require(sent.json["messages"] as? [[String: String]])
      #expect(
        messages == [
          ["role": "system", "content": "Be kind."], ["role": "assistant", "content": "Hello, I am …"],
          ["role": "user", "content": "(inaudible)"], ["role": "user", "content": "How are you?"],
        ])
      // The voice's server has no key and gets none.
      #expect(server.requests.last?.head.headers.first(name: "authorization") == nil)
    }

    @Test func `speech is written down by the server`() async throws {
      let server = try await Self.server()
      let talk = try dialogue(Self.json(server.port))
      #expect(!talk.responder().hears)
      let transcriber = try #require(talk.transcriber)
      #expect(try await transcriber.transcribe(tone(0.5, rate: 16_000)) == "How are you?")
      let form = try #require(server.requests.first)
      #expect(form.head.headers.first(name: "content-type")?.hasPrefix("multipart/form-data; boundary=") == true)
      for part in ["name=\"model\"\r\n\r\nasr", "name=\"language\"\r\n\r\nen", "filename=\"speech.wav\"", "RIFF"] {
        #expect(form.body.firstRange(of: Array(part.utf8)) != nil, "\(part)")
      }
    }

    @Test func `speech begins before the model has finished`() async throws {
      let spoken = Signal()
      let server = try await Self.server(chat: { _, answer in
        try await answer.head()
        try await answer.write(Self.chunk("One sentence. Tw").utf8)
        guard await spoken.wait(60) else { return await answer.drop() }
        try await answer.write((Self.chunk("o sentences.", finish: "stop") + "data: [DONE]\n\n").utf8)
        try await answer.finish()
      })
      var isDone = false
      for try await event in try dialogue(Self.json(server.port)).responder().respond(to: request()) {
        if case .sound = event { spoken.set() }
        if event == .done { isDone = true }
      }
      #expect(isDone && spoken.isSet)
    }

    @Test func `a slow trickle is no stall`() async throws {
      let server = try await Self.server(by: 40, every: .milliseconds(30))
      let answer = await Answer(try dialogue(Self.json(server.port)).responder().respond(to: request()))
      #expect(answer.isDone && answer.error == nil)
    }

    // MARK: Faults

    private func failure(
      chat: FakeServer.HTTPHandler? = nil, speech: FakeServer.HTTPHandler? = nil, key: String = "",
      first: Double = 60, idle: Double = 60
    ) async throws -> (SessionError, Answer, FakeServer) {
      let server = try await Self.server(chat: chat, speech: speech)
      let json = Self.json(server.port, more: key.isEmpty ? "" : #", "key": "K""#)
      let answer = await Answer(
        try dialogue(json, ["K": key], first: first, idle: idle).responder().respond(to: request()))
      #expect(!answer.events.contains(.done))
      return (try #require(answer.failure, "\(String(describing: answer.error))"), answer, server)
    }

    @Test func `nobody at the address is an error after some tries`() async throws {
      let port = try await FakeServer.freePort()
      let start = ContinuousClock.now
      let answer = await Answer(try dialogue(Self.json(port)).responder().respond(to: request()))
      #expect(answer.failure?.code == .responderFailed)
      #expect(
        answer.failure?.message
          == "The text model at http://127.0.0.1:\(port) cannot be reached (connection refused): see that it runs.")
      // Three tries with two waits between them.
      #expect(ContinuousClock.now - start > .milliseconds(250))
    }

    @Test func `a refusal is told with the server's words, without the key`() async throws {
      let (error, _, server) = try await failure(
        chat: { _, answer in try await answer.answer(401, #"{"error": {"message": "Wrong\nkey sesame"}}"#) },
        key: "sesame")
      #expect(error.code == .responderFailed)
      #expect(
        error.message
          == "The text model at http://127.0.0.1:\(server.port) refuses the request (401 Unauthorized): Wrong key …")
      #expect(server.requests.count == 1)
    }

    @Test func `a busy server is asked again`() async throws {
      for busy in [2, 3] {
        let tries = Mutex(0)
        let server = try await Self.server(chat: { _, answer in
          if tries.withLock({
            $0 += 1; return $0
          }) <= busy {
            try await answer.answer(503, "{}", [("retry-after", "0")])
          } else {
            try await answer.answer(type: "text/event-stream", Self.chunk("Yes.", finish: "stop"))
          }
        })
        let answer = await Answer(try dialogue(Self.json(server.port)).responder().respond(to: request()))
        #expect(answer.isDone == (busy == 2))
        #expect(busy == 2 || answer.failure?.message.contains("503") == true)
        #expect(tries.withLock { $0 } == 3)
      }
    }

    @Test func `an answer that breaks off is an error behind what was said`() async throws {
      let (error, answer, _) = try await failure(chat: { _, answer in
        try await answer.head()
        try await answer.write(Self.chunk("One sentence. And th").utf8)
        try await Task.sleep(for: .milliseconds(100))
        await answer.drop()
      })
      #expect(error.code == .responderFailed && error.message.contains("broke off"))
      #expect(answer.text == "One sentence." && !answer.samples.isEmpty)
    }

    @Test func `an answer that ends without its end is one that broke off`() async throws {
      let (error, _, _) = try await failure(chat: { _, answer in
        try await answer.answer(type: "text/event-stream", Self.chunk("One sentence. And th"))
      })
      #expect(error.code == .responderFailed && error.message.contains("broke off"))
    }

    @Test func `a server that says nothing, or nothing more, is timed out`() async throws {
      let (silent, _, _) = try await failure(
        chat: { _, _ in try await Task.sleep(for: .seconds(90)) }, first: 0.5)
      #expect(silent.code == .responderTimedOut)
      let (stalled, answer, _) = try await failure(
        chat: { _, answer in
          try await answer.head()
          try await answer.write(Self.chunk("One sentence. And th").utf8)
          try await Task.sleep(for: .seconds(90))
        }, idle: 1)
      #expect(stalled.code == .responderTimedOut && answer.text == "One sentence.")
    }

    @Test(arguments: ["data: {\"choices\": [\n\n", "data: 7\n\n", "data: <html>\n\n"])
    func `an event that is no chunk is an error`(garbage: String) async throws {
      let (error, _, _) = try await failure(chat: { _, answer in
        try await answer.answer(type: "text/event-stream", garbage)
      })
      #expect(error.message.contains("cannot be understood"))
    }

    @Test func `an answer that is no stream is an error`() async throws {
      let (error, _, _) = try await failure(chat: { _, answer in try await answer.answer(type: "text/html", "<html>") })
      #expect(error.message.contains("cannot be understood"))
    }

    @Test func `an error within the stream is told`() async throws {
      let (error, _, _) = try await failure(chat: { _, answer in
        try await answer.answer(
          type: "text/event-stream", Self.chunk("One sentence. ") + event(["error": ["message": "out of memory"]]))
      })
      #expect(error.message.hasSuffix("reports: out of memory."))
    }

    @Test func `a redirect is not followed`() async throws {
      let (error, _, server) = try await failure(chat: { _, answer in
        try await answer.answer(307, "{}", [("location", "/v1/audio/transcriptions")])
      })
      #expect(error.message.contains("307") && server.requests.count == 1)
    }

    @Test func `a voice that fails ends the answer with its own error`() async throws {
      let (error, answer, _) = try await failure(speech: { _, answer in
        try await answer.head(type: "audio/pcm")
        try await answer.write(Self.sound.int16.prefix(2000))
        await answer.drop()
      })
      #expect(error.code == .voiceFailed && answer.text == "Hello there.")
    }

    @Test func `who stops reading stops the server's work`() async throws {
      let dropped = Signal()
      let server = try await Self.server(chat: { _, answer in
        try await answer.head()
        do {
          while true {
            try await answer.write(Self.chunk("Another sentence. ").utf8)
            try await Task.sleep(for: .milliseconds(20))
          }
        } catch {
          dropped.set()
        }
      })
      let heard = Signal()
      let stream = try dialogue(Self.json(server.port)).responder().respond(to: request())
      let task = Task { for try await event in stream { if case .sound = event { heard.set() } } }
      #expect(await heard.wait(60))
      task.cancel()
      #expect(await dropped.wait(60))
    }
  }
}
