package import Session

/// One connection of the Realtime protocol: what is to be sent for what the session wants, and what the server's events mean. It has no
/// network and no clock.
package struct RealtimeProtocol {
  package enum Action {
    case send([String: any Sendable])
    /// A part of the answer that is being read.
    case output(SpeechEvent)
    /// That answer is whole.
    case finished
    case failed(SessionError)
    /// The server cannot be told to stop otherwise.
    case disconnect
  }

  /// An answer that the session asked for, or that the server began by itself.
  private struct Answer {
    var utterance: UtteranceID?
    /// Whether `response.create` was sent for it.
    var wasRequested = false
    var response: String?
    var item: String?
    var content = 0
    /// Seconds of sound that came.
    var seconds = 0.0
    var rate: Int?
    var isWhole = false
    /// What came before the session asked.
    var early: [SpeechEvent] = []
  }

  private let settings: RealtimeSettings
  private let place: String
  /// What no message may show.
  private let key: String?
  private(set) var dialect: RealtimeDialect?
  /// Whether the server decides when a turn is over.
  private(set) var serverTakesTurns: Bool
  private var answer: Answer?
  /// Answers that were begun, for `truncate`.
  private var spoken: [UtteranceID: (item: String, content: Int, seconds: Double)] = [:]
  /// Responses of which nothing is to be heard any more.
  private var dropped: Set<String> = []
  /// Answers that were cancelled before the server had told their ids.
  private var orphans = 0
  /// What the ids of the sent events stand for.
  private var sent: [String: String] = [:]
  private var events = 0
  /// Samples of the user's sound in the server's buffer.
  private(set) var appended = 0
  /// Whether the server has heard the end of a turn that was not answered yet.
  private var hasServerTurn = false

  package init(_ settings: RealtimeSettings, key: String? = nil) {
    self.settings = settings
    self.key = key
    place = settings.server.place
    dialect = RealtimeDialect(settings.dialect)
    serverTakesTurns = settings.turns == .server
  }

  /// Whether the server has said hello.
  private(set) var isReady = false

  var inputRate: Int { settings.inputRate ?? dialect?.inputRate ?? 24_000 }

  private mutating func send(_ type: String, _ fields: [String: any Sendable] = [:]) -> Action {
    events += 1
    let id = "livetalk_\(events)"
    sent[id] = type
    var event = fields
    event["type"] = type
    if dialect != .committed { event["event_id"] = id }
    return .send(event)
  }

  // MARK: What the session wants

  /// Further sound of the user at `inputRate`.
  mutating func append(_ sound: PCM) -> [Action] {
    guard isReady, !sound.samples.isEmpty else { return [] }
    appended += sound.samples.count
    return [send("input_audio_buffer.append", ["audio": sound.int16.base64])]
  }

  /// The user's sound so far is no turn.
  mutating func clear() -> [Action] {
    guard isReady, appended > 0 else { return [] }
    appended = 0
    // The old servers know no clear: what is left is in front of the next turn.
    return dialect == .committed ? [] : [send("input_audio_buffer.clear")]
  }

  /// Turns of before this connection.
  mutating func recall(_ history: [Turn]) -> [Action] {
    guard dialect != .committed else { return [] }
    return history.filter { !$0.text.isEmpty }.map { turn in
      let kind = turn.role == .user ? "input_text" : dialect == .released ? "output_text" : "text"
      return send(
        "conversation.item.create",
        [
          "item": [
            "type": "message", "role": turn.role == .user ? "user" : "assistant",
            "content": [["type": kind, "text": turn.text]],
          ] as [String: any Sendable]
        ])
    }
  }

  /// Answer what is in the server's buffer, or a text.
  package mutating func respond(_ utterance: UtteranceID, text: String?) -> [Action] {
    // What the server began by itself is the answer to this turn.
    if text == nil, serverTakesTurns, var early = answer, early.utterance == nil {
      early.utterance = utterance
      let events = early.early
      early.early = []
      answer = early
      var actions = events.map { Action.output($0) }
      if early.isWhole { actions += finish() }
      return actions
    }
    answer = Answer(utterance: utterance, wasRequested: text != nil || !serverTakesTurns)
    if let text {
      guard dialect != .committed else {
        answer = nil
        return [.failed(failure("takes only speech: speak to the avatar, or choose another server"))]
      }
      return [
        send(
          "conversation.item.create",
          [
            "item": [
              "type": "message", "role": "user", "content": [["type": "input_text", "text": text]],
            ] as [String: any Sendable]
          ]), send("response.create"),
      ]
    }
    appended = 0
    if serverTakesTurns { return [] }
    if dialect == .committed {
      return [
        send("input_audio_buffer.commit", ["final": false]), send("input_audio_buffer.commit", ["final": true]),
      ]
    }
    return [send("input_audio_buffer.commit"), send("response.create")]
  }

  /// The server has not ended the turn by itself in time.
  mutating func insist() -> [Action] {
    guard serverTakesTurns, let answer, answer.response == nil, answer.utterance != nil, !hasServerTurn else {
      return []
    }
    self.answer?.wasRequested = true
    return [send("input_audio_buffer.commit"), send("response.create")]
  }

  /// Nobody listens to the answer any more.
  mutating func cancel() -> [Action] {
    guard let answer else { return [] }
    remember(answer)
    self.answer = nil
    if dialect == .committed { return [.disconnect] }
    if let response = answer.response {
      dropped.insert(response)
    } else if answer.wasRequested {
      orphans += 1
    }
    return answer.isWhole ? [] : [send("response.cancel")]
  }

  /// Only this much of an utterance was heard.
  mutating func truncate(_ utterance: UtteranceID, playedSeconds: Double) -> [Action] {
    guard dialect != .committed, let spoken = spoken[utterance] else { return [] }
    self.spoken[utterance] = nil
    // More than there is would be an error.
    let played = min(max(playedSeconds, 0), spoken.seconds)
    return [
      send(
        "conversation.item.truncate",
        ["item_id": spoken.item, "content_index": spoken.content, "audio_end_ms": Int(played * 1000 + 1e-6)])
    ]
  }

  private mutating func remember(_ answer: Answer) {
    guard let utterance = answer.utterance, let item = answer.item, answer.seconds > 0 else { return }
    spoken[utterance] = (item, answer.content, answer.seconds)
    // A conversation is long; only the last ones can still be playing.
    for old in spoken.keys where old.rawValue < utterance.rawValue - 4 { spoken[old] = nil }
  }

  // MARK: What the server says

  private func failure(_ what: String) -> SessionError {
    SessionError(.responderFailed, "The model at \(place) \(what).")
  }

  package mutating func receive(_ text: String) -> [Action] {
    guard let event = JSONObject(text), let type = event["type"].text else {
      return [.failed(failure("sends what cannot be understood: check the address"))]
    }
    switch RealtimeDialect.released(type) {
    case "session.created":
      guard !isReady else { return [] }
      isReady = true
      let dialect = dialect ?? RealtimeDialect(sessionCreated: event)
      self.dialect = dialect
      var update = dialect.sessionUpdate(settings, inputRate: inputRate)
      update["type"] = nil
      return [send("session.update", update)]
    case "session.updated":
      // Some servers know no turns but their own.
      let detection =
        event["session"]["audio"]["input"]["turn_detection"].exists
        || event["session"]["turn_detection"]["type"].exists
      if detection { serverTakesTurns = true }
      return []
    case "input_audio_buffer.speech_started":
      hasServerTurn = false
      return speechStarted()
    case "input_audio_buffer.speech_stopped", "input_audio_buffer.committed":
      if serverTakesTurns { hasServerTurn = true }
      return []
    case "conversation.item.input_audio_transcription.completed":
      guard let heard = event["transcript"].text?.trimmed, !heard.isEmpty else { return [] }
      return give(.heard(heard))
    case "response.created": return created(event["response"]["id"].text)
    case "response.output_item.added": return item(event, event["item"]["id"].text)
    case "response.output_audio.delta": return sound(event)
    case "response.output_audio_transcript.delta", "response.output_text.delta":
      guard isCurrent(event), let delta = event["delta"].text, !delta.isEmpty else { return [] }
      return give(.text(delta))
    case "transcription.delta":
      guard dialect == .committed, let delta = event["delta"].text, !delta.isEmpty else { return [] }
      return give(.text(delta))
    case "response.output_audio.done": return dialect == .committed && answer != nil ? finish() : []
    case "response.done": return done(event["response"])
    case "error": return error(event)
    default: return []
    }
  }

  /// The server's own interruption: it stops its answer, and the rest of it is not heard.
  private mutating func speechStarted() -> [Action] {
    guard serverTakesTurns, let answer, answer.response != nil else { return [] }
    if let response = answer.response { dropped.insert(response) }
    remember(answer)
    self.answer = nil
    return answer.utterance == nil ? [] : [.output(.done), .finished]
  }

  private mutating func created(_ response: String?) -> [Action] {
    if let response, dropped.contains(response) { return [] }
    if orphans > 0 {
      orphans -= 1
      if let response { dropped.insert(response) }
      return []
    }
    hasServerTurn = false
    if answer == nil {
      // Nobody asked for it: the server's own turn, or the answer to one that was cancelled before its id was known.
      guard serverTakesTurns else {
        if let response { dropped.insert(response) }
        return []
      }
      appended = 0
      answer = Answer()
    }
    if answer?.response == nil { answer?.response = response }
    return []
  }

  private func isCurrent(_ event: JSONObject) -> Bool {
    guard let answer else { return false }
    guard let response = event["response_id"].text else { return true }
    return !dropped.contains(response) && (answer.response ?? response) == response
  }

  private mutating func item(_ event: JSONObject, _ item: String?) -> [Action] {
    if isCurrent(event), event["item"]["type"].text ?? "message" == "message" { answer?.item = item }
    return []
  }

  private mutating func sound(_ event: JSONObject) -> [Action] {
    guard isCurrent(event) else { return [] }
    guard let bytes = event["delta"].bytes ?? event["audio"].bytes else {
      return fail("sends sound that is not base64")
    }
    let rate = event["sample_rate_hz"].int ?? settings.outputRate
    guard PCM.rates.contains(rate), answer?.rate ?? rate == rate else { return fail("changes the rate of its sound") }
    let sound = PCM(int16: bytes, rate: rate)
    answer?.rate = rate
    answer?.seconds += sound.seconds
    if let item = event["item_id"].text { answer?.item = item }
    if let content = event["content_index"].int { answer?.content = content }
    return sound.samples.isEmpty ? [] : give(.sound(sound))
  }

  /// A part of the answer, now or when the session asks for it.
  private mutating func give(_ event: SpeechEvent) -> [Action] {
    guard let answer else { return [] }
    if answer.utterance != nil { return [.output(event)] }
    self.answer?.early.append(event)
    return []
  }

  private mutating func finish() -> [Action] {
    guard let answer else { return [] }
    remember(answer)
    guard answer.utterance != nil else {
      self.answer?.isWhole = true
      return []
    }
    self.answer = nil
    return [.output(.done), .finished]
  }

  private mutating func fail(_ what: String) -> [Action] {
    answer = nil
    return [.failed(failure(what))]
  }

  private mutating func done(_ response: JSONObject) -> [Action] {
    let id = response["id"].text
    if let id, dropped.remove(id) != nil { return [] }
    guard let answer, id == nil || answer.response == nil || answer.response == id else { return [] }
    if response["status"].text == "failed" {
      let message = response["status_details"].errorMessage ?? "it failed"
      return fail("did not answer (\(APIServer.words(message, without: key)))")
    }
    // Of an answer that the server cancelled by itself, what has come is all there is.
    return finish()
  }

  /// Errors that need nothing to be done: the answer was over before it was cancelled, nothing was said, a server that cannot truncate.
  private static let harmless: Set<String> = [
    "response_cancel_not_active", "input_audio_buffer_commit_empty", "conversation_already_has_active_response",
  ]
  private static let optional: Set<String> = [
    "response.cancel", "conversation.item.truncate", "input_audio_buffer.clear", "conversation.item.create",
  ]

  private mutating func error(_ event: JSONObject) -> [Action] {
    let error = event["error"]
    let id = error["event_id"].text ?? event["event_id"].text
    let cause = id.flatMap { sent[$0] }
    let code = error["code"].text ?? event["code"].text ?? ""
    if Self.harmless.contains(code) || cause.map(Self.optional.contains) == true { return [] }
    if cause == "response.create", orphans > 0 {
      orphans -= 1
      return []
    }
    if cause == "session.update", code == "unsupported_turn_detection", !serverTakesTurns {
      serverTakesTurns = true
      return []
    }
    guard answer != nil || cause == "session.update" || !isReady else { return [] }
    return fail("reports: \(APIServer.words(event.errorMessage ?? "an error", without: key).trimmingSuffix("."))")
  }
}

extension String {
  fileprivate func trimmingSuffix(_ suffix: String) -> String {
    hasSuffix(suffix) ? String(dropLast(suffix.count)) : self
  }
}
