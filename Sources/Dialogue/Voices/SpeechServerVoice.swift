import NIOCore
import Session

/// Any `/v1/audio/speech`: the sound is passed on as it comes, as raw bytes or as server-sent events.
struct SpeechServerVoice: SentenceVoice {
  let settings: SpeechServerSettings
  let server: APIServer

  func speak(_ sentence: String, _ sound: @escaping @Sendable (PCM) -> Void) async throws {
    var request: [String: any Sendable] = [
      "model": settings.server.model, "input": sentence, "voice": settings.voice,
      "response_format": settings.format.rawValue,
    ]
    if let speed = settings.speed { request["speed"] = speed }
    if let instructions = settings.instructions { request["instructions"] = instructions }
    // vLLM-Omni streams events with the first field, OpenAI with the second; Kokoro streams bytes.
    if settings.stream == .sse {
      request["stream"] = true
      request["stream_format"] = "sse"
    } else {
      request["stream_format"] = "audio"
    }
    let accept = settings.stream == .sse ? "text/event-stream" : "application/octet-stream, audio/*"
    try await server.post("audio/speech", body: Array(JSONObject.encoded(request).utf8), accept: accept) { body in
      do {
        // What arrives decides: some servers know only one of the two.
        if body.contentType.hasPrefix("text/event-stream") {
          try await readEvents(body, sound)
        } else if body.contentType.hasPrefix("application/json") || body.contentType.hasPrefix("text/") {
          let text = String(decoding: try await body.collect(upTo: 4096), as: UTF8.self)
          throw JSONObject(text)?.errorMessage.map(server.reported) ?? server.garbled()
        } else {
          try await readBytes(body, sound)
        }
      } catch is SoundDecoder.Failure {
        throw server.reported("sound in a form that is not read; ask for WAV or PCM of 16 bits")
      }
    }
  }

  private func readBytes(_ body: APIServer.Body, _ sound: (PCM) -> Void) async throws {
    var decoder = SoundDecoder(rate: settings.rate)
    var hasSound = false
    while let bytes = try await body.next() {
      if let pcm = try decoder.bytes(bytes.readableBytesView) {
        hasSound = true
        sound(pcm)
      }
    }
    guard hasSound else { throw server.garbled() }
  }

  private func readEvents(_ body: APIServer.Body, _ sound: (PCM) -> Void) async throws {
    var decoder = SoundDecoder(rate: settings.rate)
    var parser = ServerSentEventParser()
    while let bytes = try await body.next() {
      for event in try parser.append(bytes.readableBytesView) {
        if event.data == "[DONE]" { return }
        guard let object = JSONObject(event.data), object.isObject else { throw server.garbled() }
        switch object["type"].text ?? event.name {
        case "speech.audio.delta":
          guard let piece = object["audio"].bytes else { throw server.garbled() }
          if let pcm = try decoder.piece(piece) { sound(pcm) }
        case "speech.audio.done": return
        case "error": throw server.reported(object.errorMessage ?? "an error without a message")
        default: break
        }
      }
    }
    throw server.brokenOff()
  }
}
