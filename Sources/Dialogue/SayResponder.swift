import Session

/// Speaks what is typed, and repeats what is said where somebody writes it down.
struct SayResponder: Responder {
  let voice: any SentenceVoice

  var hears: Bool { false }

  func respond(to request: ResponseRequest) -> AsyncThrowingStream<SpeechEvent, any Error> {
    voice.speech(of: request.text ?? "")
  }
}
