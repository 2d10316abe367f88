import Foundation
import Session
import Synchronization

@testable import Dialogue

/// Servers that talk as those of each dialect do, and what clients sent to them.
extension NetworkTests.RealtimeTests {
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
      let bytes = NetworkTests.RealtimeTests.sound.int16
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
}
