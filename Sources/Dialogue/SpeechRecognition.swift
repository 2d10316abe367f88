import Session

/// Writes speech down by any `/v1/audio/transcriptions`.
struct SpeechRecognition: Transcriber {
  let settings: RecognitionSettings
  let server: APIServer

  func transcribe(_ sound: PCM) async throws -> String {
    var form = MultipartForm()
    form.add("model", settings.server.model)
    form.add("response_format", "json")
    if let language = settings.language { form.add("language", language) }
    if let prompt = settings.prompt { form.add("prompt", prompt) }
    form.add("file", file: "speech.wav", type: "audio/wav", sound.wav)
    form.finish()
    return try await server.post(
      "audio/transcriptions", body: form.bytes, contentType: form.contentType, accept: "application/json"
    ) { body in
      let answer = String(decoding: try await body.collect(upTo: 1 << 20), as: UTF8.self)
      guard let text = JSONObject(answer)?["text"].text else { throw server.garbled() }
      return text.trimmed
    }
  }
}
