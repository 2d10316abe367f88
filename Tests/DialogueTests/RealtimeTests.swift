import Foundation
import NIOHTTP1
import Session
import Synchronization
import Testing

@testable import Dialogue

extension NetworkTests {
  /// Models behind the Realtime protocol, in the dialects of their servers.
  @Suite struct RealtimeTests {
    @Test(arguments: Dialect.allCases, [nil, 100, 4000])
    func `each dialect answers speech with text and sound, in whole messages or fragments`(
      dialect: Dialect, fragments: Int?
    )
      async throws
    {
      let record = Record()
      let server = try await Self.server(dialect, record, fragments: fragments)
      let responder = try dialogue(Self.json(server.port), [:]).responder()
      #expect(responder.hears)
      #expect(await record.wait("session.update") != nil)
      for turn in 0..<2 {
        for start in stride(from: 0, to: 16_000, by: 1600) {
          await responder.hear(PCM(Array(Self.heard.samples[start..<start + 1600]), rate: 16_000))
        }
        let answer = await Answer(
          responder.respond(
            to: ResponseRequest(
              utterance: UtteranceID(rawValue: turn + 1), history: [], text: nil, sound: Self.heard)))
        #expect(answer.error == nil && answer.isDone, "\(String(describing: answer.error))")
        #expect(answer.text == "Hello." && answer.samples == Self.sound.samples && answer.rates == [24_000])
      }
      let types = record.types()
      #expect(types.first == "session.update")
      #expect(!types.contains("input_audio_buffer.clear"))
      let rate = dialect == .released ? 24_000 : 16_000
      #expect(abs(record.appended(rate: rate) - 2) < 0.01)
      #expect(types.count { $0 == "input_audio_buffer.commit" } == (dialect == .committed ? 4 : 2))
      await responder.close()
    }

    @Test func `a session says its settings in the server's dialect, with the key`() async throws {
      for dialect in Dialect.allCases {
        let record = Record()
        let head = Mutex<String?>(nil)
        let server = try await Self.server(dialect, record) { socket, _ in
          head.withLock { $0 = "\(socket.head.uri) \(socket.head.headers.first(name: "authorization") ?? "")" }
        }
        let more = #", "instructions": "Be kind.", "speaker": "Chelsie", "key": "K", "transcription": "asr""#
        let responder = try dialogue(Self.json(server.port, more: more), ["K": "sesame"]).responder()
        let update = try #require(await record.wait("session.update"))
        #expect(head.withLock { $0 } == "/v1/realtime?model=qwen Bearer sesame")
        let session = update.json["session"] as? [String: Any]
        switch dialect {
        case .released:
          #expect(session?["type"] as? String == "realtime" && session?["output_modalities"] as? [String] == ["audio"])
          let audio = try #require(session?["audio"] as? [String: [String: Any]])
          #expect(audio["input"]?["turn_detection"] is NSNull)
          #expect((audio["input"]?["format"] as? [String: Any])?["rate"] as? Int == 24_000)
          #expect((audio["input"]?["transcription"] as? [String: String]) == ["model": "asr"])
          #expect(audio["output"]?["voice"] as? String == "Chelsie")
        case .flat:
          #expect(
            session?["modalities"] as? [String] == ["text", "audio"] && session?["voice"] as? String == "Chelsie")
          #expect(session?["input_audio_format"] as? String == "pcm16" && session?["turn_detection"] is NSNull)
        case .committed: #expect(update.json["model"] as? String == "qwen" && session == nil)
        }
        await responder.close()
      }
    }

    @Test(arguments: [0.3, 20])
    func `a turn that the server did not hear as it came is sent whole`(before: Double) async throws {
      let record = Record()
      let server = try await Self.server(.released, record)
      let responder = try dialogue(Self.json(server.port)).responder()
      #expect(await record.wait("session.update") != nil)
      // Either a part of the turn, or much that is not of it.
      await responder.hear(tone(before, rate: 16_000))
      let answer = await Answer(responder.respond(to: request(nil, sound: Self.heard)))
      #expect(answer.isDone && record.types().contains("input_audio_buffer.clear"))
      #expect(abs(record.appended(rate: 24_000) - 1) < 0.01)
      await responder.close()
    }

    @Test func `what was no turn is forgotten`() async throws {
      let record = Record()
      let server = try await Self.server(.flat, record)
      let responder = try dialogue(Self.json(server.port)).responder()
      #expect(await record.wait("session.update") != nil)
      await responder.hear(Self.heard)
      await responder.forgetHeard()
      #expect(await record.wait("input_audio_buffer.clear") != nil)
      await responder.close()
    }

    @Test func `typed text is answered, and old servers that only hear say so`() async throws {
      for dialect in Dialect.allCases {
        let record = Record()
        let server = try await Self.server(dialect, record)
        let responder = try dialogue(Self.json(server.port)).responder()
        let answer = await Answer(responder.respond(to: request("How are you?")))
        if dialect == .committed {
          #expect(answer.failure?.message.contains("takes only speech") == true)
        } else {
          #expect(answer.isDone && record.types() == ["session.update", "conversation.item.create", "response.create"])
        }
        await responder.close()
      }
    }

    @Test func `who stops reading cancels the answer, and its rest is not heard in the next`() async throws {
      let record = Record()
      let server = try await Self.server(.released, record, pause: .milliseconds(60))
      let responder = try dialogue(Self.json(server.port)).responder()
      let first = Task {
        var count = 0
        for try await event in responder.respond(to: request(nil, sound: Self.heard)) {
          if case .sound = event { count += 1 }
          if count == 2 { return }
        }
      }
      try await first.value
      #expect(await record.wait("response.cancel") != nil)
      // Two pieces of 2000 samples came; the user heard 0.05 s, then more than there was.
      await responder.truncate(UtteranceID(rawValue: 1), playedSeconds: 0.05, text: "Hel")
      let truncated = try #require(await record.wait("conversation.item.truncate"))
      #expect(truncated.json["item_id"] as? String == "item_1" && truncated.json["audio_end_ms"] as? Int == 50)
      let next = await Answer(
        responder.respond(
          to: ResponseRequest(utterance: UtteranceID(rawValue: 2), history: [], text: "And now?", sound: nil)))
      #expect(next.isDone && next.samples == Self.sound.samples && next.text == "Hello.")
      await responder.close()
    }

    // MARK: The server's turns

    @Test(arguments: [Dialect.released, .flat])
    func `a server that takes the turns answers by itself, before or after it is asked`(dialect: Dialect) async throws {
      for early in [true, false] {
        let record = Record()
        let server = try await FakeServer(socket: { socket in
          let connection = record.begin()
          let script = Script(dialect: dialect)
          try await socket.send(script.created)
          for await event in socket.events() {
            record.add(event, connection)
            guard event.type == "input_audio_buffer.append" else { continue }
            try await socket.send(
              #"{"type": "input_audio_buffer.speech_started", "item_id": "u", "audio_start_ms": 0}"#)
            try await socket.send(
              #"{"type": "input_audio_buffer.speech_stopped", "item_id": "u", "audio_end_ms": 900}"#)
            try await socket.send(#"{"type": "input_audio_buffer.committed", "item_id": "u"}"#)
            try await socket.send(
              #"{"type": "conversation.item.input_audio_transcription.completed", "item_id": "u", "transcript": " Hi. "}"#
            )
            if !early { try await Task.sleep(for: .milliseconds(300)) }
            for part in script.answer { try await socket.send(part) }
          }
        })
        let responder = try dialogue(Self.json(server.port, more: #", "turns": "server""#)).responder()
        #expect(await record.wait("session.update") != nil)
        await responder.hear(Self.heard)
        if early { try await Task.sleep(for: .milliseconds(300)) }
        let answer = await Answer(responder.respond(to: request(nil, sound: Self.heard)))
        #expect(answer.isDone && answer.samples == Self.sound.samples && answer.text == "Hello.")
        #expect(early ? answer.heard.isEmpty : answer.heard == ["Hi."])
        #expect(record.types() == ["session.update", "input_audio_buffer.append"])
        await responder.close()
      }
    }

    @Test func `a server that does not notice the end of a turn is told`() async throws {
      let record = Record()
      let server = try await Self.server(.released, record)
      let responder = try dialogue(Self.json(server.port, more: #", "turns": "server""#)).responder()
      #expect(await record.wait("session.update") != nil)
      await responder.hear(Self.heard)
      let answer = await Answer(responder.respond(to: request(nil, sound: Self.heard)))
      #expect(answer.isDone && record.types().suffix(2) == ["input_audio_buffer.commit", "response.create"])
      await responder.close()
    }
  }
}
