import Foundation
import NIOHTTP1
import Session
import Testing

@testable import Dialogue

extension NetworkTests {
  /// Models that hear and speak, in the dialects of their servers.
  @Suite struct OmniTests {
    enum Dialect: String, CaseIterable { case vllm, sglang, sglangFirstHeader, dashScope, openAI }

    static let sound = PCM(int16: tone(0.5, rate: 24_000).int16, rate: 24_000)
    static let words = ["Hel", "lo ", "there."]

    static func chunk(_ delta: [String: Any], finish: String? = nil, more: [String: Any] = [:]) -> String {
      var object: [String: Any] = [
        "object": "chat.completion.chunk",
        "choices": [["index": 0, "delta": delta, "finish_reason": finish ?? NSNull()] as [String: Any]],
      ]
      object.merge(more) { $1 }
      return event(object)
    }

    /// The sound in pieces of uneven numbers of bytes.
    static func pieces(_ size: Int = 1001) -> [[UInt8]] {
      let bytes = sound.int16
      return stride(from: 0, to: bytes.count, by: size).map { Array(bytes[$0..<min($0 + size, bytes.count)]) }
    }

    static func exchange(_ dialect: Dialect) -> String {
      switch dialect {
      case .vllm:
        // Text has its own end; then whole WAV files, an empty one among them.
        let wavs = stride(from: 0, to: sound.samples.count, by: 5000).map {
          PCM(Array(sound.samples[$0..<min($0 + 5000, sound.samples.count)]), rate: 24_000).wav.base64
        }
        return words.map { chunk(["content": $0], more: ["modality": "text"]) }.joined()
          + chunk(["content": ""], finish: "stop", more: ["modality": "text"])
          + chunk(["content": ""], more: ["modality": "audio"])
          + wavs.map { chunk(["content": $0], more: ["modality": "audio"]) }.joined()
          + chunk(["content": PCM([], rate: 24_000).wav.base64], finish: "stop", more: ["modality": "audio"])
          + "data: [DONE]\n\n"
      case .sglang:
        return words.map { chunk(["content": $0]) }.joined()
          + pieces(2000).map { chunk(["audio": ["id": "a", "data": PCM(int16: $0, rate: 24_000).wav.base64]]) }.joined()
          + chunk([:], finish: "stop", more: ["usage": ["total_tokens": 3]]) + "data: [DONE]\n\n"
      case .sglangFirstHeader:
        let all = sound.wav
        return words.map { chunk(["content": $0]) }.joined()
          + stride(from: 0, to: all.count, by: 1001).map {
            chunk(["audio": ["data": Array(all[$0..<min($0 + 1001, all.count)]).base64]])
          }.joined() + chunk([:], finish: "stop") + "data: [DONE]\n\n"
      case .dashScope:
        return words.map { chunk(["content": $0]) }.joined()
          + pieces().map { chunk(["content": NSNull(), "audio": ["data": $0.base64, "expires_at": 1]]) }.joined()
          + chunk([:], finish: "stop") + event(["choices": [Any](), "usage": ["total_tokens": 3]]) + "data: [DONE]\n\n"
      case .openAI:
        return zip(words, pieces(sound.int16.count / 3 / 2 * 2)).map {
          chunk(["audio": ["transcript": $0, "data": $1.base64]])
        }.joined() + chunk([:], finish: "stop") + "data: [DONE]\n\n"
      }
    }

    static func json(_ port: Int, more: String = "") -> String {
      #"{"kind": "omni", "omni": {"url": "http://127.0.0.1:\#(port)/v1", "model": "qwen"\#(more)}}"#
    }

    @Test(arguments: Dialect.allCases, [1, 7, 100_000])
    func `each dialect gives its text and its sound, wherever its stream is cut`(dialect: Dialect, size: Int)
      async throws
    {
      let server = try await FakeServer(http: { _, answer in
        try await answer.head()
        let bytes = Array(Self.exchange(dialect).utf8)
        // Byte by byte is for the beginning, where text and headers are.
        try await answer.write(bytes.prefix(4000), by: size)
        try await answer.write(bytes.dropFirst(4000), by: max(size, 997))
        try await answer.finish()
      })
      let answer = await Answer(
        try dialogue(Self.json(server.port)).responder().respond(to: request(nil, sound: tone(1, rate: 16_000))))
      #expect(answer.error == nil && answer.isDone)
      #expect(answer.text == "Hello there.")
      #expect(answer.rates == [24_000])
      let expected = dialect == .openAI ? Array(Self.sound.samples.prefix(answer.samples.count)) : Self.sound.samples
      #expect(answer.samples == expected && answer.samples.count > 11_900)
    }

    @Test func `the user's sound and the conversation are sent as each server wants them`() async throws {
      let server = try await FakeServer(http: { _, answer in
        try await answer.answer(type: "text/event-stream", Self.exchange(.sglang))
      })
      let heard = PCM(int16: tone(0.1, rate: 16_000).int16, rate: 16_000)
      for (part, prefix) in [
        ("input_audio", ""), ("input_audio_url", "data:;base64,"), ("audio_url", "data:audio/wav;base64,"),
      ] {
        let talk = try dialogue(Self.json(server.port, more: #", "speaker": "Chelsie", "sound_part": "\#(part)""#))
        #expect(talk.responder().hears && talk.transcriber == nil)
        let history = [Turn(.user, "Hi."), Turn(.avatar, "Hello.")]
        _ = await Answer(talk.responder().respond(to: request(nil, sound: heard, history: history)))
        let sent = try #require(server.requests.last).json
        #expect(sent["modalities"] as? [String] == ["text", "audio"])
        #expect((sent["audio"] as? [String: String])?["voice"] == "Chelsie")
        #expect(((sent["stream_options"] as? [String: Bool])?["include_usage"] == true) == (part == "input_audio_url"))
        let messages = try #require(sent["messages"] as? [[String: Any]])
        #expect(messages.count == 4 && messages[2]["content"] as? String == "Hello.")
        let content = try #require((messages[3]["content"] as? [[String: Any]])?.first)
        let data =
          (content["input_audio"] as? [String: String])?["data"] ?? (content["audio_url"] as? [String: String])?["url"]
        #expect(data == prefix + heard.wav.base64)
      }
    }

    @Test func `typed text is sent as text`() async throws {
      let server = try await FakeServer(http: { _, answer in
        try await answer.answer(type: "text/event-stream", Self.exchange(.vllm))
      })
      let answer = await Answer(try dialogue(Self.json(server.port)).responder().respond(to: request()))
      #expect(answer.isDone)
      let messages = server.requests.last?.json["messages"] as? [[String: Any]]
      #expect(messages?.last?["content"] as? String == "How are you?")
    }

    @Test func `what the user said is written down beside the answer, and its failure stops nothing`() async throws {
      for fails in [false, true] {
        let server = try await FakeServer(http: { request, answer in
          if request.head.uri == "/v1/audio/transcriptions" {
            try await answer.answer(fails ? 500 : 200, #"{"text": "How are you?"}"#)
          } else {
            try await answer.answer(type: "text/event-stream", Self.exchange(.vllm))
          }
        })
        let json = """
          {"kind": "omni", "omni": {"url": "http://127.0.0.1:\(server.port)/v1", "model": "qwen"},
           "recognition": {"url": "http://127.0.0.1:\(server.port)/v1", "model": "asr"}}
          """
        let answer = await Answer(
          try dialogue(json).responder().respond(to: request(nil, sound: tone(0.2, rate: 16_000))))
        #expect(answer.isDone && answer.heard == (fails ? [] : ["How are you?"]))
      }
    }

    @Test(arguments: ["UklGRg", "not base64 at all!", ""])
    func `sound that is none gives none, and a broken file an error`(data: String) async throws {
      let server = try await FakeServer(http: { _, answer in
        let wav = Array("RIFF____WAVEjunk".utf8).base64
        try await answer.answer(
          type: "text/event-stream",
          Self.chunk(["audio": ["data": data.isEmpty ? wav : data]]) + Self.chunk([:], finish: "stop"))
      })
      let answer = await Answer(try dialogue(Self.json(server.port)).responder().respond(to: request()))
      #expect(answer.isDone != data.isEmpty)
      #expect((answer.failure?.code == .responderFailed) == data.isEmpty)
    }

    @Test(arguments: Dialect.allCases)
    func `an exchange that is cut off anywhere is an error, never half an answer taken for a whole`(dialect: Dialect)
      async throws
    {
      let bytes = Array(Self.exchange(dialect).utf8)
      for share in [0.1, 0.5, 0.9] {
        let server = try await FakeServer(http: { _, answer in
          try await answer.head()
          try await answer.write(bytes.prefix(Int(Double(bytes.count) * share)))
          try await Task.sleep(for: .milliseconds(30))
          await answer.drop()
        })
        let answer = await Answer(try dialogue(Self.json(server.port)).responder().respond(to: request()))
        #expect(!answer.events.contains(.done) && answer.failure?.code == .responderFailed, "at \(share)")
      }
    }
  }
}
