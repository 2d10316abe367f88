import Basics
package import Foundation
package import Session

/// A server of an OpenAI-compatible interface, and what is asked of it.
package struct ServerSettings: Hashable, Sendable {
  /// Up to and with `/v1`.
  package var url: URL
  package var model: String
  /// The environment variable that holds the key.
  package var key: String?

  /// Only what may be shown: scheme, host and port.
  var place: String {
    let host = url.host ?? ""
    return "\(url.scheme ?? "")://\(host.contains(":") ? "[\(host)]" : host)\(url.port.map { ":\($0)" } ?? "")"
  }
}

/// How long the dialogue waits, in seconds.
package struct DialogueTimeouts: Hashable, Sendable {
  /// For a connection.
  package var connect = 5.0
  /// For the first part of an answer.
  package var first = 20.0
  /// For each further part.
  package var idle = 10.0
  /// How often a connection is tried.
  package var attempts = 3

  package init() {}
}

/// Who reads text aloud.
package enum VoiceSettings: Hashable, Sendable {
  /// espeak-ng's voice; words a minute; pitch from 0 to 99.
  case espeak(name: String, rate: Int, pitch: Int)
  /// flite's voice.
  case flite(name: String)
  /// Any `/v1/audio/speech`.
  case server(SpeechServerSettings)
  /// Piper in a Python of its own; without a model, the voice of `make voice`.
  case piper(python: String, model: String?)

  package static let standard = VoiceSettings.espeak(name: "en-us", rate: 165, pitch: 50)
}

package struct SpeechServerSettings: Hashable, Sendable {
  package enum Stream: String, CaseIterable, Sendable {
    /// Bytes of sound as they are made.
    case audio
    /// Server-sent events.
    case sse
  }

  package enum Format: String, CaseIterable, Sendable { case pcm, wav }

  package var server: ServerSettings
  package var voice: String
  package var format: Format
  package var stream: Stream
  /// Samples per second of `pcm`, which has no header.
  package var rate: Int
  package var speed: Double?
  package var instructions: String?
}

package struct RecognitionSettings: Hashable, Sendable {
  package var server: ServerSettings
  /// ISO 639-1.
  package var language: String?
  package var prompt: String?
}

package struct TextModelSettings: Hashable, Sendable {
  package var server: ServerSettings
  package var instructions: String?
  package var temperature: Double?
  package var maxTokens: Int?
  /// Turns of the conversation that are sent along.
  package var memory: Int
}

package struct OmniSettings: Hashable, Sendable {
  /// How the user's sound is put into a message.
  package enum SoundPart: String, CaseIterable, Sendable {
    /// `input_audio` with base64.
    case inputAudio = "input_audio"
    /// `audio_url` with a data URL.
    case audioURL = "audio_url"
    /// `input_audio` with a data URL, as DashScope wants it.
    case inputAudioURL = "input_audio_url"
  }

  package var model: TextModelSettings
  /// The model's voice.
  package var speaker: String?
  package var soundPart: SoundPart
}

package struct RealtimeSettings: Hashable, Sendable {
  package enum Turns: String, CaseIterable, Sendable {
    /// The session decides when a turn is over.
    case session
    /// The server's own voice activity detection does.
    case server
  }

  /// Event names and session fields.
  package enum Dialect: String, CaseIterable, Sendable {
    /// Told by the server's first event.
    case automatic
    /// OpenAI's released names.
    case released
    /// OpenAI's older names with a flat session: SGLang-Omni, DashScope, Dynamo.
    case flat
    /// vLLM-Omni until August 2026: `commit` with `final`.
    case committed
  }

  package var server: ServerSettings
  package var instructions: String?
  package var speaker: String?
  package var turns: Turns
  package var dialect: Dialect
  /// Samples per second of the user's sound; nil for the dialect's own.
  package var inputRate: Int?
  /// Samples per second of the answer's sound where no event says it.
  package var outputRate: Int
  /// The model that writes down what the user says, where the server has one.
  package var transcription: String?
}

/// Who thinks and speaks for the avatar: what `dialogue.json` says.
package struct DialogueSettings: Hashable, Sendable {
  package enum Kind: String, CaseIterable, Sendable { case say, mirror, pipeline, omni, realtime }

  package enum Mind: Hashable, Sendable {
    /// Speaks what is typed.
    case say
    /// The user's own voice.
    case mirror
    /// A text model and a voice.
    case pipeline(TextModelSettings)
    /// A model that hears and speaks.
    case omni(OmniSettings)
    /// One that does so over a WebSocket.
    case realtime(RealtimeSettings)
  }

  package var mind: Mind
  /// For what is to be spoken as it stands, and for `say` and `pipeline`.
  package var voice: VoiceSettings
  /// nil where the browser recognises speech.
  package var recognition: RecognitionSettings?
  package var timeouts: DialogueTimeouts
  package var turnTaking = TurnSettings()

  /// Speaks what is typed with espeak-ng's voice.
  package init() {
    (mind, voice, recognition, timeouts) = (.say, .standard, nil, DialogueTimeouts())
  }

  /// Reads a `dialogue.json`.
  ///
  /// - Throws: `LiveTalkError` for the first mistake.
  package init(contentsOf url: URL) throws { try self.init(SettingsReader(contentsOf: url)) }

  package init(_ json: Data) throws { try self.init(SettingsReader(json, name: "dialogue.json")) }

  init(_ reader: SettingsReader) throws {
    guard let kind = try reader.choice("kind", Kind.self) else {
      throw reader.error("kind", "is missing: choose \(Kind.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    let mind: Mind =
      switch kind {
      case .say: .say
      case .mirror: .mirror
      case .pipeline: .pipeline(try Self.textModel(try reader.requiredObject("text", "the server of the text model")))
      case .omni: .omni(try Self.omni(try reader.requiredObject("omni", "the server of the model")))
      case .realtime:
        .realtime(try Self.realtime(try reader.requiredObject("realtime", "the server of the model")))
      }
    self.mind = mind
    voice = try reader.object("voice").map(Self.voice) ?? .standard
    // The realtime server writes down what it hears itself, and a mirror needs no words.
    recognition = kind == .realtime || kind == .mirror ? nil : try reader.object("recognition").map(Self.recognition)
    timeouts = try reader.object("timeouts").map(Self.timeouts) ?? DialogueTimeouts()
    turnTaking = try reader.object("turn_taking").map(Self.turnTaking) ?? TurnSettings()
    try reader.finish()
  }

  private static func timeouts(_ reader: SettingsReader) throws -> DialogueTimeouts {
    var timeouts = DialogueTimeouts()
    timeouts.connect = try reader.number("connect", in: 0.1...120) ?? timeouts.connect
    timeouts.first = try reader.number("first", in: 0.1...600) ?? timeouts.first
    timeouts.idle = try reader.number("idle", in: 0.1...600) ?? timeouts.idle
    timeouts.attempts = try reader.integer("attempts", in: 1...10) ?? timeouts.attempts
    try reader.finish()
    return timeouts
  }

  private static func turnTaking(_ reader: SettingsReader) throws -> TurnSettings {
    var turns = TurnSettings()
    turns.shortestEndSilence = try reader.number("shortest_end_silence", in: 0.25...10) ?? turns.shortestEndSilence
    turns.longestEndSilence =
      try reader.number("longest_end_silence", in: turns.shortestEndSilence...30)
      ?? max(turns.longestEndSilence, turns.shortestEndSilence)
    turns.preparesAnswers = try reader.flag("prepare_answers") ?? turns.preparesAnswers
    turns.interruptAfter = try reader.number("interrupt_after", in: 0.1...5) ?? turns.interruptAfter
    turns.falseInterruptionAfter =
      try reader.number("false_interruption_after", in: 0.5...10) ?? turns.falseInterruptionAfter
    turns.echoWarmUp = try reader.number("echo_warm_up", in: 0...60) ?? turns.echoWarmUp
    turns.speechStart = Float(try reader.number("speech_start", in: 0.05...0.99) ?? Double(turns.speechStart))
    turns.speechEnd = min(turns.speechEnd, turns.speechStart)
    turns.apology = try reader.text("apology") ?? turns.apology
    turns.idleAfter = try reader.number("idle_after", in: 1...86_400) ?? turns.idleAfter
    turns.backchannels = try reader.texts("backchannels").map { Set($0.map { $0.lowercased() }) } ?? turns.backchannels
    try reader.finish()
    return turns
  }

  /// - Parameter isSocket: whether the server is reached by WebSocket.
  private static func server(_ reader: SettingsReader, isSocket: Bool = false) throws -> ServerSettings {
    let schemes = isSocket ? ["ws", "wss"] : ["http", "https"]
    let text = try reader.requiredText(
      "url", "where the server is, such as \(schemes[0])://127.0.0.1:8000/v1\(isSocket ? "/realtime" : "")")
    guard let url = URL(string: text), let scheme = url.scheme, schemes.contains(scheme), let host = url.host,
      !host.isEmpty
    else { throw reader.error("url", "is not an address that begins with \(schemes[0]):// or \(schemes[1])://") }
    guard url.user == nil, url.password == nil, url.fragment == nil, isSocket || url.query == nil else {
      throw reader.error("url", "may hold no user, password, query or fragment: name the key's variable in 'key'")
    }
    let key = try reader.text("key")
    if let key, key.range(of: "^[A-Za-z_][A-Za-z0-9_]*$", options: .regularExpression) == nil {
      // It may be the key itself, so it is not repeated.
      throw reader.error("key", "is the name of an environment variable that holds the key, not the key itself")
    }
    return ServerSettings(
      url: url, model: try reader.requiredText("model", "the name by which the server knows its model"), key: key)
  }

  private static func model(_ reader: SettingsReader) throws -> TextModelSettings {
    TextModelSettings(
      server: try server(reader), instructions: try reader.text("instructions"),
      temperature: try reader.number("temperature", in: 0...2),
      maxTokens: try reader.integer("max_tokens", in: 1...1_000_000),
      memory: try reader.integer("memory", in: 0...1000) ?? 40)
  }

  private static func textModel(_ reader: SettingsReader) throws -> TextModelSettings {
    let settings = try model(reader)
    try reader.finish()
    return settings
  }

  private static func omni(_ reader: SettingsReader) throws -> OmniSettings {
    let model = try model(reader)
    let isDashScope = model.server.url.host?.hasSuffix(".aliyuncs.com") == true
    let settings = OmniSettings(
      model: model, speaker: try reader.text("speaker"),
      soundPart: try reader.choice("sound_part", OmniSettings.SoundPart.self)
        ?? (isDashScope ? .inputAudioURL : .inputAudio))
    try reader.finish()
    return settings
  }

  private static func realtime(_ reader: SettingsReader) throws -> RealtimeSettings {
    let settings = RealtimeSettings(
      server: try server(reader, isSocket: true), instructions: try reader.text("instructions"),
      speaker: try reader.text("speaker"),
      turns: try reader.choice("turns", RealtimeSettings.Turns.self) ?? .session,
      dialect: try reader.choice("dialect", RealtimeSettings.Dialect.self) ?? .automatic,
      inputRate: try reader.integer("input_rate", in: 8000...48_000),
      outputRate: try reader.integer("output_rate", in: 8000...48_000) ?? 24_000,
      transcription: try reader.text("transcription"))
    try reader.finish()
    return settings
  }

  private static func recognition(_ reader: SettingsReader) throws -> RecognitionSettings {
    let settings = RecognitionSettings(
      server: try server(reader), language: try reader.text("language"), prompt: try reader.text("prompt"))
    try reader.finish()
    return settings
  }

  private enum VoiceKind: String, CaseIterable { case espeak = "espeak-ng", flite, server, piper }

  private static func voice(_ reader: SettingsReader) throws -> VoiceSettings {
    guard let kind = try reader.choice("kind", VoiceKind.self) else {
      throw reader.error("kind", "is missing: choose \(VoiceKind.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    /// The name of a voice of a program: its arguments are not to be told apart from options by luck.
    func name(_ standard: String) throws -> String {
      let name = try reader.text("name") ?? standard
      guard !name.hasPrefix("-") else { throw reader.error("name", "is not the name of a voice") }
      return name
    }
    let settings: VoiceSettings
    switch kind {
    case .espeak:
      settings = .espeak(
        name: try name("en-us"), rate: try reader.integer("rate", in: 80...450) ?? 165,
        pitch: try reader.integer("pitch", in: 0...99) ?? 50)
    case .flite: settings = .flite(name: try name("slt"))
    case .piper:
      settings = .piper(python: try reader.text("python") ?? ".voice/bin/python", model: try reader.text("model"))
    case .server:
      settings = .server(
        SpeechServerSettings(
          server: try server(reader), voice: try reader.requiredText("name", "a voice that the server has"),
          format: try reader.choice("format", SpeechServerSettings.Format.self) ?? .pcm,
          stream: try reader.choice("stream", SpeechServerSettings.Stream.self) ?? .audio,
          rate: try reader.integer("rate", in: 8000...48_000) ?? 24_000,
          speed: try reader.number("speed", in: 0.25...4), instructions: try reader.text("instructions")))
    }
    try reader.finish()
    return settings
  }
}
