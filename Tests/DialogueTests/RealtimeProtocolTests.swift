import Basics
import Foundation
import Session
import Testing

@testable import Dialogue

/// The protocol by itself, without a network.
extension NetworkTests.RealtimeTests {
  @Test func `an answer is never truncated beyond what there is of it`() {
    var state = Self.ready(.released)
    _ = state.respond(UtteranceID(rawValue: 1), text: nil)
    for part in Script(dialect: .released).answer { _ = state.receive(part) }
    let actions = state.truncate(UtteranceID(rawValue: 1), playedSeconds: 99)
    #expect(Self.sent(actions).first?["audio_end_ms"] as? Int == 500)
    #expect(state.truncate(UtteranceID(rawValue: 1), playedSeconds: 1).isEmpty)
    #expect(state.truncate(UtteranceID(rawValue: 7), playedSeconds: 1).isEmpty)
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

  @Test func `a server's words are told on one line and without the key`() {
    var state = RealtimeProtocol(Self.settings(), key: "sesame")
    _ = state.receive(Script(dialect: .flat).created)
    _ = state.respond(UtteranceID(rawValue: 1), text: "Hi")
    let actions = state.receive(#"{"type": "error", "error": {"message": "Wrong\nkey sesame."}}"#)
    let messages: [String] = actions.compactMap { if case .failed(let error) = $0 { error.message } else { nil } }
    #expect(messages.count == 1 && messages[0].hasSuffix("reports: Wrong key …."))
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
    var generator = SeededRandom(seed: 1)
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
      var state = RealtimeProtocol(Self.settings(turns: Bool.random(using: &generator) ? .session : .server))
      var open = 0
      for step in 0..<60 {
        let actions: [RealtimeProtocol.Action]
        switch Int.random(in: 0..<12, using: &generator) {
        case 0 where open == 0:
          actions = state.respond(UtteranceID(rawValue: step), text: Bool.random(using: &generator) ? "Hi" : nil)
          open = 1
        case 1:
          actions = state.cancel()
          open = 0
        case 2: actions = state.append(Self.heard) + state.insist()
        case 3:
          actions =
            state.truncate(
              UtteranceID(rawValue: max(step - 3, 0)), playedSeconds: .random(in: -1...2, using: &generator))
            + state.clear()
        default: actions = state.receive(parts.randomElement(using: &generator) ?? "")
        }
        let ends = actions.count { if case .finished = $0 { true } else if case .failed = $0 { true } else { false } }
        #expect(ends <= 1)
        if ends > 0 { open = 0 }
      }
    }
  }

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
