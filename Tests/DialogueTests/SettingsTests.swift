import Basics
import Foundation
import Session
import Testing

@testable import Dialogue

@Suite struct SettingsTests {
  private func settings(_ json: String) throws -> DialogueSettings { try DialogueSettings(Data(json.utf8)) }

  private func mistake(_ json: String) -> String {
    do { _ = try settings(json) } catch { return "\(error)" }
    return "none"
  }

  @Test func `without settings typed text is spoken by espeak-ng`() throws {
    #expect(try settings(#"{"kind": "say"}"#) == DialogueSettings())
    #expect(DialogueSettings().voice == .espeak(name: "en-us", rate: 165, pitch: 50))
  }

  @Test func `the smallest settings of each kind are enough`() throws {
    let server = #""url": "http://127.0.0.1:8000/v1", "model": "m""#
    #expect(try settings(#"{"kind": "mirror"}"#).mind == .mirror)
    guard case .pipeline(let text) = try settings(#"{"kind": "pipeline", "text": {\#(server)}}"#).mind else {
      Issue.record("no pipeline")
      return
    }
    #expect(text.server.model == "m" && text.server.place == "http://127.0.0.1:8000" && text.memory == 40)
    guard case .omni(let omni) = try settings(#"{"kind": "omni", "omni": {\#(server)}}"#).mind else {
      Issue.record("no omni")
      return
    }
    #expect(omni.soundPart == .inputAudio)
    let socket = #""url": "ws://127.0.0.1:8000/v1/realtime", "model": "m""#
    guard case .realtime(let realtime) = try settings(#"{"kind": "realtime", "realtime": {\#(socket)}}"#).mind else {
      Issue.record("no realtime")
      return
    }
    #expect(realtime.turns == .session && realtime.dialect == .automatic && realtime.outputRate == 24_000)
  }

  @Test func `DashScope gets sound as it wants it`() throws {
    let json =
      #"{"kind": "omni", "omni": {"url": "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "model": "m"}}"#
    guard case .omni(let omni) = try settings(json).mind else {
      Issue.record("no omni")
      return
    }
    #expect(omni.soundPart == .inputAudioURL)
  }

  @Test func `the examples of the manual are settings`() throws {
    let manual = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../../docs/DIALOGUE.md").standardized
    let parts = try String(contentsOf: manual, encoding: .utf8).components(separatedBy: "```")
    let examples = parts.filter { $0.hasPrefix("json\n") }.map { String($0.dropFirst(5)) }
    #expect(examples.count >= 8)
    for example in examples { #expect(throws: Never.self, "\(example)") { try settings(example) } }
  }

  @Test(arguments: [
    (#"[]"#, "dialogue.json is not a JSON object: see docs/DIALOGUE.md for what it holds."),
    (#"{"#, "dialogue.json is not a JSON object: see docs/DIALOGUE.md for what it holds."),
    (#"{}"#, "dialogue.json: 'kind' is missing: choose say, mirror, pipeline, omni, realtime."),
    (#"{"kind": "sing"}"#, "dialogue.json: 'kind' is not one of 'say', 'mirror', 'pipeline', 'omni', 'realtime'."),
    (
      #"{"kind": "say", "voicee": {}}"#,
      "dialogue.json: unknown key 'voicee'; did you mean 'voice'?"
    ),
    (
      #"{"kind": "say", "voice": {"kind": "espeak-ng", "speed": 3}}"#,
      "dialogue.json: unknown key 'voice.speed'; known are 'kind', 'name', 'pitch', 'rate'."
    ),
    (
      #"{"kind": "say", "voice": {"kind": "espeak-ng", "name": "-w x"}}"#,
      "dialogue.json: 'voice.name' is not the name of a voice."
    ),
    (
      #"{"kind": "say", "voice": {"kind": "espeak-ng", "rate": true}}"#,
      "dialogue.json: 'voice.rate' is not a whole number from 80 to 450."
    ),
    (#"{"kind": "pipeline"}"#, "dialogue.json: 'text' is missing: the server of the text model."),
    (
      #"{"kind": "pipeline", "text": {"url": "ftp://x", "model": "m"}}"#,
      "dialogue.json: 'text.url' is not an address that begins with http:// or https://."
    ),
    (
      #"{"kind": "pipeline", "text": {"url": "http://u:p@x/v1", "model": "m"}}"#,
      "dialogue.json: 'text.url' may hold no user, password, query or fragment: name the key's variable in 'key'."
    ),
    (
      #"{"kind": "pipeline", "text": {"url": "http://x/v1"}}"#,
      "dialogue.json: 'text.model' is missing: the name by which the server knows its model."
    ),
    (
      #"{"kind": "pipeline", "text": {"url": "http://x/v1", "model": "m", "temperature": 3}}"#,
      "dialogue.json: 'text.temperature' is not a number from 0.0 to 2.0."
    ),
    (
      #"{"kind": "say", "timeouts": {"attempts": 0}}"#,
      "dialogue.json: 'timeouts.attempts' is not a whole number from 1 to 10."
    ),
    (
      #"{"kind": "mirror", "recognition": {"url": "http://x/v1", "model": "m"}}"#,
      "dialogue.json: unknown key 'recognition'; known are 'kind', 'timeouts', 'turn_taking', 'voice'."
    ),
    (
      #"{"kind": "say", "turn_taking": {"prepare_answers": 1}}"#,
      "dialogue.json: 'turn_taking.prepare_answers' is not true or false."
    ),
    (
      #"{"kind": "say", "turn_taking": {"backchannels": "yes"}}"#,
      "dialogue.json: 'turn_taking.backchannels' is not a list of texts."
    ),
    (
      #"{"kind": "say", "turn_taking": {"shortest_end_silence": 2, "longest_end_silence": 1}}"#,
      "dialogue.json: 'turn_taking.longest_end_silence' is not a number from 2.0 to 30.0."
    ),
  ])
  func `every mistake is one sentence that names its place`(json: String, sentence: String) {
    #expect(mistake(json) == sentence)
  }

  @Test func `turn-taking is a setting, the rest of it as it was`() throws {
    let json = #"""
      {"kind": "say", "turn_taking": {"shortest_end_silence": 0.8, "prepare_answers": false, "backchannels": ["Hai"]}}
      """#
    let turns = try DialogueSettings(Data(json.utf8)).turnTaking
    #expect(turns.shortestEndSilence == 0.8 && !turns.preparesAnswers && turns.backchannels == ["hai"])
    var rest = turns
    rest.shortestEndSilence = TurnSettings().shortestEndSilence
    rest.preparesAnswers = true
    rest.backchannels = TurnSettings().backchannels
    #expect(rest == TurnSettings())
  }

  @Test func `a key in the place of its variable's name is refused and not repeated`() {
    let key = "sk-proj-0123456789abcdef"
    let sentence = mistake(#"{"kind": "pipeline", "text": {"url": "http://x/v1", "model": "m", "key": "\#(key)"}}"#)
    #expect(sentence.contains("'text.key' is the name of an environment variable"))
    #expect(!sentence.contains("0123456789"))
  }

  @Test func `a key that the environment lacks is missed at once`() throws {
    let json = #"{"kind": "pipeline", "text": {"url": "http://x/v1", "model": "m", "key": "MY_KEY"}}"#
    #expect(throws: LiveTalkError("The environment has no MY_KEY, which holds the key of the text model: set it.")) {
      try dialogue(json)
    }
    #expect(throws: LiveTalkError.self) { try dialogue(json, ["MY_KEY": "two\nlines"]) }
    #expect(throws: Never.self) { try dialogue(json, ["MY_KEY": "secret"]) }
  }

  @Test func `a file that is not there is named`() {
    let url = URL(fileURLWithPath: "/nowhere/dialogue.json")
    #expect(
      throws: LiveTalkError("The dialogue's settings /nowhere/dialogue.json cannot be read: there is no such file.")
    ) {
      try DialogueSettings(contentsOf: url)
    }
  }
}
