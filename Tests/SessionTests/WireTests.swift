import Foundation
import Testing

@testable import Session

@Suite struct WireTests {
  static let commands: [SessionCommand] = [
    .appendUserAudio(PCM([0, 0.5, -1], rate: 16_000)), .commitUserAudio, .userTranscript("hello", isFinal: false),
    .text("a"), .say("b"), .appendSpeech(PCM([0.25], rate: 24_000)), .finishSpeech, .interrupt, .setPrompt("A man."),
    .setAvatar("leo"), .played(sample: 48_000), .close,
  ]

  static let events: [SessionEvent] = [
    .state(.thinking), .userSpeechStarted, .userSpeechStopped, .userTranscript("hello", isFinal: true),
    .avatarTranscript(first, delta: "Hi", at: 0.5),
    .playbackStarted(second, sample: 12),
    .playbackFinished(second, playedSeconds: 1.5, wasInterrupted: true, text: "x"),
    .playbackCleared(sample: 4), .metrics(SessionMetrics()), .error(SessionError(.tooMuch, "No.")), .closed(.expired),
  ]

  @Test(arguments: commands) func `commands are what they were after JSON`(command: SessionCommand) throws {
    let json = try JSONEncoder().encode(command)
    #expect(try JSONDecoder().decode(SessionCommand.self, from: json) == command)
  }

  @Test(arguments: events) func `events are what they were after JSON`(event: SessionEvent) throws {
    let json = try JSONEncoder().encode(event)
    #expect(try JSONDecoder().decode(SessionEvent.self, from: json) == event)
  }

  @Test func `the JSON is the documented one`() throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    func json(_ value: some Encodable) throws -> String { String(decoding: try encoder.encode(value), as: UTF8.self) }
    #expect(try json(SessionCommand.say("Hello.")) == #"{"text":"Hello.","type":"say"}"#)
    #expect(
      try json(SessionCommand.appendUserAudio(PCM([0, -1], rate: 16_000)))
        == #"{"audio":{"pcm":"AAAAgA==","rate":16000},"type":"user_audio.append"}"#)
    #expect(
      try json(SessionEvent.playbackFinished(first, playedSeconds: 0.5, wasInterrupted: true, text: "Hi"))
        == #"{"interrupted":true,"played_seconds":0.5,"text":"Hi","type":"playback.finished","utterance":1}"#)
  }

  @Test(arguments: [
    "", "{}", "[]", #"{"type":"fly"}"#, #"{"type":"say"}"#, #"{"type":"user_audio.append","audio":{"rate":16000}}"#,
    #"{"type":"user_audio.append","audio":{"rate":16000,"pcm":"???"}}"#,
    #"{"type":"user_audio.append","audio":{"rate":0,"pcm":""}}"#,
    #"{"type":"user_audio.append","audio":{"rate":99999999,"pcm":""}}"#, #"{"type":"played","sample":1e99}"#,
  ])
  func `what is no command is refused`(json: String) {
    #expect(throws: DecodingError.self) { try JSONDecoder().decode(SessionCommand.self, from: Data(json.utf8)) }
  }

  @Test func `sound of 16 bits is clipped, not turned over`() {
    #expect(PCM([2, -2, .nan, 1], rate: 8000).int16 == [0xFF, 0x7F, 0, 0x80, 0, 0, 0xFF, 0x7F])
    #expect(PCM(int16: [0, 0x80, 7], rate: 8000).samples == [-1])
  }

  @Test func `every error has a code of its own`() {
    let codes = SessionError.Code.allCases.map(\.rawValue)
    #expect(Set(codes).count == codes.count && codes.allSatisfy { !$0.isEmpty })
  }
}
