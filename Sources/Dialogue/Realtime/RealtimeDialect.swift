import Foundation
import Session

/// How a server spells the Realtime protocol.
enum RealtimeDialect: Hashable, Sendable {
  /// OpenAI's released names; vLLM-Omni since August 2026. 24 kHz both ways.
  case released
  /// OpenAI's older names and a flat session: SGLang-Omni, DashScope, Dynamo. 16 kHz in, 24 kHz out.
  case flat
  /// vLLM-Omni before: a session without settings, `commit` with `final`, no items and no cancel. 16 kHz in.
  case committed

  /// By what the server's first event says of its session.
  init(sessionCreated event: JSONObject) {
    let session = event["session"]
    if session["audio"].exists || session["output_modalities"].exists || session["type"].text == "realtime" {
      self = .released
    } else {
      self = session.exists ? .flat : .committed
    }
  }

  init?(_ setting: RealtimeSettings.Dialect) {
    switch setting {
    case .automatic: return nil
    case .released: self = .released
    case .flat: self = .flat
    case .committed: self = .committed
    }
  }

  /// Samples per second of the user's sound.
  var inputRate: Int { self == .released ? 24_000 : 16_000 }

  /// The event's name as it is released.
  static func released(_ name: String) -> String {
    for part in ["audio", "audio_transcript", "text"] {
      for end in ["delta", "done"] where name == "response.\(part).\(end)" { return "response.output_\(part).\(end)" }
    }
    return name
  }

  /// The first event to send.
  func sessionUpdate(_ settings: RealtimeSettings, inputRate: Int) -> [String: any Sendable] {
    let turns: (any Sendable)? =
      settings.turns == .server
      ? ["type": "server_vad", "create_response": true, "interrupt_response": true] as [String: any Sendable] : nil
    switch self {
    case .released:
      var input: [String: any Sendable] = [
        "format": ["type": "audio/pcm", "rate": inputRate] as [String: any Sendable],
        "turn_detection": turns ?? NSNull(),
      ]
      if let model = settings.transcription { input["transcription"] = ["model": model] }
      var output: [String: any Sendable] = [
        "format": ["type": "audio/pcm", "rate": settings.outputRate] as [String: any Sendable]
      ]
      if let speaker = settings.speaker { output["voice"] = speaker }
      return [
        "type": "session.update",
        "session": [
          "type": "realtime", "instructions": settings.instructions ?? ChatStream.standardInstructions,
          "output_modalities": ["audio"], "audio": ["input": input, "output": output],
        ] as [String: any Sendable],
      ]
    case .flat:
      var session: [String: any Sendable] = [
        "modalities": ["text", "audio"], "instructions": settings.instructions ?? ChatStream.standardInstructions,
        "input_audio_format": "pcm16", "output_audio_format": "pcm16", "turn_detection": turns ?? NSNull(),
      ]
      if let speaker = settings.speaker { session["voice"] = speaker }
      if let model = settings.transcription { session["input_audio_transcription"] = ["model": model] }
      return ["type": "session.update", "session": session]
    case .committed: return ["type": "session.update", "model": settings.server.model]
    }
  }
}
