import Session
import Subprocess

/// A program that reads one sentence and writes WAV: espeak-ng and flite. Each sentence is a process of its own, which ends with the
/// task that waits for it.
struct ProgramVoice: SentenceVoice {
  /// Looked for in PATH.
  let program: String
  let arguments: [String]
  /// Whether the sentence is its input; otherwise it is the last argument.
  let readsInput: Bool
  /// Seconds without any sound.
  let idle: Double

  static func espeak(name: String, rate: Int, pitch: Int, idle: Double) -> ProgramVoice {
    ProgramVoice(
      program: "espeak-ng", arguments: ["-v", name, "-s", "\(rate)", "-p", "\(pitch)", "--stdin", "--stdout"],
      readsInput: true, idle: idle)
  }

  static func flite(name: String, idle: Double) -> ProgramVoice {
    ProgramVoice(
      program: "flite", arguments: ["-voice", name, "-o", "/dev/stdout", "-t"], readsInput: false, idle: idle)
  }

  func speak(_ sentence: String, _ sound: @escaping @Sendable (PCM) -> Void) async throws {
    do {
      let status = try await Watchdog.run { watchdog in
        try await run(
          .name(program), arguments: Arguments(arguments + (readsInput ? [] : [sentence])),
          input: .string(readsInput ? sentence : ""), output: .sequence, error: .discarded
        ) { execution in
          var decoder = SoundDecoder(rate: 16_000)
          var output = execution.standardOutput.makeAsyncIterator()
          while let part = try await watchdog.wait(idle, for: { try await output.next() }) {
            if let pcm = try part.withUnsafeBytes({ try decoder.bytes(Array($0)) }) { sound(pcm) }
          }
        }.terminationStatus
      }
      try Task.checkCancellation()
      guard case .exited(0) = status else { throw failure("cannot read this text (\(status))") }
    } catch let error as SubprocessError where error.code == .executableNotFound {
      throw failure("is not there: install \(program), or choose another voice in the dialogue's settings")
    } catch let error as SessionError {
      throw error
    } catch is Watchdog.Expired {
      throw failure("does not answer in time")
    } catch is SoundDecoder.Failure {
      throw failure("writes sound in a form that is not read")
    } catch {
      try Task.checkCancellation()
      throw failure("cannot be run (\(error))")
    }
  }

  private func failure(_ what: String) -> SessionError { SessionError(.voiceFailed, "The voice \(program) \(what).") }
}
