// What this side offers, and the answer to it: to a viewer whose own offer cannot be taken (WHEP: "406 Not Acceptable"), and to a server
// of rooms.

import Dispatch

extension Peer {
  /// Seconds for which a counter-offer can be answered.
  package static let counterOfferSeconds = 30.0

  /// Offers picture and sound of a stream.
  ///
  /// - Returns: the peer, which waits for `accept`, and the offer's text with all its candidates.
  /// - Throws: `WebRTCError`.
  package static func counterOffer(
    stream: LiveStream, settings: PeerSettings = PeerSettings()
  ) async throws -> (peer: Peer, offer: String) {
    let (peer, offer) = try await offer(.viewer, stream, settings, channel: nil)
    // GStreamer's certificate is of RSA before 1.28, which a DTLS client that knows ECDSA alone refuses; so this side is the client.
    return (peer, offer.replacing("a=setup:actpass", with: "a=setup:active"))
  }

  /// Offers picture and sound of a stream, and a data channel of that label, to a server of rooms.
  ///
  /// - Returns: the peer, which waits for `accept`, and the offer's text with all its candidates.
  /// - Throws: `WebRTCError`.
  package static func publish(
    stream: LiveStream, channel: String, settings: PeerSettings = PeerSettings()
  ) async throws -> (peer: Peer, offer: String) { try await offer(.publisher, stream, settings, channel: channel) }

  private static func offer(
    _ role: PeerRole, _ stream: LiveStream, _ settings: PeerSettings, channel: String?
  ) async throws -> (Peer, String) {
    try await withCheckedThrowingContinuation { continuation in
      queue.async {
        continuation.resume(with: Result { try makeOffer(role, stream, settings, channel: channel) })
      }
    }
  }

  private static func makeOffer(
    _ role: PeerRole, _ stream: LiveStream, _ settings: PeerSettings, channel: String?
  ) throws -> (Peer, String) {
    guard let codec = try settings.availableCodecs().first else {
      throw WebRTCError(.unavailable, "This machine's GStreamer encodes neither VP8 nor H.264.")
    }
    let peer = Peer(Offer(sending: codec, as: role), settings: settings, stream: stream, channel: channel)
    do {
      let offer = try peer.open().offer(gatherMilliseconds: Int(settings.gathering * 1000))
        // It tells neither before the first picture.
        .replacing(
          "H264/90000\r\n",
          with: "H264/90000\r\na=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n")
      Task { [weak peer] in
        try? await Task.sleep(for: .seconds(counterOfferSeconds))
        if let peer, !peer.isAnswered { peer.end("The offer was not answered.") }
      }
      return (peer, offer)
    } catch {
      peer.end(nil)
      throw error
    }
  }

  private static func notTaken(_ what: String) -> WebRTCError {
    WebRTCError(.unsupported, "The answer has to take all that is offered, with a=recvonly: \(what).")
  }

  /// Takes the answer to what this side offered. One that is refused may be followed by another.
  ///
  /// - Throws: `WebRTCError`: `malformed`, or `unsupported` where it does not take what is offered.
  package func accept(_ answer: String) async throws {
    let description = try SessionDescription(parsing: answer)
    let first = description.media.first
    guard description.media.map(\.kind) == offer.kinds,
      let fragment = first?.first("ice-ufrag") ?? description.first("ice-ufrag"),
      (4...256).contains(fragment.utf8.count),
      let password = first?.first("ice-pwd") ?? description.first("ice-pwd"), (22...256).contains(password.utf8.count),
      description.media.allSatisfy({ section in
        func has(_ name: String) -> String? { section.first(name) ?? description.first(name) }
        let setup = has("setup")
        return has("fingerprint") != nil && (setup == "passive" || (setup == "active" && offer.role == .publisher))
      })
    else {
      throw WebRTCError(
        .malformed, "The answer does not fit the offer: it has other sections, no credentials, or no a=setup:passive.")
    }
    if let section = description.media.first(where: \.isRejected) {
      throw Self.notTaken("its \(section.kind) is rejected")
    }
    // A data channel's section has no payload.
    for (section, type) in zip(description.media, [offer.video?.payloadType, offer.sound]) {
      guard section.direction == .receiveOnly else {
        throw Self.notTaken("its \(section.kind) has a=\(section.direction.rawValue)")
      }
      let isThere = section.payloadTypes.contains {
        $0.number == type?.number && $0.codec.lowercased() == type?.codec.lowercased()
      }
      guard isThere else {
        throw Self.notTaken("its \(section.kind) lacks \(type?.codec ?? "a codec") as \(type?.number ?? 0)")
      }
    }
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      Self.queue.async {
        continuation.resume(
          with: Result {
            guard self.begin(fragment, password) else {
              throw WebRTCError(.unsupported, "The offer is answered already, and there is no other.")
            }
            guard let graph = self.graph else { throw WebRTCError(.failed, "The connection is closed.") }
            do {
              try graph.accept(answer)
              try self.stream?.attach(self, video: self.offer.video?.codec)
              self.watch()
            } catch {
              self.end("The offer's answer cannot be taken.")
              throw error
            }
          })
      }
    }
  }
}
