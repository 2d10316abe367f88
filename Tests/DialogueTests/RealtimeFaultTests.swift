import NIOWebSocket
import Session
import Synchronization
import Testing

@testable import Dialogue

/// Servers of the Realtime protocol that do wrong.
extension NetworkTests.RealtimeTests {
  @Test func `nobody at the address is an error`() async throws {
    let port = try await FakeServer.freePort()
    let none = await Answer(try dialogue(Self.json(port)).responder().respond(to: request()))
    #expect(
      none.failure?.message
        == "The model at ws://127.0.0.1:\(port) cannot be reached (connection refused): see that it runs.")
  }

  @Test func `a server that opens no WebSocket refuses, and is asked again only where it is busy`() async throws {
    for (status, advice) in [(401, "check the address and the key"), (503, "ask again later")] {
      let server = try await FakeServer(http: { _, answer in try await answer.answer(status, "{}") })
      let refused = await Answer(try dialogue(Self.json(server.port)).responder().respond(to: request()))
      #expect(
        refused.failure?.message
          == "The model at ws://127.0.0.1:\(server.port) refuses the connection (\(status)): \(advice).")
      // Once or twice when it is opened in the background, three times when it is busy.
      #expect(status == 503 ? server.requests.count >= 3 : server.requests.count <= 2)
    }
  }

  @Test(
    arguments: [
      "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Type: text/plain\r\nContent-Length: 500\r\n\r\nNo",
      "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 2\r\n\r\nNo",
      "HTTP/1.1 401 Unauthorized\r\n\r\n",
      "HTTP/1.0 401 Unauthorized\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    ], [false, true])
  func `a wrong key is told at once, however the server says it`(answer: String, closes: Bool) async throws {
    let server = try await RawServer(answer, closes: closes)
    let start = ContinuousClock.now
    let refused = await Answer(
      try dialogue(Self.json(server.port), connect: 5).responder().respond(to: request()))
    #expect(
      refused.failure?.message
        == "The model at ws://127.0.0.1:\(server.port) refuses the connection (401): check the address and the key.")
    #expect(ContinuousClock.now - start < .seconds(3))
    await server.close()
  }

  @Test func `a wrong key that is told over the socket is told at once`() async throws {
    let error = #"{"type": "error", "error": {"type": "invalid_request_error", "message": "Incorrect API key."}}"#
    for says in [true, false] {
      let server = try await FakeServer(socket: { socket in
        if says { try await socket.send(error) }
        try await socket.close(.unknown(3000))
      })
      let refused = await Answer(try dialogue(Self.json(server.port), connect: 5).responder().respond(to: request()))
      let message = refused.failure?.message ?? ""
      #expect(
        message.hasSuffix(says ? "Incorrect API key." : "refuses the connection (3000): check the address and the key.")
      )
      #expect(server.requests.count <= 2)
    }
  }

  @Test func `a server that does not say hello, or does not answer, is timed out`() async throws {
    let mute = try await FakeServer(socket: { _ in try await Task.sleep(for: .seconds(90)) })
    let silent = await Answer(try dialogue(Self.json(mute.port), connect: 0.5).responder().respond(to: request()))
    #expect(silent.failure?.code == .responderTimedOut)
    let server = try await FakeServer(socket: { socket in
      try await socket.send(Script(dialect: .released).created)
      for await _ in socket.events() {}
    })
    let unanswered = await Answer(try dialogue(Self.json(server.port), first: 0.5).responder().respond(to: request()))
    #expect(unanswered.failure?.code == .responderTimedOut)
    let stalls = try await FakeServer(socket: { socket in
      let script = Script(dialect: .released)
      try await socket.send(script.created)
      for await event in socket.events() where script.asks(event) {
        for part in script.answer.prefix(5) { try await socket.send(part) }
      }
    })
    let stalled = await Answer(try dialogue(Self.json(stalls.port), idle: 1).responder().respond(to: request()))
    #expect(stalled.failure?.code == .responderTimedOut && !stalled.samples.isEmpty)
  }

  @Test(arguments: ["drop", "close", "error", "failed", "garbage", "sound", "object"])
  func
    `an answer that goes wrong is an error, and the next turn is answered on a connection that knows the conversation`(
      fault: String
    ) async throws
  {
    let record = Record()
    let isFirst = Mutex(true)
    let server = try await FakeServer(socket: { socket in
      let connection = record.begin()
      let script = Script(dialect: .released)
      try await socket.send(script.created)
      for await event in socket.events() {
        record.add(event, connection)
        guard script.asks(event) else { continue }
        let isNow = isFirst.withLock { first in
          defer { first = false }
          return first
        }
        guard isNow else {
          for part in script.answer { try await socket.send(part) }
          continue
        }
        for part in script.answer.prefix(4) { try await socket.send(part) }
        switch fault {
        case "drop": await socket.drop()
        case "close": try await socket.close(.unexpectedServerError)
        case "error":
          try await socket.send(#"{"type": "error", "error": {"type": "server_error", "message": "out of memory."}}"#)
        case "failed":
          try await socket.send(
            #"{"type": "response.done", "response": {"id": "resp_1", "status": "failed", "status_details": {"error": {"message": "too long"}}}}"#
          )
        case "garbage": try await socket.send("{\"type\": ")
        case "sound":
          try await socket.send(#"{"type": "response.output_audio.delta", "response_id": "resp_1", "delta": 7}"#)
        default: try await socket.send("[1, 2]")
        }
      }
    })
    let responder = try dialogue(Self.json(server.port)).responder()
    let first = await Answer(responder.respond(to: request(nil, sound: Self.heard)))
    #expect(first.failure?.code == .responderFailed && !first.events.contains(.done) && !first.samples.isEmpty)
    if fault == "error" { #expect(first.failure?.message.hasSuffix("reports: out of memory.") == true) }
    let history = [Turn(.user, "Hi."), Turn(.avatar, "Hello.")]
    let second = await Answer(responder.respond(to: request("Again?", history: history)))
    if fault == "drop" || fault == "close" {
      #expect(second.isDone && second.samples == Self.sound.samples)
      #expect(record.connections == 2)
      #expect(
        record.types(1) == [
          "session.update", "conversation.item.create", "conversation.item.create", "conversation.item.create",
          "response.create",
        ])
    } else {
      #expect(record.connections == 1)
    }
    await responder.close()
  }
}
