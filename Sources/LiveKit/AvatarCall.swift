import Foundation
package import Session
import SwiftProtobuf
package import WebRTC

/// An avatar in a LiveKit room that speaks for an agent, as livekit-agents has it: the agent's speech comes as byte streams
/// (`AgentSpeech`), `lk.clear_buffer` interrupts, `lk.playback_started` and `lk.playback_finished` tell what was really played, once for
/// each segment.
package actor AvatarCall {
  private let room: Room
  /// The identity of the agent; nil until one is there.
  private var agent: String?
  private let session: any SessionHandle
  private var speech = AgentSpeech()
  private var calls: RemoteCalls
  private let clock = SystemClock()
  private let log: @Sendable (String) -> Void
  private var isAgentThere = false

  /// The identity for which a token lets a worker publish.
  static let onBehalf = "lk.publish_on_behalf"
  static let clearBuffer = "lk.clear_buffer"
  static let playbackStarted = "lk.playback_started"
  static let playbackFinished = "lk.playback_finished"
  /// Seconds for which the agent is waited for.
  private static let longestWait = 30.0

  private init(
    _ room: Room, agent: String?, session: any SessionHandle, log: @escaping @Sendable (String) -> Void
  ) {
    (self.room, self.session, self.log) = (room, session, log)
    self.agent = agent ?? room.own.attributes[Self.onBehalf].flatMap { $0.isEmpty ? nil : $0 }
    calls = RemoteCalls(prefix: UUID().uuidString)
  }

  /// Joins a room.
  ///
  /// - Parameters:
  ///   - agent: whose speech it is. By default the one for whom the token lets publish, else the first agent in the room.
  ///   - session: what speaks; nobody else lets it.
  ///   - log: told what nobody else is, in sentences.
  /// - Throws: `LiveKitError`.
  package static func join(
    _ server: LiveKitServer, token: String, agent: String?, session: any SessionHandle, peers: PeerSettings,
    log: @escaping @Sendable (String) -> Void
  ) async throws(LiveKitError) -> AvatarCall {
    AvatarCall(
      try await Room.join(server, token: token, peers: peers), agent: agent, session: session, log: log)
  }

  /// Leaves a room that was joined and in which nothing was published.
  package func leave() async { await room.leave() }

  /// Publishes the session's stream and speaks, until the agent leaves or the session or the room ends. All of them have ended then.
  package func run(_ stream: LiveStream) async {
    let events = await session.events()
    do { try await room.publish(stream) } catch {
      await fail("The avatar cannot be published: \(error)")
    }
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await self.follow(events) }
      group.addTask { await self.followRoom() }
      group.addTask { await self.passTime() }
      await group.next()
      group.cancelAll()
    }
    await room.leave()
    await session.close(.client)
  }

  private func fail(_ sentence: String) async {
    log(sentence)
    await session.report(SessionError(.callFailed, sentence, isFatal: true))
  }

  // MARK: the session

  private func follow(_ events: AsyncStream<SessionEvent>) async {
    for await event in events {
      switch event {
      case .playbackStarted: await call(Self.playbackStarted, "")
      case .playbackFinished(_, let seconds, let wasInterrupted, _):
        await tellFinished(seconds, wasInterrupted: wasInterrupted)
      case .closed: return
      default: break
      }
    }
  }

  private func tellFinished(_ seconds: Double, wasInterrupted: Bool) async {
    await call(Self.playbackFinished, #"{"playback_position": \#(seconds), "interrupted": \#(wasInterrupted)}"#)
  }

  // MARK: the agent

  private func followRoom() async {
    for await event in room.events {
      switch event {
      case .participant(let participant): if isAgentGone(participant) { return log("The agent has left the room.") }
      case .data(let packet): await take(packet)
      case .ended(let error):
        if let error { await fail(error.description) }
        return
      }
    }
  }

  private func isAgentGone(_ participant: Livekit_ParticipantInfo) -> Bool {
    guard participant.identity != room.own.identity else { return false }
    if agent == nil, participant.kind == .agent, participant.state != .disconnected { agent = participant.identity }
    guard participant.identity == agent else { return false }
    defer { isAgentThere = participant.state != .disconnected }
    return isAgentThere && participant.state == .disconnected
  }

  private func take(_ packet: Livekit_DataPacket) async {
    let isAgents = packet.participantIdentity == agent
    let now = clock.now
    switch packet.value {
    case .rpcRequest(let request): await answer(request, from: packet.participantIdentity)
    case .rpcAck(let acknowledged) where isAgents: calls.acknowledge(acknowledged.requestID, at: now)
    case .rpcResponse(let response) where isAgents:
      let answer: RemoteCalls.Answer =
        if case .error(let error) = response.value { .error(code: Int(error.code)) } else { .payload(response.payload) }
      await perform(calls.answer(response.requestID, answer, at: now))
    case .streamHeader(let header) where isAgents && header.topic == AgentSpeech.topic:
      await perform(speech.open(header.streamID, attributes: header.attributes))
    case .streamChunk(let chunk) where isAgents:
      await perform(speech.take(Array(chunk.content), chunk: chunk.chunkIndex, of: chunk.streamID))
    case .streamTrailer(let trailer) where isAgents: await perform(speech.close(trailer.streamID))
    default: break
    }
  }

  private func perform(_ actions: [AgentSpeech.Action]) async {
    for action in actions {
      switch action {
      case .speak(let sound): await session.send(.appendSpeech(sound))
      case .finish: await session.send(.finishSpeech)
      case .refuse(let reason):
        log(reason)
        await session.report(SessionError(.badSound, reason))
        // The agent waits for the end of each segment.
        await tellFinished(0, wasInterrupted: true)
      }
    }
  }

  private func answer(_ request: Livekit_RpcRequest, from caller: String) async {
    await room.send(.with { $0.rpcAck.requestID = request.id }, to: caller)
    let isClear = request.method == Self.clearBuffer
    let isAgents = caller == agent
    await room.send(
      .with {
        $0.rpcResponse.requestID = request.id
        if isClear {
          $0.rpcResponse.payload = isAgents ? "ok" : "reject"
        } else {
          $0.rpcResponse.error = .with {
            ($0.code, $0.message) = (UInt32(RemoteCalls.unsupportedMethod), "Method not supported at destination")
          }
        }
      }, to: caller)
    guard isClear, isAgents else { return }
    // After the answer: the end of what is interrupted is told once the agent waits for it.
    speech.clear()
    await session.send(.interrupt)
  }

  // MARK: what the agent is told

  private func call(_ method: String, _ payload: String) async {
    await perform(calls.call(method, payload, at: clock.now))
  }

  private func perform(_ actions: [RemoteCalls.Action]) async {
    for action in actions {
      switch action {
      case .send(let id, let call):
        guard let agent else { continue }
        await room.send(
          .with {
            $0.rpcRequest = .with {
              ($0.id, $0.method, $0.payload, $0.version) = (id, call.method, call.payload, 1)
              $0.responseTimeoutMs = UInt32(RemoteCalls.answering * 1000)
            }
          }, to: agent)
      case .fail(let call, let reason):
        // An agent need not want to know when playback begins.
        guard call.method != Self.playbackStarted else { continue }
        log("The agent could not be told \(call.method): \(reason).")
      }
    }
  }

  private func passTime() async {
    while !Task.isCancelled {
      try? await Task.sleep(for: .milliseconds(100))
      await perform(calls.pass(to: clock.now))
      if !isAgentThere, clock.now > Self.longestWait {
        return await fail("No agent has come to the room within \(Int(Self.longestWait)) s.")
      }
    }
  }
}
