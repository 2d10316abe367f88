/// Procedures of another participant (LiveKit's RPC, version 1) that are called one after the other.
///
/// A value without a network and a clock. A call is acknowledged when it has arrived and then answered. One that did not arrive or was
/// answered by an error is tried again; one that arrived and is not answered is not, for it was heard. Times are seconds.
struct RemoteCalls: Sendable {
  struct Call: Hashable, Sendable {
    var method: String
    var payload: String
  }

  /// What a call is answered with.
  enum Answer: Hashable, Sendable {
    case payload(String)
    case error(code: Int)
  }

  enum Action: Hashable, Sendable {
    case send(id: String, Call)
    /// It was tried as often as it may be.
    case fail(Call, String)
  }

  private enum Progress: Sendable {
    /// To be sent when the time has come.
    case waiting(until: Double)
    case sent(until: Double)
    case acknowledged(until: Double)
  }

  private struct Current: Sendable {
    var id: String
    let call: Call
    var tries = 0
    var progress: Progress
  }

  static let mostTries = 3
  static let pause = 0.1
  /// How long a call may take to arrive, and to be answered after that.
  static let arrival = 5.0
  static let answering = 10.0
  /// The other side does not know the method: another try is of no use.
  static let unsupportedMethod = 1400

  private var queue: [Call] = []
  private var current: Current?
  private var lastID = 0
  /// Makes ids of one instance different from those of others.
  private let prefix: String

  init(prefix: String) { self.prefix = prefix }

  mutating func call(_ method: String, _ payload: String, at now: Double) -> [Action] {
    queue.append(Call(method: method, payload: payload))
    return pass(to: now)
  }

  mutating func acknowledge(_ id: String, at now: Double) {
    guard case .sent? = current?.progress, current?.id == id else { return }
    current?.progress = .acknowledged(until: now + Self.answering)
  }

  mutating func answer(_ id: String, _ answer: Answer, at now: Double) -> [Action] {
    guard let answered = current, answered.id == id else { return [] }
    switch answer {
    case .payload: current = nil
    case .error(let code):
      let isFinal = code == Self.unsupportedMethod
      return tryAgain(isFinal ? "the agent does not know it" : "the agent answers with error \(code)", isFinal, now)
    }
    return pass(to: now)
  }

  /// What is due.
  mutating func pass(to now: Double) -> [Action] {
    var actions: [Action] = []
    while true {
      if current == nil {
        guard !queue.isEmpty else { return actions }
        current = Current(id: "", call: queue.removeFirst(), progress: .waiting(until: now))
      }
      guard var call = current else { return actions }
      switch call.progress {
      case .waiting(let until):
        guard now >= until else { return actions }
        lastID += 1
        (call.id, call.tries, call.progress) = ("\(prefix)-\(lastID)", call.tries + 1, .sent(until: now + Self.arrival))
        current = call
        return actions + [.send(id: call.id, call.call)]
      case .sent(let until):
        guard now >= until else { return actions }
        return actions + tryAgain("it did not arrive within \(Int(Self.arrival)) s", false, now)
      case .acknowledged(let until):
        guard now >= until else { return actions }
        actions.append(.fail(call.call, "the agent did not answer within \(Int(Self.answering)) s"))
        current = nil
      }
    }
  }

  private mutating func tryAgain(_ reason: String, _ isFinal: Bool, _ now: Double) -> [Action] {
    guard let call = current else { return [] }
    guard !isFinal, call.tries < Self.mostTries else {
      current = nil
      return [.fail(call.call, reason)] + pass(to: now)
    }
    current?.progress = .waiting(until: now + Self.pause)
    return []
  }
}
