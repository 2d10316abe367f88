import Foundation
import Session
import Testing

@testable import Dialogue

/// What a stream gave before it ended or threw.
struct Answer: Sendable {
  var events: [SpeechEvent] = []
  var error: (any Error)?

  var text: String { events.map { if case .text(let text, _) = $0 { text } else { "" } }.joined() }
  var heard: [String] { events.compactMap { if case .heard(let text) = $0 { text } else { nil } } }
  var sounds: [PCM] { events.compactMap { if case .sound(let sound) = $0 { sound } else { nil } } }
  var samples: [Float] { sounds.flatMap(\.samples) }
  var rates: Set<Int> { Set(sounds.map(\.rate)) }
  var isDone: Bool { events.last == .done && events.count { $0 == .done } == 1 }
  var failure: SessionError? { error as? SessionError }

  init(_ stream: AsyncThrowingStream<SpeechEvent, any Error>) async {
    do { for try await event in stream { events.append(event) } } catch { self.error = error }
  }
}

/// Suites that talk to servers and programs: one test at a time, as each uses the whole machine.
@Suite(.serialized) enum NetworkTests {}

/// A request with one turn of history.
func request(_ text: String? = "How are you?", sound: PCM? = nil, history: [Turn] = []) -> ResponseRequest {
  ResponseRequest(utterance: UtteranceID(rawValue: history.count + 1), history: history, text: text, sound: sound)
}

/// A tone.
func tone(_ seconds: Double, rate: Int, hertz: Double = 220) -> PCM {
  PCM(
    (0..<Int(seconds * Double(rate))).map { Float(0.5 * sin(2 * .pi * hertz * Double($0) / Double(rate))) }, rate: rate)
}

/// A dialogue of settings in JSON. Its time limits are long, as a test machine may be busy; tests of stalls set shorter ones.
func dialogue(
  _ json: String, _ environment: [String: String] = [:], connect: Double = 60, first: Double = 60, idle: Double = 60
) throws -> Dialogue {
  var settings = try DialogueSettings(Data(json.utf8))
  (settings.timeouts.connect, settings.timeouts.first, settings.timeouts.idle) = (connect, first, idle)
  return try Dialogue(settings, environment: environment)
}

/// A `data` line of an event stream.
func event(_ object: [String: Any]) -> String { "data: \(JSONText.of(object))\n\n" }

enum JSONText {
  static func of(_ object: [String: Any]) -> String {
    let data = try? JSONSerialization.data(withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes])
    return data.map { String(decoding: $0, as: UTF8.self) } ?? ""
  }
}
