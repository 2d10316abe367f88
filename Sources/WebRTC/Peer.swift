import Dispatch
import Foundation
import Synchronization

/// What a peer tells.
package enum PeerEvent: Sendable, Equatable {
  /// Media flows.
  case connected
  /// The data channel that the other side made is open.
  case channelOpened
  /// A text came over the data channel.
  case text(String)
  /// Bytes came over the data channel.
  case data([UInt8])
  /// The other side is gone, or the connection broke: a sentence says how. The stream of events ends.
  case lost(String)
}

/// A WebRTC connection to one browser, other client or server; made by webrtcbin.
package final class Peer: Sendable {
  /// What the other side offered; where this side offers, what that is.
  package let offer: Offer
  package let settings: PeerSettings
  /// In their order; those that nobody reads are lost from the oldest on, except where a server of rooms is on the other side: there too
  /// many end the connection. It ends with `lost` or with `close`.
  package let events: AsyncStream<PeerEvent>
  /// Sound that comes in, in pieces of mostly 20 ms: mono at `microphoneRate`. Of what nobody reads the last second is kept.
  package let microphone: AsyncStream<[Float]>
  package static let microphoneRate = Pipelines.microphoneRate

  private struct State {
    var graph: Graph?
    var isConnected = false
    var isClosed = false
    var began = ContinuousClock.now
    /// The other side's ICE credentials; nil before it has answered.
    var remote: (userFragment: String, password: String)?
  }

  private let state = Mutex(State())
  let stream: LiveStream?
  /// The label of the data channel that counts; nil for the first one that the other side opens.
  private let channel: String?
  private let eventsOut: AsyncStream<PeerEvent>.Continuation
  private let microphoneOut: AsyncStream<[Float]>.Continuation

  private static let mostCandidates = 128
  private let candidates = Atomic(0)

  /// Where graphs are made and ended, which blocks.
  static let queue = DispatchQueue(label: "webrtc", qos: .userInitiated, attributes: .concurrent)

  init(_ offer: Offer, settings: PeerSettings, stream: LiveStream?, channel: String? = nil) {
    (self.offer, self.settings, self.stream, self.channel) = (offer, settings, stream, channel)
    (events, eventsOut) = AsyncStream.makeStream(
      bufferingPolicy: channel == nil ? .bufferingNewest(1024) : .bufferingOldest(16_384))
    (microphone, microphoneOut) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(50))
  }

  /// Answers an offer.
  ///
  /// - Parameters:
  ///   - sdp: The offer's text.
  ///   - stream: What is sent; nil for a microphone.
  /// - Returns: The peer, and the answer's text with all its candidates.
  /// - Throws: `WebRTCError`.
  package static func answer(
    _ sdp: String, role: PeerRole, stream: LiveStream?, settings: PeerSettings = PeerSettings()
  ) async throws -> (peer: Peer, answer: String) {
    try await withCheckedThrowingContinuation { continuation in
      queue.async {
        continuation.resume(with: Result { try makePeer(sdp, role: role, stream: stream, settings: settings) })
      }
    }
  }

  /// Answers a server of rooms that offers a data channel of that label.
  ///
  /// - Returns: The peer, and the answer's text with all its candidates.
  /// - Throws: `WebRTCError`.
  package static func receive(
    _ sdp: String, channel: String, settings: PeerSettings = PeerSettings()
  ) async throws -> (peer: Peer, answer: String) {
    try await withCheckedThrowingContinuation { continuation in
      queue.async {
        continuation.resume(
          with: Result { try makePeer(sdp, role: .data, stream: nil, settings: settings, channel: channel) })
      }
    }
  }

  /// Answers another offer of a server of rooms, over the same connection.
  ///
  /// - Throws: `WebRTCError`.
  package func answerAgain(_ sdp: String) async throws -> String {
    let checked = try Offer(sdp, role: offer.role, codecs: settings.codecs)
    guard let graph else { throw WebRTCError(.failed, "The connection is closed.") }
    let milliseconds = Int(settings.gathering * 1000)
    return try await withCheckedThrowingContinuation { continuation in
      Self.queue.async {
        continuation.resume(with: Result { try graph.answer(checked.text, gatherMilliseconds: milliseconds) })
      }
    }
  }

  /// Makes GStreamer load its parts, so that the first peer is answered as fast as the next ones. Blocks, up to a second.
  ///
  /// - Throws: `WebRTCError` that is `unavailable`.
  package static func warmUp() throws {
    var settings = PeerSettings()
    settings.isLoopbackOnly = true
    let offer = try Offer(Offer.example, role: .conversation, codecs: [.vp8])
    let graph = try Graph(
      Pipelines.peer(offer, settings: settings),
      connection: Connection(
        settings: settings, streamName: "warm", receives: [false, true], retransmits: [true, false]),
      handlers: .init())
    _ = try graph.answer(offer.text, gatherMilliseconds: 1000)
    graph.close()
  }

  private static func makePeer(
    _ sdp: String, role: PeerRole, stream: LiveStream?, settings: PeerSettings, channel: String? = nil
  ) throws -> (Peer, String) {
    let offer = try Offer(sdp, role: role, codecs: try settings.availableCodecs())
    let peer = Peer(offer, settings: settings, stream: stream, channel: channel)
    let graph = try peer.makeGraph()
    peer.state.withLock { ($0.graph, $0.remote) = (graph, (offer.userFragment, offer.password)) }
    do {
      let answer = try graph.answer(sdp, gatherMilliseconds: Int(settings.gathering * 1000))
      try peer.check(answer)
      try stream?.attach(peer, video: offer.video?.codec)
      peer.watch()
      return (peer, answer)
    } catch {
      peer.end(nil)
      throw error
    }
  }

  /// The graph of a peer that offers.
  func open() throws -> Graph {
    let graph = try makeGraph()
    state.withLock { $0.graph = graph }
    return graph
  }

  /// Whether the other side has said where it is.
  package var isAnswered: Bool { state.withLock { $0.remote != nil } }

  /// Begins with what the other side has answered.
  ///
  /// - Returns: false where it had answered before.
  func begin(_ userFragment: String, _ password: String) -> Bool {
    state.withLock { state in
      guard state.remote == nil else { return false }
      (state.remote, state.began) = ((userFragment, password), .now)
      return true
    }
  }

  private func makeGraph() throws -> Graph {
    var receives: [Bool] = []
    if offer.video != nil { receives.append(false) }
    if offer.sound != nil { receives.append(offer.microphone != nil) }
    let retransmits = [offer.video != nil, false]
    let receiveOnly = offer.sound == nil ? offer.microphone.map(Pipelines.receiveOnlyCaps) : nil
    let codec = offer.video?.codec
    let handlers = Graph.Handlers(
      buffer: { [weak self] _, bytes, _, _ in
        self?.microphoneOut.yield(Array(bytes.assumingMemoryBound(to: Float.self)))
      },
      keyFrame: { [weak self] in if let codec { self?.stream?.wantKeyFrame(codec) } },
      state: { [weak self] in self?.take($0) },
      channel: { [weak self] isOpen in
        if isOpen {
          self?.eventsOut.yield(.channelOpened)
        } else {
          self?.end("The other side has closed the connection.")
        }
      },
      text: { [weak self] in self?.eventsOut.yield(.text($0)) },
      data: { [weak self] in self?.take($0) },
      failed: { [weak self] in self?.end("The connection broke: \($0)") })
    return try Graph(
      Pipelines.peer(offer, settings: settings),
      connection: Connection(
        settings: settings, streamName: "avatar", receives: receives, retransmits: retransmits,
        receiveOnlyCaps: receiveOnly,
        receiver: offer.microphone != nil ? Pipelines.microphone : nil, channelLabel: channel),
      handlers: handlers)
  }

  /// Every section must have been taken, in the direction that its role demands.
  private func check(_ answer: String) throws {
    let media = try SessionDescription(parsing: answer).media
    let isWhole =
      media.map(\.kind) == offer.kinds
      && media.allSatisfy { section in
        guard !section.isRejected || (section.kind == "application" && offer.role != .data) else { return false }
        return switch offer.role {
        case .microphone: section.direction == .receiveOnly
        case .viewer: section.direction == .sendOnly
        case .conversation, .publisher, .data: true
        }
      }
    guard isWhole else { throw WebRTCError(.unsupported, "Not all that was offered can be taken.") }
  }

  // MARK: what is sent

  package var isConnected: Bool { state.withLock { $0.isConnected } }

  var graph: Graph? { state.withLock { $0.graph } }

  func push(picture: UnsafeRawBufferPointer, time: Int64, duration: Int64, isKey: Bool) {
    graph?.push(picture, to: 0, time: time, duration: duration, isKey: isKey)
  }

  func push(sound: UnsafeRawBufferPointer, time: Int64, duration: Int64) {
    let graph = state.withLock { $0.isConnected ? $0.graph : nil }
    guard offer.sound != nil else { return }
    graph?.push(sound, to: offer.video == nil ? 0 : 1, time: time, duration: duration)
  }

  /// Sends a text over the data channel. Returns false where none is open.
  @discardableResult
  package func send(_ text: String) -> Bool { graph?.send(text) ?? false }

  /// Sends bytes over the data channel. Returns false where none is open.
  @discardableResult
  package func send(_ bytes: [UInt8]) -> Bool { graph?.send(bytes) ?? false }

  /// Takes a candidate of a server of rooms, `candidate:…`; those beyond the most are left out.
  package func add(candidate: String, line: Int) {
    guard candidates.add(1, ordering: .relaxed).newValue <= Self.mostCandidates else { return }
    graph?.add(candidate: candidate, line: line)
  }

  /// Takes candidates that came after the offer.
  ///
  /// - Throws: `WebRTCError`: `malformed`; `unsupported` for a restart of ICE, after which a client makes a new connection.
  package func add(fragment text: String) throws {
    let fragment = try TrickleFragment(text)
    guard let remote = state.withLock({ $0.remote }) else {
      throw WebRTCError(.unsupported, "The offer has to be answered before candidates are sent.")
    }
    let isSame =
      (fragment.userFragment ?? remote.userFragment) == remote.userFragment
      && (fragment.password ?? remote.password) == remote.password
    guard isSame else { throw WebRTCError(.unsupported, "ICE cannot be restarted here: make a new connection.") }
    let count = candidates.add(fragment.candidates.count, ordering: .relaxed).newValue
    guard count <= Self.mostCandidates else { throw WebRTCError(.malformed, "There are too many ICE candidates.") }
    for candidate in fragment.candidates { graph?.add(candidate: candidate) }
  }

  // MARK: its end

  /// Ends the connection. The event stream ends without `lost`.
  package func close() async {
    guard let graph = finish(nil) else { return }
    await withCheckedContinuation { continuation in
      Self.queue.async {
        self.stream?.detach(self)
        graph.close()
        continuation.resume()
      }
    }
  }

  /// Ends it from any thread, GStreamer's too.
  func end(_ reason: String?) {
    guard let graph = finish(reason) else { return }
    Self.queue.async {
      self.stream?.detach(self)
      graph.close()
    }
  }

  private func finish(_ reason: String?) -> Graph? {
    let graph = state.withLock { state -> Graph? in
      defer { (state.graph, state.isConnected, state.isClosed) = (nil, false, true) }
      return state.graph
    }
    guard let graph else { return nil }
    if let reason { eventsOut.yield(.lost(reason)) }
    eventsOut.finish()
    microphoneOut.finish()
    return graph
  }

  private func take(_ bytes: [UInt8]) {
    // What is lost here is lost without the other side's knowledge.
    if case .dropped = eventsOut.yield(.data(bytes)), channel != nil {
      end("More data came than could be taken.")
    }
  }

  private func take(_ connection: Graph.ConnectionState) {
    switch connection {
    case .connected:
      let isNew = state.withLock { state -> Bool in
        guard !state.isClosed, !state.isConnected else { return false }
        state.isConnected = true
        return true
      }
      guard isNew else { return }
      eventsOut.yield(.connected)
      if let codec = offer.video?.codec { stream?.wantKeyFrame(codec) }
    case .failed: end("The connection failed: no way to the other side was found.")
    case .closed: end("The other side has closed the connection.")
    case .new, .connecting, .disconnected: break
    }
  }

  /// Looks after the connection: heartbeats, and packets that stay away.
  ///
  /// The other side's transport acknowledges a heartbeat by itself, so that packets come also where no microphone is on.
  func watch() {
    let settings = settings
    // Who only receives sends reports; a data channel alone may be silent.
    let silence =
      switch offer.role {
      case .conversation, .microphone: settings.silence
      case .viewer, .publisher: settings.viewerSilence
      case .data: Double.infinity
      }
    Task { [weak self] in
      while true {
        try? await Task.sleep(for: .seconds(settings.heartbeat))
        guard let self else { return }
        let (graph, isConnected, began) = state.withLock { ($0.graph, $0.isConnected, $0.began) }
        guard let graph else { return }
        if isConnected {
          if offer.role == .conversation { graph.send(#"{"type":"ping"}"#) }
          if let last = graph.lastPacket, Double(Graph.now - last) / 1e9 > silence {
            end("Nothing has come from the other side for \(silence.formatted()) s.")
          }
        } else if ContinuousClock.now - began > .seconds(settings.connecting) {
          end("The other side did not connect within \(settings.connecting.formatted()) s.")
        }
      }
    }
  }
}
