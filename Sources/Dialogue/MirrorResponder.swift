import Session

/// The user's own voice drives the avatar. Typed text is spoken by a voice.
struct MirrorResponder: Responder {
  let voice: any SentenceVoice

  var hears: Bool { true }

  func respond(to request: ResponseRequest) -> AsyncThrowingStream<SpeechEvent, any Error> {
    guard let sound = request.sound else { return voice.speech(of: request.text ?? "") }
    return speechStream { output in
      if let text = request.text, !text.isEmpty { output.yield(.text(text, at: 0)) }
      output.yield(.sound(sound))
      output.yield(.done)
    }
  }
}
