import Session

typealias SpeechOutput = AsyncThrowingStream<SpeechEvent, any Error>.Continuation

/// A stream of what `work` gives. Whoever stops reading cancels the work; work that was cancelled ends without `done`.
func speechStream(
  _ work: @escaping @Sendable (SpeechOutput) async throws -> Void
) -> AsyncThrowingStream<SpeechEvent, any Error> {
  AsyncThrowingStream { output in
    let task = Task {
      do {
        try await work(output)
        output.finish()
      } catch is CancellationError {
        output.finish()
      } catch {
        output.finish(throwing: error)
      }
    }
    output.onTermination = { _ in task.cancel() }
  }
}
