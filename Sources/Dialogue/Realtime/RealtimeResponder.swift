import Foundation
import Media
import Session
import WebSocketClient

/// A model behind the Realtime WebSocket protocol. One connection lasts as long as the session; one that drops is opened again for the
/// next turn, and the conversation is told to it.
actor RealtimeResponder: Responder {
  nonisolated let hears = true
  /// A turn that was committed stays in the server's conversation.
  nonisolated let allowsPreparing = false

  private let settings: RealtimeSettings
  private let key: String?
  private let timeouts: DialogueTimeouts
  private var connection: Connection?
  private var connecting: Task<Void, any Error>?
  private var reader: Reader?
  private var isClosed = false
  private var lastTry: ContinuousClock.Instant?

  /// The socket with its protocol; another one takes its place when it drops.
  private final class Connection {
    let socket: WebSocket
    var state: RealtimeProtocol
    var resampler: Resampler?
    var task: Task<Void, Never>?
    /// Whether the conversation so far is known to the server.
    var knowsHistory = false
    /// What it said in place of a greeting.
    var refusal: SessionError?
    /// Why its socket ended.
    var ending: (any Error)?

    init(_ socket: WebSocket, _ state: RealtimeProtocol) { (self.socket, self.state) = (socket, state) }
  }

  /// Who reads the answer that is being made.
  private struct Reader: Sendable {
    let utterance: UtteranceID
    let output: SpeechOutput
    let end: AsyncStream<Void>.Continuation
    /// When the last part of the answer came, or when it was asked for.
    var last = ContinuousClock.now
    var hasBegun = false
  }

  init(_ settings: RealtimeSettings, key: String?, timeouts: DialogueTimeouts) {
    (self.settings, self.key, self.timeouts) = (settings, key, timeouts)
  }

  /// Sound that the server would hold without a turn; it then starts anew.
  private static let longestSilence = 30.0
  /// How much more sound than the turn itself the server may have in front of it.
  private static let longestPrefix = 3.0

  /// Between tries to connect while nobody waits for an answer.
  private static let pauseBetweenTries = Duration.seconds(5)

  // MARK: Responder

  /// Opens the connection in the background, so that the first turn need not wait for it. Nobody is told where that fails: the
  /// turn will be.
  func open() {
    guard !isClosed, connection == nil, connecting == nil, lastTry.map({ .now - $0 > Self.pauseBetweenTries }) ?? true
    else { return }
    lastTry = .now
    Task { _ = try? await connected() }
  }

  func hear(_ sound: PCM) async {
    // Who listens cannot wait for a connection: a turn of which something is missing is sent whole.
    guard let connection else { return open() }
    if !connection.state.serverTakesTurns, seconds(connection) > Self.longestSilence { forget(connection) }
    if let actions = try? append(sound, connection) { perform(actions, connection) }
  }

  func forgetHeard() async {
    if let connection { forget(connection) }
  }

  private func forget(_ connection: Connection) {
    connection.resampler = nil
    perform(connection.state.clear(), connection)
  }

  nonisolated func respond(to request: ResponseRequest) -> AsyncThrowingStream<SpeechEvent, any Error> {
    speechStream { output in
      // The end of the answer; waiting for it ends when the reader goes away.
      let (ends, end) = AsyncStream.makeStream(of: Void.self)
      try await self.begin(request, Reader(utterance: request.utterance, output: output, end: end))
      try await withTaskCancellationHandler {
        try await withThrowingTaskGroup(of: Bool.self) { group in
          group.addTask {
            for await _ in ends {}
            return true
          }
          group.addTask { try await self.watch(request.utterance) }
          defer { group.cancelAll() }
          _ = try await group.next()
        }
      } onCancel: {
        Task { await self.cancel(request.utterance) }
      }
      try Task.checkCancellation()
      if let error = await self.takeFailure(request.utterance) { throw error }
    }
  }

  func truncate(_ utterance: UtteranceID, playedSeconds: Double, text: String) async {
    if reader?.utterance == utterance { cancel(utterance) }
    guard let connection else { return }
    perform(connection.state.truncate(utterance, playedSeconds: playedSeconds), connection)
  }

  func close() async {
    isClosed = true
    connecting?.cancel()
    let connection = connection
    self.connection = nil
    end(with: nil)
    connection?.task?.cancel()
    connection?.socket.close()
  }

  // MARK: Answers

  private var failure: (utterance: UtteranceID, error: SessionError)?

  private func takeFailure(_ utterance: UtteranceID) -> SessionError? {
    guard let failure, failure.utterance == utterance else { return nil }
    self.failure = nil
    return failure.error
  }

  private func begin(_ request: ResponseRequest, _ reader: Reader) async throws {
    let connection = try await connected()
    end(with: nil)
    failure = nil
    self.reader = reader
    if !connection.knowsHistory {
      connection.knowsHistory = true
      perform(connection.state.recall(request.history), connection)
    }
    if let sound = request.sound, !connection.state.serverTakesTurns {
      try flush(connection)
      // Where the server heard everything as it came, the turn is there already.
      let surplus = seconds(connection) - sound.seconds
      if surplus < -0.02 || surplus > Self.longestPrefix {
        perform(connection.state.clear(), connection)
        perform(try append(sound, connection), connection)
        try flush(connection)
      }
    }
    let text = request.sound == nil ? request.text ?? "" : nil
    perform(connection.state.respond(request.utterance, text: text), connection)
  }

  /// Sends what the resampler still holds.
  private func flush(_ connection: Connection) throws {
    guard let resampler = connection.resampler else { return }
    connection.resampler = nil
    let rest = PCM(try resampler.push(nil), rate: connection.state.inputRate)
    perform(connection.state.append(rest), connection)
  }

  private func seconds(_ connection: Connection) -> Double {
    Double(connection.state.appended) / Double(connection.state.inputRate)
  }

  private func append(_ sound: PCM, _ connection: Connection) throws -> [RealtimeProtocol.Action] {
    let rate = connection.state.inputRate
    guard sound.rate != rate else { return connection.state.append(sound) }
    let resampler = try connection.resampler ?? Resampler(from: sound.rate, to: rate)
    connection.resampler = resampler
    return connection.state.append(PCM(try resampler.push(sound.samples), rate: rate))
  }

  /// Waits until the answer takes too long, and ends it then.
  private func watch(_ utterance: UtteranceID) async throws -> Bool {
    var hasInsisted = false
    while let reader, reader.utterance == utterance {
      let waited = ContinuousClock.now - reader.last
      if !hasInsisted, !reader.hasBegun, waited > .seconds(1.5), let connection {
        hasInsisted = true
        perform(connection.state.insist(), connection)
      }
      if waited > .seconds(reader.hasBegun ? timeouts.idle : timeouts.first) {
        end(
          with: SessionError(
            .responderTimedOut, "The model at \(settings.server.place) does not answer in time: see that it keeps up."))
        if let connection { perform(connection.state.cancel(), connection) }
        return true
      }
      try await Task.sleep(for: .milliseconds(50))
    }
    return true
  }

  private func cancel(_ utterance: UtteranceID) {
    guard reader?.utterance == utterance else { return }
    end(with: nil)
    guard let connection else { return }
    perform(connection.state.cancel(), connection)
  }

  /// Ends the stream of the answer that is read.
  private func end(with error: SessionError?) {
    guard let reader else { return }
    self.reader = nil
    if let error { failure = (reader.utterance, error) }
    reader.end.finish()
  }

  private func perform(_ actions: [RealtimeProtocol.Action], _ connection: Connection) {
    for action in actions {
      switch action {
      case .send(let event): connection.socket.send(.text(JSONObject.encoded(event)))
      case .output(let event):
        reader?.last = .now
        reader?.hasBegun = true
        reader?.output.yield(event)
      case .finished: end(with: nil)
      case .failed(let error): end(with: error)
      case .disconnect: drop(connection)
      }
    }
  }

  // MARK: Connection

  private func connected() async throws -> Connection {
    if let connection { return connection }
    let task = connecting ?? Task { try await connect() }
    connecting = task
    defer { connecting = nil }
    try await task.value
    guard let connection else {
      throw SessionError(
        .responderFailed, "The model at \(settings.server.place) broke off the conversation: ask again.")
    }
    return connection
  }

  private func connect() async throws {
    var url = settings.server.url
    let items = URLComponents(url: url, resolvingAgainstBaseURL: false)?.queryItems ?? []
    if !items.contains(where: { $0.name == "model" }) {
      url.append(queryItems: [URLQueryItem(name: "model", value: settings.server.model)])
    }
    let headers = [("user-agent", "livetalk")] + (key.map { [("authorization", "Bearer \($0)")] } ?? [])
    var backoff = Backoff()
    while true {
      do {
        let socket = try await WebSocket.connect(url, headers: headers, seconds: timeouts.connect)
        return try await greet(socket)
      } catch let error as SessionError {
        throw error
      } catch let error where Self.isWorthAnotherTry(error) && backoff.tries + 1 < timeouts.attempts {
        try await backoff.wait()
      } catch is CancellationError {
        throw CancellationError()
      } catch {
        throw unreachable(error)
      }
    }
  }

  private static func isWorthAnotherTry(_ error: any Error) -> Bool {
    switch error {
    case is CancellationError: false
    case WebSocket.Failure.refused(let status): APIServer.isBusy(status)
    case WebSocket.Failure.closed(let code): !isRefusal(code)
    default: true
    }
  }

  /// Whether a server closes a socket with this code that it does not want: for its policy, or by a code of its own, as those do that
  /// look at the key only then.
  private static func isRefusal(_ code: Int) -> Bool { code == 1_008 || (3_000...4_999).contains(code) }

  private func unreachable(_ error: any Error) -> SessionError {
    let place = settings.server.place
    switch error {
    case WebSocket.Failure.refused(let status):
      let advice = APIServer.isBusy(status) ? "ask again later" : "check the address and the key"
      return SessionError(.responderFailed, "The model at \(place) refuses the connection (\(status)): \(advice).")
    case WebSocket.Failure.closed(let code) where Self.isRefusal(code):
      return SessionError(
        .responderFailed, "The model at \(place) refuses the connection (\(code)): check the address and the key.")
    case is Watchdog.Expired, WebSocket.Failure.timedOut:
      return SessionError(.responderTimedOut, "The model at \(place) does not answer: see that it runs.")
    default:
      return SessionError(
        .responderFailed, "The model at \(place) cannot be reached (\(APIServer.reason(error))): see that it runs.")
    }
  }

  /// Reads the socket until the server has said hello, and goes on reading.
  private func greet(_ socket: WebSocket) async throws {
    let connection = Connection(socket, RealtimeProtocol(settings, key: key))
    let (greetings, greeting) = AsyncStream.makeStream(of: Void.self)
    connection.task = Task {
      do {
        for try await case .text(let message) in socket.messages { self.receive(message, connection, greeting) }
      } catch {
        // However it ended, it is over.
        connection.ending = error
      }
      greeting.finish()
      self.dropped(connection)
    }
    do {
      try await Watchdog.run { [timeouts] watchdog in
        try await watchdog.wait(timeouts.connect) {
          for await _ in greetings { return }
          throw WebSocket.Failure.dropped
        }
      }
    } catch {
      connection.task?.cancel()
      socket.close()
      throw connection.refusal ?? connection.ending ?? error
    }
    if isClosed {
      socket.close()
      throw CancellationError()
    }
  }

  private func receive(_ message: String, _ connection: Connection, _ greeting: AsyncStream<Void>.Continuation) {
    let wasReady = connection.state.isReady
    let actions = connection.state.receive(message)
    for case .failed(let error) in actions where !wasReady {
      connection.refusal = error
      greeting.finish()
    }
    perform(actions, connection)
    guard !wasReady, connection.state.isReady, !isClosed else { return }
    self.connection = connection
    greeting.yield()
  }

  private func drop(_ connection: Connection) {
    if self.connection === connection { self.connection = nil }
    connection.task?.cancel()
    connection.socket.close()
  }

  /// The socket is gone.
  private func dropped(_ connection: Connection) {
    connection.socket.close()
    guard self.connection === connection else { return }
    self.connection = nil
    end(
      with: SessionError(
        .responderFailed, "The model at \(settings.server.place) broke off the conversation: ask again."))
  }
}
