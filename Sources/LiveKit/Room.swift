import Foundation
import SwiftProtobuf
import WebRTC
import WebSocketClient

/// A room of a LiveKit server that was joined as a participant: signalling over a WebSocket, and two WebRTC connections. What this side
/// sends goes over the publisher's, what it receives over the subscriber's.
actor Room {
  enum Event: Sendable {
    case data(Livekit_DataPacket)
    /// Who is there, or has just left.
    case participant(Livekit_ParticipantInfo)
    /// The room was left, for that reason; nil where this side wanted it. It is the last event.
    case ended(LiveKitError?)
  }

  let own: Livekit_ParticipantInfo
  /// In their order; nobody else reads them.
  nonisolated let events: AsyncStream<Event>

  private let socket: WebSocket
  private let peers: PeerSettings
  private let out: AsyncStream<Event>.Continuation
  private var publisher: Peer?
  private var subscriber: Peer?
  /// The offer that is sent once the server knows the tracks of these ids.
  private var offer: (sdp: String, tracks: Set<String>)?
  private var tasks: [Task<Void, Never>] = []
  private var sequence: UInt32 = 0
  private var isOver = false

  static let channel = "_reliable"
  /// Seconds for the server's first answer, and for all connections.
  private static let joining = 10.0
  private static let connecting = 20.0
  /// Seconds without the server's reports on the media that it gets after which it counts as gone.
  private static let silence = 4.5
  private static let mostEvents = 65_536

  private init(_ socket: WebSocket, _ join: Livekit_JoinResponse, _ peers: PeerSettings) {
    (self.socket, own) = (socket, join.participant)
    var peers = peers
    peers.add(join.iceServers)
    peers.viewerSilence = Self.silence
    self.peers = peers
    (events, out) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(Self.mostEvents))
    for participant in join.otherParticipants { out.yield(.participant(participant)) }
  }

  /// - Parameter token: what LiveKit's server lets join; it is sent as a header, which no log of addresses shows.
  /// - Throws: `LiveKitError`.
  static func join(_ server: LiveKitServer, token: String, peers: PeerSettings) async throws(LiveKitError) -> Room {
    let socket: WebSocket
    do {
      socket = try await WebSocket.connect(
        server.signalling, headers: [("authorization", "Bearer \(token)"), ("user-agent", "livetalk")],
        seconds: joining)
    } catch WebSocket.Failure.refused(let status) {
      throw refusal(status, server)
    } catch {
      throw LiveKitError(.unreachable, "The LiveKit server at \(server) cannot be reached: see that it runs.")
    }
    // A socket that is closed ends the wait for its first message.
    let limit = Task {
      try? await Task.sleep(for: .seconds(joining))
      if !Task.isCancelled { socket.close() }
    }
    defer { limit.cancel() }
    guard let response = await firstResponse(socket), case .join(let join)? = response.message else {
      socket.close()
      throw LiveKitError(.unreachable, "The server at \(server) does not answer as one of LiveKit does.")
    }
    guard join.alternativeURL.isEmpty else {
      socket.close()
      throw LiveKitError(
        .unreachable, "The LiveKit server at \(server) sends its clients elsewhere: start this one with that address.")
    }
    let room = Room(socket, join, peers)
    await room.start(pingInterval: Double(join.pingInterval))
    return room
  }

  private static func firstResponse(_ socket: WebSocket) async -> Livekit_SignalResponse? {
    do {
      for try await message in socket.messages {
        guard case .binary(let bytes) = message else { break }
        return try Livekit_SignalResponse(serializedBytes: bytes)
      }
    } catch {}
    return nil
  }

  private static func refusal(_ status: Int, _ server: LiveKitServer) -> LiveKitError {
    switch status {
    case 401, 403: LiveKitError(.refused, "The LiveKit server at \(server) does not take the token (\(status)).")
    case 400, 404:
      LiveKitError(
        .refused, "The LiveKit server at \(server) has no such room, or this is no LiveKit server (\(status)).")
    default: LiveKitError(.unreachable, "The LiveKit server at \(server) refuses the connection (\(status)).")
    }
  }

  private func start(pingInterval: Double) {
    tasks.append(Task { await self.readSignals() })
    guard pingInterval > 0 else { return }
    tasks.append(
      Task {
        while !Task.isCancelled {
          let now = Int64(Date().timeIntervalSince1970 * 1000)
          // Servers of either age know one of the two.
          self.send(.with { $0.ping = now })
          self.send(.with { $0.pingReq.timestamp = now })
          try? await Task.sleep(for: .seconds(pingInterval))
        }
      })
  }

  // MARK: what is sent

  /// Publishes an avatar's picture and sound, as its camera and its microphone.
  ///
  /// - Throws: `WebRTCError`.
  func publish(_ stream: LiveStream) async throws {
    let (peer, sdp) = try await Peer.publish(stream: stream, channel: Self.channel, settings: peers)
    guard !isOver, publisher == nil else { return await peer.close() }
    publisher = peer
    read(peer)
    let requests = try Self.tracks(of: sdp, stream.settings)
    offer = (sdp, Set(requests.map(\.cid)))
    for request in requests { send(.with { $0.addTrack = request }) }
    tasks.append(
      Task {
        try? await Task.sleep(for: .seconds(Self.connecting))
        guard !Task.isCancelled, !peer.isConnected else { return }
        self.end(LiveKitError(.ended, "LiveKit's server did not connect the avatar within \(Int(Self.connecting)) s."))
      })
  }

  /// The ids under which an offer has its tracks, and what the server is to know of them.
  private static func tracks(of sdp: String, _ format: LiveStream.Settings) throws -> [Livekit_AddTrackRequest] {
    try SessionDescription(parsing: sdp).media.filter { $0.kind != "application" }.map { section in
      var request = Livekit_AddTrackRequest()
      request.cid = section.track ?? section.kind
      if section.kind == "audio" {
        (request.name, request.type, request.source) = ("avatar_audio", .audio, .microphone)
        request.disableRed = true
      } else {
        (request.name, request.type, request.source) = ("avatar_video", .video, .camera)
        (request.width, request.height) = (UInt32(format.width), UInt32(format.height))
        request.layers = [
          .with {
            ($0.quality, $0.width, $0.height) = (.high, UInt32(format.width), UInt32(format.height))
            $0.bitrate = UInt32(format.videoBitrate)
          }
        ]
      }
      return request
    }
  }

  /// Sends a packet to a participant. Returns false where the connection is not there yet, or not any more.
  @discardableResult
  func send(_ packet: Livekit_DataPacket, to identity: String) -> Bool {
    var packet = packet
    sequence += 1
    (packet.sequence, packet.destinationIdentities) = (sequence, [identity])
    guard let bytes: [UInt8] = try? packet.serializedBytes() else { return false }
    return publisher?.send(bytes) ?? false
  }

  private func send(_ request: Livekit_SignalRequest) {
    guard !isOver, let bytes: [UInt8] = try? request.serializedBytes() else { return }
    socket.send(.binary(bytes))
  }

  // MARK: what comes

  private func readSignals() async {
    do {
      for try await case .binary(let bytes) in socket.messages {
        // What is no message of LiveKit's is passed over, as its own clients do.
        guard let response = try? Livekit_SignalResponse(serializedBytes: bytes) else { continue }
        try await take(response)
        if isOver { return }
      }
      end(LiveKitError(.ended, "LiveKit's server has closed the connection."))
    } catch let error as LiveKitError {
      end(error)
    } catch let error as WebRTCError {
      end(LiveKitError(.ended, "No connection to LiveKit's server can be made: \(error.description)"))
    } catch {
      end(LiveKitError(.ended, "The connection to LiveKit's server is lost."))
    }
  }

  private func take(_ response: Livekit_SignalResponse) async throws {
    switch response.message {
    case .offer(let description): try await answer(description)
    case .answer(let description): try await publisher?.accept(description.sdp)
    case .trickle(let trickle): take(trickle)
    case .update(let update): for participant in update.participants { out.yield(.participant(participant)) }
    case .trackPublished(let published):
      guard let waiting = offer else { return }
      let tracks = waiting.tracks.subtracting([published.cid])
      offer = tracks.isEmpty ? nil : (waiting.sdp, tracks)
      guard tracks.isEmpty else { return }
      send(.with { $0.offer = .with { ($0.type, $0.sdp, $0.id) = ("offer", waiting.sdp, 1) } })
    case .requestResponse(let refused):
      guard refused.hasAddTrack, refused.reason != .ok, refused.reason != .queued else { return }
      throw LiveKitError(.ended, "LiveKit's server does not let the avatar publish: the token has to allow it.")
    case .leave(let leave): throw LiveKitError(.ended, Self.sentence(leave.reason))
    case .join, nil: break
    }
  }

  private func answer(_ description: Livekit_SessionDescription) async throws {
    let sdp: String
    if let subscriber {
      sdp = try await subscriber.answerAgain(description.sdp)
    } else {
      let peer: Peer
      (peer, sdp) = try await Peer.receive(description.sdp, channel: Self.channel, settings: peers)
      guard !isOver else { return await peer.close() }
      subscriber = peer
      read(peer)
    }
    send(.with { $0.answer = .with { ($0.type, $0.sdp, $0.id) = ("answer", sdp, description.id) } })
  }

  private struct Candidate: Decodable {
    var candidate: String
    var sdpMLineIndex: Int?
  }

  private func take(_ trickle: Livekit_TrickleRequest) {
    guard let candidate = try? JSONDecoder().decode(Candidate.self, from: Data(trickle.candidateInit.utf8)),
      candidate.candidate.hasPrefix("candidate:"), (0...2).contains(candidate.sdpMLineIndex ?? 0)
    else { return }
    let peer = trickle.target == .publisher ? publisher : subscriber
    peer?.add(candidate: candidate.candidate, line: candidate.sdpMLineIndex ?? 0)
  }

  private func read(_ peer: Peer) {
    tasks.append(
      Task {
        for await event in peer.events {
          switch event {
          case .data(let bytes):
            guard let packet = try? Livekit_DataPacket(serializedBytes: bytes) else { continue }
            if case .dropped = self.out.yield(.data(packet)) {
              self.end(LiveKitError(.ended, "More data came from the room than could be taken."))
            }
          case .lost(let reason):
            self.end(LiveKitError(.ended, "The connection to LiveKit's server is lost: \(reason)"))
          case .connected, .channelOpened, .text: break
          }
        }
      })
  }

  // MARK: its end

  /// Leaves the room. Events end.
  func leave() {
    send(.with { $0.leave.reason = .clientInitiated })
    end(nil)
  }

  private func end(_ error: LiveKitError?) {
    guard !isOver else { return }
    isOver = true
    socket.close()
    out.yield(.ended(error))
    out.finish()
    let (peers, tasks) = ([publisher, subscriber], tasks)
    (publisher, subscriber, self.tasks) = (nil, nil, [])
    Task {
      for peer in peers { await peer?.close() }
      for task in tasks { task.cancel() }
    }
  }

  private static func sentence(_ reason: Livekit_DisconnectReason) -> String {
    switch reason {
    case .duplicateIdentity: "Somebody else has joined the room with the avatar's identity."
    case .serverShutdown: "LiveKit's server is being stopped."
    case .participantRemoved: "The avatar was removed from the room."
    case .roomDeleted, .roomClosed: "The room was closed."
    default: "LiveKit's server has ended the connection (\(reason))."
    }
  }
}

extension SessionDescription.Media {
  /// The id of the track that is sent: the second word of its msid.
  fileprivate var track: String? {
    let ids = attributes.compactMap { attribute -> Substring? in
      if attribute.name == "msid" { return attribute.value[...] }
      guard attribute.name == "ssrc", let start = attribute.value.firstRange(of: "msid:") else { return nil }
      return attribute.value[start.upperBound...]
    }
    return ids.first?.split(separator: " ").dropFirst().first.map(String.init)
  }
}

extension PeerSettings {
  /// Adds STUN and TURN servers that LiveKit's server names.
  fileprivate mutating func add(_ servers: [Livekit_ICEServer]) {
    for server in servers {
      for url in server.urls {
        let parts = url.split(separator: ":", maxSplits: 1)
        guard parts.count == 2 else { continue }
        let place = parts[1].hasPrefix("//") ? parts[1].dropFirst(2) : parts[1]
        switch parts[0] {
        case "stun": stunServer = stunServer ?? "stun://\(place)"
        case "turn", "turns":
          func escaped(_ text: String) -> String {
            text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
          }
          turnServers.append("\(parts[0])://\(escaped(server.username)):\(escaped(server.credential))@\(place)")
        default: break
        }
      }
    }
  }
}
