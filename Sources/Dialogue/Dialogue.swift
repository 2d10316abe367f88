import Basics
import Foundation
package import Session

/// Who thinks and speaks for the avatars of a server: makes what each session needs from the settings.
package struct Dialogue: Sendable {
  package let settings: DialogueSettings
  /// Reads text aloud.
  package let voice: any Voice
  /// Writes speech down; nil where the browser does, or where the responder hears.
  package let transcriber: (any Transcriber)?

  private let makeResponder: @Sendable () -> any Responder

  /// - Parameter environment: where the keys are.
  /// - Throws: `LiveTalkError` where the environment lacks a key.
  package init(
    _ settings: DialogueSettings, environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws {
    let timeouts = settings.timeouts
    func server(_ settings: ServerSettings, _ role: String, _ failed: SessionError.Code, _ timedOut: SessionError.Code)
      throws -> APIServer
    {
      try APIServer(
        settings, role: role, failed: failed, timedOut: timedOut, timeouts: timeouts, environment: environment)
    }
    let voice: any SentenceVoice
    switch settings.voice {
    case .espeak(let name, let rate, let pitch):
      voice = ProgramVoice.espeak(name: name, rate: rate, pitch: pitch, idle: timeouts.idle)
    case .flite(let name): voice = ProgramVoice.flite(name: name, idle: timeouts.idle)
    case .piper(let python, let model):
      let piper = PiperVoice(python: python, model: model, first: max(timeouts.first, 60), idle: timeouts.idle)
      voice = piper
      Task { await piper.start() }
    case .server(let speech):
      voice = SpeechServerVoice(
        settings: speech, server: try server(speech.server, "voice", .voiceFailed, .voiceFailed))
    }
    let recognition = try settings.recognition.map {
      SpeechRecognition(
        settings: $0,
        server: try server($0.server, "speech recognition", .transcriptionFailed, .transcriptionFailed))
    }
    self.settings = settings
    self.voice = voice
    var transcriber: (any Transcriber)? = recognition
    switch settings.mind {
    case .say: makeResponder = { SayResponder(voice: voice) }
    case .mirror: makeResponder = { MirrorResponder(voice: voice) }
    case .pipeline(let text):
      let model = try server(text.server, "text model", .responderFailed, .responderTimedOut)
      makeResponder = { PipelineResponder(settings: text, server: model, voice: voice) }
    case .omni(let omni):
      let model = try server(omni.model.server, "model", .responderFailed, .responderTimedOut)
      // It transcribes beside its answer, not before.
      transcriber = nil
      makeResponder = { OmniResponder(settings: omni, server: model, transcriber: recognition) }
    case .realtime(let realtime):
      let key = try APIServer.key(realtime.server, role: "model", environment)
      makeResponder = {
        let responder = RealtimeResponder(realtime, key: key, timeouts: timeouts)
        Task { await responder.open() }
        return responder
      }
    }
    self.transcriber = transcriber
  }

  /// A responder for one session.
  package func responder() -> any Responder { makeResponder() }
}
