import Foundation
import NIOCore
import NIOHTTP1
import NIOWebSocket
import Session
import Synchronization
import Testing

@testable import Dialogue

extension NetworkTests {
  /// Models behind the Realtime protocol, in the dialects of their servers.
  @Suite struct RealtimeTests {
    enum Dialect: String, CaseIterable { case released, flat, committed }

    static let sound = PCM(int16: tone(0.5, rate: 24_000).int16, rate: 24_000)
    static let heard = PCM(int16: tone(1, rate: 16_000).int16, rate: 16_000)

    static func json(_ port: Int, more: String = "") -> String {
      #"{"kind": "realtime", "realtime": {"url": "ws://127.0.0.1:\#(port)/v1/realtime", "model": "qwen"\#(more)}}"#
    }

    /// How a server of a dialect talks.
    struct Script: Sendable {
      let dialect: Dialect
      var number = 1

      var created: String {
        switch dialect {
        case .released:
          JSONText.of([
            "type": "session.created",
            "session": ["type": "realtime", "output_modalities": ["audio"]] as [String: Any],
          ])
        case .flat:
          JSONText.of([
            "type": "session.created", "session": ["modalities": ["text", "audio"], "input_audio_format": "pcm16"],
          ])
        case .committed: JSONText.of(["type": "session.created", "id": "s", "created": 1])
        }
      }

      /// The parts of an answer.
      var answer: [String] {
        let id = "resp_\(number)"
        let item = "item_\(number)"
        let bytes = RealtimeTests.sound.int16
        let pieces = stride(from: 0, to: bytes.count, by: 4000).map {
          Array(bytes[$0..<min($0 + 4000, bytes.count)]).base64
        }
        let audio = dialect == .released ? "response.output_audio" : "response.audio"
        let place: [String: Any] = ["response_id": id, "item_id": item, "output_index": 0, "content_index": 0]
        func with(_ fields: [String: Any]) -> String { JSONText.of(place.merging(fields) { $1 }) }
        if dialect == .committed {
          return ["Hel", "lo."].map { JSONText.of(["type": "transcription.delta", "delta": $0]) }
            + pieces.map {
              JSONText.of(["type": "\(audio).delta", "audio": $0, "format": "pcm16", "sample_rate_hz": 24_000])
            }
            + [
              JSONText.of(["type": "transcription.done", "text": "Hello."]),
              JSONText.of(["type": "\(audio).done", "has_audio": true]),
            ]
        }
        return [
          JSONText.of(["type": "response.created", "response": ["id": id, "status": "in_progress"]]),
          with(["type": "response.output_item.added", "item": ["id": item, "type": "message"]]),
          with(["type": "\(audio)_transcript.delta", "delta": "Hel"]),
          with(["type": "\(audio).delta", "delta": pieces[0]]),
          with(["type": "\(audio)_transcript.delta", "delta": "lo."]),
        ] + pieces.dropFirst().map { with(["type": "\(audio).delta", "delta": $0]) } + [
          with(["type": "\(audio).done"]), JSONText.of(["type": "rate_limits.updated"]),
          JSONText.of(["type": "response.done", "response": ["id": id, "status": "completed"]]),
        ]
      }

      /// Whether this event asks for an answer.
      func asks(_ event: FakeServer.Socket.Event) -> Bool {
        dialect == .committed
          ? event.type == "input_audio_buffer.commit" && event.json["final"] as? Bool == true
          : event.type == "response.create"
      }
    }

    /// What clients sent.
    final class Record: Sendable {
      private let events = Mutex<[[FakeServer.Socket.Event]]>([])
      func begin() -> Int {
        events.withLock {
          $0.append([]); return $0.count - 1
        }
      }
      func add(_ event: FakeServer.Socket.Event, _ connection: Int) { events.withLock { $0[connection].append(event) } }
      var connections: Int { events.withLock { $0.count } }
      func types(_ connection: Int = 0) -> [String] { all(connection).map(\.type) }
      func all(_ connection: Int = 0) -> [FakeServer.Socket.Event] {
        events.withLock { $0.indices.contains(connection) ? $0[connection] : [] }
      }
      /// Seconds of sound in the server's buffer when it was committed.
      func appended(rate: Int, connection: Int = 0) -> Double {
        var bytes = 0
        for event in all(connection) {
          if event.type == "input_audio_buffer.clear" { bytes = 0 }
          if let audio = event.json["audio"] as? String { bytes += Data(base64Encoded: audio)?.count ?? 0 }
        }
        return Double(bytes) / Double(2 * rate)
      }
      func wait(_ type: String, _ connection: Int = 0) async -> FakeServer.Socket.Event? {
        for _ in 0..<2000 {
          if let event = all(connection).first(where: { $0.type == type }) { return event }
          try? await Task.sleep(for: .milliseconds(10))
        }
        return nil
      }
    }

    /// A server that answers every turn.
    static func server(
      _ dialect: Dialect, _ record: Record = Record(), fragments: Int? = nil, pause: Duration? = nil,
      more: (@Sendable (FakeServer.Socket, FakeServer.Socket.Event) async throws -> Void)? = nil
    ) async throws -> FakeServer {
      try await FakeServer(socket: { socket in
        let connection = record.begin()
        var script = Script(dialect: dialect)
        try await socket.send(script.created)
        for await event in socket.events() {
          record.add(event, connection)
          try await more?(socket, event)
          guard script.asks(event) else { continue }
          for part in script.answer {
            if let fragments { try await socket.send(part, fragments: fragments) } else { try await socket.send(part) }
            if let pause { try await Task.sleep(for: pause) }
          }
          script.number += 1
        }
      })
    }

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

    @Test func `an answer is never truncated beyond what there is of it`() {
      var state = Self.ready(.released)
      _ = state.respond(UtteranceID(rawValue: 1), text: nil)
      for part in Script(dialect: .released).answer { _ = state.receive(part) }
      let actions = state.truncate(UtteranceID(rawValue: 1), playedSeconds: 99)
      #expect(Self.sent(actions).first?["audio_end_ms"] as? Int == 500)
      #expect(state.truncate(UtteranceID(rawValue: 1), playedSeconds: 1).isEmpty)
      #expect(state.truncate(UtteranceID(rawValue: 7), playedSeconds: 1).isEmpty)
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

    // MARK: Faults

    @Test func `nobody at the address is an error`() async throws {
      let port = try await FakeServer.freePort()
      let none = await Answer(try dialogue(Self.json(port)).responder().respond(to: request()))
      #expect(
        none.failure?.message
          == "The model at ws://127.0.0.1:\(port) cannot be reached (connection refused): see that it runs.")
    }

    @Test func `a server that opens no WebSocket refuses, and is asked again only where it is busy`() async throws {
      for (status, isBusy) in [(401, false), (503, true)] {
        let server = try await FakeServer(http: { _, answer in try await answer.answer(status, "{}") })
        let refused = await Answer(try dialogue(Self.json(server.port)).responder().respond(to: request()))
        #expect(
          refused.failure?.message
            == "The model at ws://127.0.0.1:\(server.port) refuses the connection (\(status)): check the address and the key."
        )
        // Once or twice when it is opened in the background, three times when it is busy.
        #expect(isBusy ? server.requests.count >= 3 : server.requests.count <= 2)
      }
    }

    @Test func `a server that does not say hello, or does not answer, is timed out`() async throws {
      let mute = try await FakeServer(socket: { _ in try await Task.sleep(for: .seconds(90)) })
      let silent = await Answer(try dialogue(Self.json(mute.port), connect: 0.5).responder().respond(to: request()))
      #expect(silent.failure?.code == .responderTimedOut)
      let server = try await FakeServer(socket: { socket in
        try await socket.send(Script(dialect: .released).created)
        for await _ in socket.events() {}
      })
      let unanswered = await Answer(try dialogue(Self.json(server.port), first: 0.5).responder().respond(to: request()))
      #expect(unanswered.failure?.code == .responderTimedOut)
      let stalls = try await FakeServer(socket: { socket in
        let script = Script(dialect: .released)
        try await socket.send(script.created)
        for await event in socket.events() where script.asks(event) {
          for part in script.answer.prefix(5) { try await socket.send(part) }
        }
      })
      let stalled = await Answer(try dialogue(Self.json(stalls.port), idle: 1).responder().respond(to: request()))
      #expect(stalled.failure?.code == .responderTimedOut && !stalled.samples.isEmpty)
    }

    @Test(arguments: ["drop", "close", "error", "failed", "garbage", "sound", "object"])
    func
      `an answer that goes wrong is an error, and the next turn is answered on a connection that knows the conversation`(
        fault: String
      ) async throws
    {
      let record = Record()
      let isFirst = Mutex(true)
      let server = try await FakeServer(socket: { socket in
        let connection = record.begin()
        let script = Script(dialect: .released)
        try await socket.send(script.created)
        for await event in socket.events() {
          record.add(event, connection)
          guard script.asks(event) else { continue }
          let isNow = isFirst.withLock { first in
            defer { first = false }
            return first
          }
          guard isNow else {
            for part in script.answer { try await socket.send(part) }
            continue
          }
          for part in script.answer.prefix(4) { try await socket.send(part) }
          switch fault {
          case "drop": await socket.drop()
          case "close": try await socket.close(.unexpectedServerError)
          case "error":
            try await socket.send(#"{"type": "error", "error": {"type": "server_error", "message": "out of memory."}}"#)
          case "failed":
            try await socket.send(
              #"{"type": "response.done", "response": {"id": "resp_1", "status": "failed", "status_details": {"error": {"message": "too long"}}}}"#
            )
          case "garbage": try await socket.send("{\"type\": ")
          case "sound":
            try await socket.send(#"{"type": "response.output_audio.delta", "response_id": "resp_1", "delta": 7}"#)
          default: try await socket.send("[1, 2]")
          }
        }
      })
      let responder = try dialogue(Self.json(server.port)).responder()
      let first = await Answer(responder.respond(to: request(nil, sound: Self.heard)))
      #expect(first.failure?.code == .responderFailed && !first.events.contains(.done) && !first.samples.isEmpty)
      if fault == "error" { #expect(first.failure?.message.hasSuffix("reports: out of memory.") == true) }
      let history = [Turn(.user, "Hi."), Turn(.avatar, "Hello.")]
      let second = await Answer(responder.respond(to: request("Again?", history: history)))
      if fault == "drop" || fault == "close" {
        #expect(second.isDone && second.samples == Self.sound.samples)
        #expect(record.connections == 2)
        #expect(
          record.types(1) == [
            "session.update", "conversation.item.create", "conversation.item.create", "conversation.item.create",
            "response.create",
          ])
      } else {
        #expect(record.connections == 1)
      }
      await responder.close()
    }

    @Test func `errors that need nothing to be done are passed over`() {
      var state = Self.ready(.flat)
      _ = state.respond(UtteranceID(rawValue: 1), text: "Hi")
      for code in ["response_cancel_not_active", "input_audio_buffer_commit_empty"] {
        #expect(state.receive(#"{"type": "error", "error": {"code": "\#(code)", "message": "m"}}"#).isEmpty)
      }
      for type in ["rate_limits.updated", "conversation.item.added", "input_audio_buffer.cleared", "something.new"] {
        #expect(state.receive(#"{"type": "\#(type)"}"#).isEmpty)
      }
      let failed = state.receive(#"{"type": "error", "error": {"code": "other", "message": "m"}}"#)
      #expect(failed.contains { if case .failed = $0 { true } else { false } })
    }

    @Test func `an answer that is cancelled before its name is known is not taken for the next one`() {
      var state = Self.ready(.released)
      _ = state.respond(UtteranceID(rawValue: 1), text: "One")
      _ = state.cancel()
      _ = state.respond(UtteranceID(rawValue: 2), text: "Two")
      let script = Script(dialect: .released)
      let old = script.answer.flatMap { state.receive($0) }
      #expect(old.isEmpty)
      let new = Script(dialect: .released, number: 2).answer.flatMap { state.receive($0) }
      #expect(Self.outputs(new).last == .done)
    }

    @Test func `the server's own interruption ends its answer`() {
      var state = RealtimeProtocol(Self.settings(turns: .server))
      _ = state.receive(Script(dialect: .released).created)
      _ = state.append(Self.sound)
      let script = Script(dialect: .released)
      _ = state.receive(#"{"type": "input_audio_buffer.speech_stopped"}"#)
      _ = state.receive(script.answer[0])
      _ = state.respond(UtteranceID(rawValue: 1), text: nil)
      #expect(!Self.outputs(script.answer[1..<5].flatMap { state.receive($0) }).isEmpty)
      let stopped = state.receive(#"{"type": "input_audio_buffer.speech_started"}"#)
      #expect(stopped.contains { if case .finished = $0 { true } else { false } })
      #expect(script.answer[5...].flatMap { state.receive($0) }.isEmpty)
      #expect(!state.truncate(UtteranceID(rawValue: 1), playedSeconds: 0.01).isEmpty)
    }

    @Test func `any events in any order end in no crash and at most one end`() {
      var generator = SystemRandomNumberGenerator()
      let parts =
        Dialect.allCases.flatMap {
          [Script(dialect: $0).created] + Script(dialect: $0).answer + Script(dialect: $0, number: 2).answer
        } + [
          #"{"type": "input_audio_buffer.speech_started"}"#, #"{"type": "input_audio_buffer.speech_stopped"}"#,
          #"{"type": "error"}"#, #"{"type": "error", "error": "text"}"#, "{}", "null", "", #"{"type": 7}"#,
          #"{"type": "response.done"}"#, #"{"type": "response.created"}"#,
          #"{"type": "session.updated", "session": {"turn_detection": {"type": "server_vad"}}}"#,
        ]
      for _ in 0..<60 {
        var state = RealtimeProtocol(Self.settings(turns: Bool.random() ? .session : .server))
        var open = 0
        for step in 0..<60 {
          let actions: [RealtimeProtocol.Action]
          switch Int.random(in: 0..<12, using: &generator) {
          case 0 where open == 0:
            actions = state.respond(UtteranceID(rawValue: step), text: Bool.random() ? "Hi" : nil)
            open = 1
          case 1:
            actions = state.cancel()
            open = 0
          case 2: actions = state.append(Self.heard) + state.insist()
          case 3:
            actions =
              state.truncate(UtteranceID(rawValue: max(step - 3, 0)), playedSeconds: .random(in: -1...2))
              + state.clear()
          default: actions = state.receive(parts.randomElement(using: &generator) ?? "")
          }
          let ends = actions.count { if case .finished = $0 { true } else if case .failed = $0 { true } else { false } }
          #expect(ends <= 1)
          if ends > 0 { open = 0 }
        }
      }
    }

    // MARK: Help

    static func settings(turns: RealtimeSettings.Turns = .session) -> RealtimeSettings {
      RealtimeSettings(
        server: ServerSettings(url: URL(fileURLWithPath: "/"), model: "m", key: nil), instructions: nil, speaker: nil,
        turns: turns, dialect: .automatic, inputRate: nil, outputRate: 24_000, transcription: nil)
    }

    static func ready(_ dialect: Dialect) -> RealtimeProtocol {
      var state = RealtimeProtocol(settings())
      _ = state.receive(Script(dialect: dialect).created)
      return state
    }

    static func sent(_ actions: [RealtimeProtocol.Action]) -> [[String: any Sendable]] {
      actions.compactMap { if case .send(let event) = $0 { event } else { nil } }
    }

    static func outputs(_ actions: [RealtimeProtocol.Action]) -> [SpeechEvent] {
      actions.compactMap { if case .output(let event) = $0 { event } else { nil } }
    }
  }
}
