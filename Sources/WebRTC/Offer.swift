/// Which way media goes over a connection.
package enum PeerRole: String, Sendable, CaseIterable {
  /// Microphone up, picture and sound down, a data channel: one connection for a conversation.
  case conversation
  /// The microphone alone, as WHIP (RFC 9725) has it: the answer is receive-only.
  case microphone
  /// Picture and sound alone, as WHEP has it: the answer is send-only.
  case viewer
  /// Picture and sound with a data channel, offered by this side to a server of rooms.
  case publisher
  /// A data channel alone, offered by a server of rooms.
  case data
}

/// An offer that can be answered: checked against a role, with the payload types to answer with.
package struct Offer: Sendable, Equatable {
  package let text: String
  package let role: PeerRole
  /// nil where the offer takes no pictures.
  package let video: Choice?
  /// nil where the offer takes no sound.
  package let sound: PayloadType?
  /// nil where the offer sends no sound.
  package let microphone: PayloadType?
  /// Kinds of the media sections, in their order.
  package let kinds: [String]
  package let userFragment: String
  package let password: String

  package struct Choice: Sendable, Equatable {
    package let codec: VideoCodec
    package let payloadType: PayloadType
  }

  /// - Parameter codecs: those that can be sent, the first is the favourite.
  /// - Throws: `WebRTCError`: `malformed` for what is no offer, `unsupported` for one that cannot be answered in full.
  package init(_ text: String, role: PeerRole, codecs: [VideoCodec]) throws {
    let description = try SessionDescription(parsing: text)
    try Self.check(description)
    let media = description.media
    let receiving: Set<SessionDescription.Direction> = [.sendReceive, .receiveOnly]
    let sending: Set<SessionDescription.Direction> = [.sendReceive, .sendOnly]
    self.text = text
    self.role = role
    kinds = media.map(\.kind)

    let first = media[0]
    userFragment = first.first("ice-ufrag") ?? description.first("ice-ufrag") ?? ""
    password = first.first("ice-pwd") ?? description.first("ice-pwd") ?? ""

    let sound = media.first { $0.kind == "audio" }
    let picture = media.first { $0.kind == "video" }
    switch role {
    case .microphone:
      guard let sound, sending.contains(sound.direction) else {
        throw WebRTCError(.unsupported, "The offer sends no sound: offer one audio section with a=sendonly.")
      }
      guard media.count == 1 else {
        throw WebRTCError(.unsupported, "Only a microphone is taken here: offer nothing beside the audio section.")
      }
    case .viewer:
      guard media.allSatisfy({ receiving.contains($0.direction) && $0.kind != "application" }) else {
        throw WebRTCError(
          .unsupported, "Nothing is taken here: offer audio and video with a=recvonly, and no data channel.")
      }
    case .conversation, .publisher:
      guard sound != nil || picture != nil else {
        throw WebRTCError(.unsupported, "The offer has neither sound nor pictures.")
      }
    case .data:
      guard kinds == ["application"] else {
        throw WebRTCError(
          .unsupported, "Only a data channel is taken here: the offer has \(kinds.joined(separator: ", ")).")
      }
    }

    if let sound {
      guard let opus = sound.opus else { throw WebRTCError(.unsupported, "The offered sound has no Opus.") }
      self.sound = role != .microphone && receiving.contains(sound.direction) ? opus : nil
      microphone = role != .viewer && sending.contains(sound.direction) ? opus : nil
    } else {
      (self.sound, microphone) = (nil, nil)
    }
    if let picture, receiving.contains(picture.direction) {
      let choices = codecs.compactMap { codec in
        codec.payloadType(in: picture).map { Choice(codec: codec, payloadType: $0) }
      }
      guard let choice = choices.first else {
        let names = codecs.map { $0 == .vp8 ? "VP8" : "H.264 (constrained baseline, packetization mode 1)" }
        throw WebRTCError(.unsupported, "The offered video has no \(names.joined(separator: " or ")).")
      }
      video = choice
    } else if picture != nil {
      throw WebRTCError(.unsupported, "The offer sends video without taking any: offer video with a=recvonly.")
    } else {
      video = nil
    }
  }

  /// What this side offers: to a viewer whose own offer cannot be taken, or as a publisher.
  init(sending codec: VideoCodec, as role: PeerRole) {
    (text, userFragment, password) = ("", "", "")
    (self.role, kinds) = (role, ["video", "audio"] + (role == .publisher ? ["application"] : []))
    let name = codec == .vp8 ? "VP8" : "H264"
    video = Choice(codec: codec, payloadType: PayloadType(codec: name, number: 96, parameters: [:]))
    sound = PayloadType(codec: "opus", number: 111, parameters: [:])
    microphone = nil
  }

  /// The rules that every WebRTC offer keeps (RFC 8829), as far as an answer depends on them.
  private static func check(_ description: SessionDescription) throws {
    let media = description.media
    guard !media.isEmpty else { throw WebRTCError(.malformed, "The offer has no media section.") }
    guard media.count <= 3 else {
      throw WebRTCError(
        .unsupported, "The offer has \(media.count) media sections: offer at most audio, video and data.")
    }
    for kind in ["audio", "video", "application"] where media.count(where: { $0.kind == kind }) > 1 {
      throw WebRTCError(.unsupported, "The offer has more than one section of \(kind).")
    }
    for section in media {
      guard ["audio", "video", "application"].contains(section.kind) else {
        throw WebRTCError(.unsupported, "The offer has a section of \(section.kind).")
      }
      guard !section.isRejected else {
        throw WebRTCError(.malformed, "The offer's \(section.kind) section has port 0.")
      }
      guard let id = section.first("mid"), !id.isEmpty else {
        throw WebRTCError(.malformed, "The offer's \(section.kind) section has no a=mid.")
      }
      func has(_ name: String) -> String? { section.first(name) ?? description.first(name) }
      guard let fragment = has("ice-ufrag"), (4...256).contains(fragment.utf8.count),
        let password = has("ice-pwd"), (22...256).contains(password.utf8.count)
      else { throw WebRTCError(.malformed, "The offer's \(section.kind) section has no ICE credentials.") }
      guard let print = has("fingerprint"), print.split(separator: " ").count == 2 else {
        throw WebRTCError(.malformed, "The offer's \(section.kind) section has no a=fingerprint.")
      }
      guard let setup = has("setup"), ["actpass", "active"].contains(setup) else {
        throw WebRTCError(.malformed, "The offer's \(section.kind) section has no a=setup:actpass.")
      }
      if section.kind == "application" {
        guard section.transport.hasSuffix("DTLS/SCTP"), section.formats == ["webrtc-datachannel"] else {
          throw WebRTCError(.unsupported, "The offer's data section is no WebRTC data channel.")
        }
      } else {
        guard section.transport.hasPrefix("UDP/TLS/RTP/SAVP") else {
          throw WebRTCError(.unsupported, "The offer's \(section.kind) section is not over UDP/TLS/RTP/SAVPF.")
        }
        guard section.first("rtcp-mux") != nil else {
          throw WebRTCError(.unsupported, "The offer's \(section.kind) section has no a=rtcp-mux.")
        }
      }
    }
    guard media.count > 1 else { return }
    let ids = media.compactMap { $0.first("mid") }
    let bundle = description.all("group").first { $0.hasPrefix("BUNDLE") }?.split(separator: " ").dropFirst().map(
      String.init)
    guard Set(ids).count == ids.count, Set(bundle ?? []) == Set(ids) else {
      throw WebRTCError(.unsupported, "The offer does not bundle all its sections (a=group:BUNDLE).")
    }
  }
}

extension SessionDescription {
  func first(_ name: String) -> String? { attributes.first { $0.name == name }?.value }
  func all(_ name: String) -> [String] { attributes.lazy.filter { $0.name == name }.map(\.value) }
}

/// Candidates that come after the offer: the body of a PATCH of type application/trickle-ice-sdpfrag (RFC 8840).
package struct TrickleFragment: Sendable, Equatable {
  /// Each begins with `candidate:`.
  package let candidates: [String]
  /// Those that the fragment belongs to; nil where it does not say.
  package let userFragment: String?
  package let password: String?

  static let mostCandidates = 64

  /// Candidates of transports that are not known here are left out, as RFC 9725 has it.
  package init(_ text: String) throws {
    let parts = try SessionDescription(fragment: text)
    func first(_ name: String) -> String? {
      parts.first(name) ?? parts.media.lazy.compactMap { $0.first(name) }.first
    }
    (userFragment, password) = (first("ice-ufrag"), first("ice-pwd"))
    let all = parts.all("candidate") + parts.media.flatMap { $0.all("candidate") }
    guard all.count <= Self.mostCandidates else {
      throw WebRTCError(.malformed, "The fragment has more than \(Self.mostCandidates) candidates.")
    }
    candidates = try all.compactMap { candidate in
      let words = candidate.split(separator: " ")
      guard words.count >= 8, words[6] == "typ", let port = Int(words[5]), (0...65_535).contains(port) else {
        throw WebRTCError(.malformed, "The fragment has a line that is no ICE candidate.")
      }
      return words[2].lowercased() == "udp" ? "candidate:\(candidate)" : nil
    }
    guard !candidates.isEmpty || userFragment != nil || first("end-of-candidates") != nil || !all.isEmpty else {
      throw WebRTCError(.malformed, "The fragment has no ICE candidate.")
    }
  }
}
