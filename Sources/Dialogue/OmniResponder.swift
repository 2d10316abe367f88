import Session

/// A model that hears and speaks, such as Qwen3-Omni, over streamed `/v1/chat/completions`.
///
/// The dialects of its servers are told apart by what arrives:
/// - vLLM-Omni: chunks with `modality` "audio" carry base64 in `delta.content`, each a whole WAV file;
/// - SGLang-Omni: `delta.audio.data` beside text in `delta.content`;
/// - DashScope: `delta.audio.data` without a header though it is asked for as WAV.
struct OmniResponder: Responder {
  let settings: OmniSettings
  let server: APIServer
  /// Writes down what the user says, for the captions; the model itself does not tell.
  let transcriber: (any Transcriber)?

  var hears: Bool { true }

  /// Of sound without a header.
  private static let sampleRate = 24_000
  private static let longestWaitForCaptions = 2.0

  func respond(to request: ResponseRequest) -> AsyncThrowingStream<SpeechEvent, any Error> {
    let body = body(request)
    return speechStream { output in
      try await withThrowingTaskGroup(of: Void.self) { group in
        if let transcriber, let sound = request.sound, request.text == nil {
          group.addTask {
            // Captions that fail are no reason to stop the answer.
            if let text = try? await transcriber.transcribe(sound), !text.isEmpty { output.yield(.heard(text)) }
          }
        }
        let answer = OmniAnswer(rate: Self.sampleRate)
        try await ChatStream.run(server, body) { chunk in
          do {
            for event in try await answer.events(of: chunk) { output.yield(event) }
          } catch is SoundDecoder.Failure {
            throw server.reported("sound in a form that is not read; ask for WAV or PCM of 16 bits")
          }
        }
        if !group.isEmpty {
          // Captions that are late are not worth a pause.
          group.addTask { try? await Task.sleep(for: .seconds(Self.longestWaitForCaptions)) }
          _ = try await group.next()
          group.cancelAll()
        }
        try Task.checkCancellation()
        output.yield(.done)
      }
    }
  }

  private func body(_ request: ResponseRequest) -> [String: any Sendable] {
    var messages = ChatStream.messages(settings.model, request.history)
    if let sound = request.sound {
      messages.append(["role": "user", "content": [part(sound)] as [any Sendable]])
    } else {
      messages.append(["role": "user", "content": request.text ?? ""])
    }
    var body = ChatStream.request(settings.model, messages: messages)
    body["modalities"] = ["text", "audio"]
    var audio: [String: any Sendable] = ["format": "wav"]
    if let speaker = settings.speaker {
      audio["voice"] = speaker
      // vLLM-Omni's own field.
      if settings.soundPart != .inputAudioURL { body["speaker"] = speaker }
    }
    body["audio"] = audio
    if settings.soundPart == .inputAudioURL { body["stream_options"] = ["include_usage": true] }
    return body
  }

  private func part(_ sound: PCM) -> [String: any Sendable] {
    let data = sound.wav.base64
    switch settings.soundPart {
    case .inputAudio: return ["type": "input_audio", "input_audio": ["data": data, "format": "wav"]]
    case .inputAudioURL:
      return ["type": "input_audio", "input_audio": ["data": "data:;base64,\(data)", "format": "wav"]]
    case .audioURL: return ["type": "audio_url", "audio_url": ["url": "data:audio/wav;base64,\(data)"]]
    }
  }
}

/// What the chunks of one answer say.
actor OmniAnswer {
  private var decoder: SoundDecoder

  init(rate: Int) { decoder = SoundDecoder(rate: rate) }

  /// - Throws: `SoundDecoder.Failure`.
  func events(of chunk: JSONObject) throws -> [SpeechEvent] {
    let delta = chunk["choices"][0]["delta"]
    if chunk["modality"].text == "audio" {
      return try delta["content"].bytes.flatMap(sound).map { [$0] } ?? []
    }
    var events: [SpeechEvent] = []
    // OpenAI's own models put their words beside the sound.
    for text in [delta["content"].text, delta["audio"]["transcript"].text] {
      if let text, !text.isEmpty { events.append(.text(text)) }
    }
    if let bytes = delta["audio"]["data"].bytes, let sound = try sound(bytes) { events.append(sound) }
    return events
  }

  private func sound(_ bytes: [UInt8]) throws -> SpeechEvent? { try decoder.piece(bytes).map { .sound($0) } }
}
