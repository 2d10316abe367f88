import Testing

@testable import LiveKit

struct RemoteCallTests {
  private func id(_ actions: [RemoteCalls.Action], _ method: String) throws -> String {
    try #require(actions.count == 1)
    guard case .send(let id, let call) = actions[0], call.method == method else {
      throw Unexpected(text: "\(actions)")
    }
    return id
  }

  private struct Unexpected: Error { let text: String }

  @Test func `calls go one after the other, in their order`() throws {
    var calls = RemoteCalls(prefix: "x")
    let first = try id(calls.call("started", "", at: 0), "started")
    #expect(calls.call("finished", "{}", at: 0.1) == [], "the first is not answered yet")
    calls.acknowledge(first, at: 0.2)
    let second = try id(calls.answer(first, .payload("ok"), at: 0.3), "finished")
    #expect(first != second)
    #expect(calls.answer(second, .payload("ok"), at: 0.4) == [])
    #expect(calls.pass(to: 100) == [])
  }

  @Test func `an answer to another call is none`() throws {
    var calls = RemoteCalls(prefix: "x")
    let first = try id(calls.call("a", "", at: 0), "a")
    #expect(calls.answer("y", .payload("ok"), at: 0) == [])
    calls.acknowledge("y", at: 0)
    #expect(calls.call("b", "", at: 0) == [])
    _ = try id(calls.answer(first, .payload("ok"), at: 0), "b")
    #expect(calls.answer(first, .payload("ok"), at: 0) == [], "it was answered before")
  }

  @Test func `a call that is answered by an error is tried three times`() throws {
    var calls = RemoteCalls(prefix: "x")
    var current = try id(calls.call("a", "", at: 0), "a")
    var now = 0.0
    for _ in 1..<RemoteCalls.mostTries {
      #expect(calls.answer(current, .error(code: 1500), at: now) == [])
      #expect(calls.pass(to: now + 0.05) == [])
      now += RemoteCalls.pause
      let next = try id(calls.pass(to: now), "a")
      #expect(next != current)
      current = next
    }
    guard case .fail(let call, _)? = calls.answer(current, .error(code: 1500), at: now).first else {
      return #expect(Bool(false))
    }
    #expect(call.method == "a")
    _ = try id(calls.call("b", "", at: now), "b")
  }

  @Test func `a method that the other side does not know is not tried again`() throws {
    var calls = RemoteCalls(prefix: "x")
    let first = try id(calls.call("a", "", at: 0), "a")
    _ = calls.call("b", "", at: 0)
    let actions = calls.answer(first, .error(code: RemoteCalls.unsupportedMethod), at: 0)
    #expect(actions.count == 2)
    guard case .fail? = actions.first, case .send(_, let next)? = actions.last else { return #expect(Bool(false)) }
    #expect(next.method == "b")
  }

  @Test func `a call that does not arrive is tried again, one that arrived and is not answered is not`() throws {
    var calls = RemoteCalls(prefix: "x")
    let first = try id(calls.call("a", "", at: 0), "a")
    #expect(calls.pass(to: RemoteCalls.arrival - 0.1) == [])
    #expect(calls.pass(to: RemoteCalls.arrival) == [])
    let second = try id(calls.pass(to: RemoteCalls.arrival + RemoteCalls.pause), "a")
    #expect(first != second)
    let now = RemoteCalls.arrival + 1
    calls.acknowledge(second, at: now)
    #expect(calls.pass(to: now + RemoteCalls.answering - 0.1) == [])
    guard case .fail? = calls.pass(to: now + RemoteCalls.answering).first else { return #expect(Bool(false)) }
    #expect(calls.answer(second, .payload("ok"), at: now + 20) == [])
  }
}
