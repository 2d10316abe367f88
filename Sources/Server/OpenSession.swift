import Basics
import Foundation
import Session
import Synchronization

/// What a client opens a session with.
package struct NewSession: Sendable, Decodable {
  package var avatar: String?
  package var prompt: String?
  package var seed: UInt64?

  private enum Key: String, CodingKey, CaseIterable { case avatar, prompt, seed }

  package init(avatar: String? = nil, prompt: String? = nil, seed: UInt64? = nil) {
    (self.avatar, self.prompt, self.seed) = (avatar, prompt, seed)
  }

  package init(from decoder: any Decoder) throws {
    try refuseUnknownKeys(decoder, Key.allCases.map(\.rawValue))
    let fields = try decoder.container(keyedBy: Key.self)
    avatar = try fields.decodeIfPresent(String.self, forKey: .avatar)
    prompt = try fields.decodeIfPresent(String.self, forKey: .prompt)
    seed = try fields.decodeIfPresent(UInt64.self, forKey: .seed)
  }
}

extension TextLimit {
  func check(_ text: String) throws(APIError) {
    guard allows(text) else { throw APIError(.tooLarge, sentence) }
  }
}

/// A spelling mistake in a field's name is told, not passed over.
///
/// - Throws: `APIError`.
func refuseUnknownKeys(_ decoder: any Decoder, _ known: [String]) throws {
  struct AnyKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
  let keys = try decoder.container(keyedBy: AnyKey.self).allKeys.map(\.stringValue)
  if let unknown = unknownKeyText(in: keys, known: known) {
    throw APIError(.invalidJSON, "The JSON has the \(unknown).")
  }
}

/// Who lets a session speak.
enum Speaker: Sendable {
  /// Whoever is connected to it.
  case clients
  /// An agent in a LiveKit room, and nobody else: each utterance is told to it.
  case agent
}

/// One session as the server keeps it: who opened it, how much it may send, who is connected.
final class OpenSession: Sendable {
  let id: String
  let avatar: String
  let prompt: String
  /// The address or the user that opened it.
  let client: String
  /// The user whose it is, if a signed token opened it.
  let owner: String?
  let speaker: Speaker
  /// How long it may last.
  let seconds: Double
  let created: Date
  let handle: any SessionHandle

  private struct State {
    var conversation = ConversationState.idle
    var connections = 0
    var lastConnected = ContinuousClock.now
    var lastActive = ContinuousClock.now
    var commands: RateLimit
    var sound: RateLimit
    var closed: CloseReason?
    var metrics: SessionMetrics?
  }

  private let state: Mutex<State>

  init(
    id: String, avatar: String, prompt: String, client: String, caller: Caller, speaker: Speaker,
    handle: any SessionHandle, limits: ServerLimits
  ) {
    (self.id, self.avatar, self.prompt, self.client, self.handle) = (id, avatar, prompt, client, handle)
    self.speaker = speaker
    (owner, seconds) = (caller.user, min(limits.sessionSeconds, caller.sessionSeconds ?? .infinity))
    created = Date()
    state = Mutex(
      State(
        commands: RateLimit(burst: limits.commandBurst, perSecond: limits.commandsPerSecond),
        sound: RateLimit(burst: limits.soundBurst, perSecond: 2)))
  }

  var conversationState: ConversationState { state.withLock { $0.conversation } }
  var closed: CloseReason? { state.withLock { $0.closed } }
  var connections: Int { state.withLock { $0.connections } }
  var metrics: SessionMetrics? { state.withLock { $0.metrics } }

  /// While `body` runs, somebody watches the session.
  func withConnection<Value>(
    isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
  ) async rethrows -> Value {
    state.withLock { $0.connections += 1 }
    defer {
      state.withLock {
        $0.connections -= 1
        $0.lastConnected = .now
      }
    }
    return try await body()
  }

  /// Passes a command on, if the client has not sent too many.
  ///
  /// - Throws: `APIError`.
  func send(_ command: SessionCommand) async throws(APIError) {
    try check(command)
    let allowed = state.withLock { state -> Bool in
      state.lastActive = .now
      switch command {
      case .appendUserAudio(let sound), .appendSpeech(let sound): return state.sound.take(sound.seconds)
      // Playback is reported ten times a second, for as long as the session lasts.
      case .played: return true
      default: return state.commands.take()
      }
    }
    guard allowed else {
      throw APIError(
        .rateLimited, "This session gets more than it can take: send sound as it is recorded, and fewer commands.",
        retryAfter: 1)
    }
    await handle.send(command)
  }

  private func check(_ command: SessionCommand) throws(APIError) {
    switch command {
    case .text(let text), .say(let text), .userTranscript(let text, _):
      try TextLimit.text.check(text)
      guard text.contains(where: { !$0.isWhitespace }) else {
        throw APIError(.badRequest, "The text is empty.")
      }
    case .setPrompt(let prompt): try TextLimit.prompt.check(prompt)
    default: break
    }
    switch command {
    case .interrupt, .setPrompt, .setAvatar, .played, .close: break
    default:
      guard speaker == .clients else {
        throw APIError(.conflict, "This session speaks for a LiveKit agent, and for nobody else.")
      }
    }
  }

  func follow(_ event: SessionEvent) {
    state.withLock { state in
      switch event {
      case .state(let new): state.conversation = new
      case .closed(let reason): state.closed = reason
      case .metrics(let metrics):
        state.metrics = metrics
        return
      default: break
      }
      state.lastActive = .now
    }
  }

  /// Why the session should end now, if it should.
  func overdue(_ limits: ServerLimits, now: ContinuousClock.Instant = .now) -> CloseReason? {
    if Date().timeIntervalSince(created) > seconds { return .expired }
    return state.withLock { state in
      if state.connections == 0, now - state.lastConnected > .seconds(limits.abandonedSeconds) { return .idle }
      let isQuiet = state.conversation == .idle || state.conversation == .listening
      return isQuiet && now - state.lastActive > .seconds(limits.idleSeconds) ? .idle : nil
    }
  }
}
