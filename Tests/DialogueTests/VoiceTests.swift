import Foundation
import Session
import Testing

@testable import Dialogue

extension NetworkTests {
  @Suite struct VoiceTests {
    private func loudness(_ samples: [Float]) -> Float {
      (samples.map { $0 * $0 }.reduce(0, +) / Float(max(samples.count, 1))).squareRoot()
    }

    static let local = [
      #"{"kind": "say"}"#, #"{"kind": "say", "voice": {"kind": "espeak-ng", "name": "de", "rate": 200, "pitch": 30}}"#,
      #"{"kind": "say", "voice": {"kind": "flite"}}"#,
    ]

    @Test(arguments: local)
    func `a program speaks a text, sentence by sentence`(json: String) async throws {
      let talk = try dialogue(json)
      let answer = await Answer(talk.responder().respond(to: request("Hello there. This is a second sentence.")))
      #expect(answer.error == nil && answer.isDone && answer.rates.count == 1)
      #expect(answer.text == "Hello there. This is a second sentence.")
      let seconds = Double(answer.samples.count) / Double(answer.rates.first ?? 1)
      #expect((1.2...6).contains(seconds), "\(seconds)")
      #expect(loudness(answer.samples) > 0.02)
      // The second sentence begins where the first ends.
      let times = answer.events.compactMap { event -> Double? in
        if case .text(_, let at) = event { at } else { nil }
      }
      #expect(times.count == 2 && times[0] == 0 && (0.3...seconds - 0.5).contains(times[1]))
    }

    @Test(arguments: ["-w /tmp/x", "--help", "", "…", "\u{0}", "<speak>", "\"; rm -rf /", "日本語"])
    func `any text is only spoken`(text: String) async throws {
      for json in Self.local {
        let answer = await Answer(try dialogue(json).voice.speech(of: text))
        #expect(answer.isDone || answer.failure?.code == .voiceFailed, "\(String(describing: answer.error))")
      }
    }

    @Test func `a voice that there is not, and a program that there is not, are errors`() async throws {
      let unknown = #"{"kind": "say", "voice": {"kind": "espeak-ng", "name": "klingon-prime"}}"#
      let answer = await Answer(try dialogue(unknown).voice.speech(of: "Hello."))
      #expect(answer.failure?.code == .voiceFailed)
      let missing = ProgramVoice(program: "no-such-voice", arguments: [], readsInput: true, idle: 60)
      let none = await Answer(missing.speech(of: "Hello."))
      #expect(
        none.failure?.message
          == "The voice no-such-voice is not there: install no-such-voice, or choose another voice in the dialogue's settings."
      )
    }

    @Test func `a program that hangs is ended`() async throws {
      let hanging = ProgramVoice(program: "sleep", arguments: ["90"], readsInput: true, idle: 0.3)
      let start = ContinuousClock.now
      let answer = await Answer(hanging.speech(of: "Hello."))
      #expect(answer.failure?.message == "The voice sleep does not answer in time.")
      #expect(ContinuousClock.now - start < .seconds(60))
    }

    @Test func `a program whose listener goes away is ended`() async throws {
      let hanging = ProgramVoice(program: "sleep", arguments: ["90"], readsInput: true, idle: 120)
      let start = ContinuousClock.now
      let task = Task { await Answer(hanging.speech(of: "Hello.")) }
      try await Task.sleep(for: .milliseconds(200))
      task.cancel()
      let answer = await task.value
      #expect(answer.events.allSatisfy { if case .text = $0 { true } else { false } })
      #expect(ContinuousClock.now - start < .seconds(60))
    }

    // MARK: A server

    static func json(_ port: Int, _ more: String = "") -> String {
      #"{"kind": "say", "voice": {"kind": "server", "url": "http://127.0.0.1:\#(port)/v1", "model": "tts", "name": "anna"\#(more)}}"#
    }

    static let sound = PCM(int16: tone(0.3, rate: 24_000).int16, rate: 24_000)

    enum Form: String, CaseIterable { case pcm, wav, events, eventsOfWAV }

    @Test(arguments: Form.allCases, [1, 333, 100_000])
    func `a server's sound is the same in every form and however it is cut`(form: Form, size: Int) async throws {
      let server = try await FakeServer(http: { _, answer in
        switch form {
        case .pcm, .wav:
          try await answer.head(type: form == .pcm ? "audio/pcm" : "audio/wav")
          try await answer.write(form == .pcm ? Self.sound.int16 : Self.sound.wav, by: size == 1 ? 3 : size)
        case .events, .eventsOfWAV:
          try await answer.head()
          let pieces = stride(from: 0, to: Self.sound.int16.count, by: form == .events ? 1001 : 2000).map {
            Array(Self.sound.int16[$0..<min($0 + (form == .events ? 1001 : 2000), Self.sound.int16.count)])
          }
          let data = pieces.map { (form == .events ? $0 : PCM(int16: $0, rate: 24_000).wav).base64 }
          let text = data.map { event(["type": "speech.audio.delta", "audio": $0]) }.joined()
          try await answer.write(
            (text + event(["type": "speech.audio.done", "usage": [:] as [String: Int]])).utf8, by: size == 1 ? 5 : size)
        }
        try await answer.finish()
      })
      let more = form == .wav ? #", "format": "wav""# : form == .pcm ? "" : #", "stream": "sse""#
      let answer = await Answer(try dialogue(Self.json(server.port, more)).voice.speech(of: "Hello."))
      #expect(answer.error == nil && answer.isDone && answer.samples == Self.sound.samples)
      let sent = try #require(server.requests.first).json
      #expect(sent["input"] as? String == "Hello." && sent["voice"] as? String == "anna")
      #expect(sent["response_format"] as? String == (form == .wav ? "wav" : "pcm"))
      #expect(sent["stream_format"] as? String == (form == .pcm || form == .wav ? "audio" : "sse"))
    }

    @Test func `sound arrives before the server has made all of it`() async throws {
      let heard = Signal()
      let server = try await FakeServer(http: { _, answer in
        try await answer.head(type: "audio/pcm")
        try await answer.write(Self.sound.int16.prefix(4000))
        guard await heard.wait(60) else { return await answer.drop() }
        try await answer.write(Self.sound.int16.dropFirst(4000))
        try await answer.finish()
      })
      var isDone = false
      for try await event in try dialogue(Self.json(server.port)).voice.speech(of: "Hello.") {
        if case .sound = event { heard.set() }
        if event == .done { isDone = true }
      }
      #expect(isDone && heard.isSet)
    }

    @Test(arguments: ["empty", "error", "json", "event", "cut", "unsupported"])
    func `a server's mistakes are errors of the voice`(mistake: String) async throws {
      let server = try await FakeServer(http: { _, answer in
        switch mistake {
        case "empty": try await answer.answer(type: "audio/pcm", "")
        case "error": try await answer.answer(400, #"{"detail": "no such voice"}"#)
        case "json": try await answer.answer(#"{"error": {"message": "no such voice"}}"#)
        case "event":
          try await answer.answer(
            type: "text/event-stream", event(["type": "error", "error": ["message": "no such voice"]]))
        case "cut":
          try await answer.answer(type: "text/event-stream", event(["type": "speech.audio.delta", "audio": "AAAA"]))
        default:
          try await answer.head(type: "audio/wav")
          var bytes = Self.sound.wav
          bytes[34] = 8
          try await answer.write(bytes)
          try await answer.finish()
        }
      })
      let answer = await Answer(try dialogue(Self.json(server.port)).voice.speech(of: "Hello."))
      #expect(answer.failure?.code == .voiceFailed && !answer.events.contains(.done))
      if ["error", "json", "event"].contains(mistake) {
        #expect(answer.failure?.message.contains("no such voice") == true)
      }
    }

    // MARK: Piper

    /// What `make voice` gets.
    static let python = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../../.voice/bin/python").standardized.path
    static let hasPiper = FileManager.default.isExecutableFile(atPath: python)

    @Test(.enabled(if: hasPiper, "there is no voice: run 'make voice'"))
    func `Piper speaks, keeps its model, and goes on behind a sentence that was given up`() async throws {
      let voice = PiperVoice(python: Self.python, model: nil, first: 120, idle: 120)
      let first = await Answer(voice.speech(of: "Hello there. How are you?"))
      #expect(first.error == nil && first.isDone && first.rates == [22_050])
      #expect(loudness(first.samples) > 0.02)
      let given = Task {
        await Answer(voice.speech(of: "This one is given up in the middle of the very first sentence of it."))
      }
      try await Task.sleep(for: .milliseconds(30))
      given.cancel()
      _ = await given.value
      let start = ContinuousClock.now
      let second = await Answer(voice.speech(of: "Yes."))
      #expect(second.isDone && !second.samples.isEmpty)
      #expect(ContinuousClock.now - start < .seconds(60))
    }

    /// A Piper of a few lines, so that its way of talking is tested where there is none.
    static func stand(_ body: String) throws -> URL {
      let file = FileManager.default.temporaryDirectory.appendingPathComponent("piper-\(UUID().uuidString)")
      let script = """
        #!/usr/bin/env python3
        import sys, time, json
        out = sys.stdout.buffer
        def put(n): out.write(n.to_bytes(4, "little")); out.flush()
        \(body)
        """
      try script.write(to: file, atomically: true, encoding: .utf8)
      try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: file.path)
      return file
    }

    @Test func `a process that speaks Piper's way is read wherever its output is cut`() async throws {
      let program = try Self.stand(
        """
        put(16000)
        for line in sys.stdin:
            if "bad" in json.loads(line):
                put(0xFFFFFFFF)
                continue
            data = bytes([0, 64]) * 1000
            for byte in (2000).to_bytes(4, "little") + data[:10]:
                out.write(bytes([byte])); out.flush(); time.sleep(0.001)
            out.write(data[10:]); put(0)
        """)
      defer { try? FileManager.default.removeItem(at: program) }
      let voice = PiperVoice(python: program.path, model: nil, first: 60, idle: 60)
      for _ in 0..<2 {
        let answer = await Answer(voice.speech(of: "One \"quoted\" \\ line. Two."))
        #expect(answer.isDone && answer.samples == [Float](repeating: 0.5, count: 2000) && answer.rates == [16_000])
      }
      let bad = await Answer(voice.speech(of: "A bad one."))
      #expect(bad.failure?.message == "The voice Piper cannot read this text.")
      #expect(await Answer(voice.speech(of: "Good.")).isDone)
    }

    @Test func `a process that ends, hangs or is not there is an error, and is started anew`() async throws {
      let ends = try Self.stand("put(16000); sys.stdin.readline(); sys.exit(3)")
      defer { try? FileManager.default.removeItem(at: ends) }
      let ending = PiperVoice(python: ends.path, model: nil, first: 60, idle: 60)
      for _ in 0..<2 { #expect(await Answer(ending.speech(of: "Hello.")).failure?.code == .voiceFailed) }
      let hangs = try Self.stand("put(16000); sys.stdin.readline(); time.sleep(90)")
      defer { try? FileManager.default.removeItem(at: hangs) }
      let hanging = await Answer(PiperVoice(python: hangs.path, model: nil, first: 60, idle: 0.3).speech(of: "Hello."))
      #expect(hanging.failure?.message == "The voice Piper does not answer in time.")
      let missing = await Answer(
        PiperVoice(python: "/nowhere/python", model: nil, first: 1, idle: 1).speech(of: "Hello."))
      #expect(missing.failure?.message.contains("run 'make voice'") == true)
    }

    @Test func `the user's own voice comes back as it was`() async throws {
      let sound = tone(0.5, rate: 16_000)
      let responder = try dialogue(#"{"kind": "mirror"}"#).responder()
      #expect(responder.hears)
      let answer = await Answer(responder.respond(to: request(nil, sound: sound)))
      #expect(answer.events == [.sound(sound), .done])
      #expect(await Answer(responder.respond(to: request("Typed."))).isDone)
    }
  }
}
