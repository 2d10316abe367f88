import Foundation
import Testing

@testable import Dialogue

/// Whatever a dialogue's settings say, reading them throws one sentence or works: it never ends the process.
@Suite struct SettingsValuesTests {
  private static let pipeline =
    #"{"kind": "pipeline", "text": {"url": "http://h:1/v1", "model": "m"}, "voice": {"kind": "espeak-ng"}}"#
  private static let realtime = #"{"kind": "realtime", "realtime": {"url": "ws://h:1/v1", "model": "m"}}"#
  private static let values = [
    "-1", "2000000000", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "1e30", "1e400", "true",
    "\"text\"", "[]", "{}",
    "[1]", "-1e400",
  ]
  private static let numbers = [
    (pipeline, "text", "temperature"), (pipeline, "text", "max_tokens"), (pipeline, "text", "memory"),
    (pipeline, "voice", "rate"),
    (pipeline, "voice", "pitch"), (pipeline, "timeouts", "connect"), (pipeline, "timeouts", "first"),
    (pipeline, "timeouts", "idle"),
    (pipeline, "timeouts", "attempts"), (realtime, "realtime", "input_rate"), (realtime, "realtime", "output_rate"),
  ]

  private func read(_ text: String) -> String {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("dialogue-\(UUID().uuidString).json")
    defer { try? FileManager.default.removeItem(at: file) }
    do {
      try Data(text.utf8).write(to: file)
      _ = try DialogueSettings(contentsOf: file)
      return ""
    } catch { return "\(error)" }
  }

  private func changed(_ text: String, _ object: String, _ key: String, _ value: String) throws -> String {
    var fields = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    var inner = fields[object] as? [String: Any] ?? [:]
    inner[key] = "@@"
    fields[object] = inner
    return String(decoding: try JSONSerialization.data(withJSONObject: fields), as: UTF8.self).replacing(
      "\"@@\"", with: value)
  }

  @Test(arguments: numbers.indices)
  func `every number has its bounds`(index: Int) throws {
    let (text, object, key) = Self.numbers[index]
    #expect(read(text) == "")
    for value in Self.values {
      let refused = read(try changed(text, object, key, value))
      #expect(refused.contains(key) || refused.contains("not a JSON object"), "\(key): \(value): \(refused)")
    }
  }

  @Test(arguments: ["kind", "text", "voice", "timeouts", "recognition"], values + ["null", "0"])
  func `every object and word is one`(key: String, value: String) throws {
    var fields = try #require(JSONSerialization.jsonObject(with: Data(Self.pipeline.utf8)) as? [String: Any])
    fields[key] = "@@"
    let text = String(decoding: try JSONSerialization.data(withJSONObject: fields), as: UTF8.self).replacing(
      "\"@@\"", with: value)
    // An empty object leaves everything as it is where nothing in it is needed.
    if key != "timeouts" || value != "{}" { #expect(!read(text).isEmpty, "\(key): \(value)") }
  }
}
