import Synchronization

/// The open sessions, by id.
final class OpenSessions: Sendable {
  private let conversations = Mutex<[String: OpenSession]>([:])

  var all: [OpenSession] { conversations.withLock { $0.values.sorted { $0.created < $1.created } } }

  func find(_ id: String) -> OpenSession? { conversations.withLock { $0[id] } }

  func add(_ conversation: OpenSession) { conversations.withLock { $0[conversation.id] = conversation } }

  func remove(_ id: String) { conversations.withLock { $0[id] = nil } }
}
