/// What of a session description (RFC 8866) counts for WebRTC: attributes and media sections.
package struct SessionDescription: Sendable, Equatable {
  package struct Attribute: Sendable, Equatable {
    package let name: String
    /// What follows the colon; empty for a flag.
    package let value: String
  }

  package enum Direction: String, Sendable {
    case sendReceive = "sendrecv"
    case sendOnly = "sendonly"
    case receiveOnly = "recvonly"
    case inactive
  }

  package struct Media: Sendable, Equatable {
    /// "audio", "video" or "application".
    package let kind: String
    package let port: Int
    package let transport: String
    package let formats: [String]
    package var attributes: [Attribute] = []

    package func first(_ name: String) -> String? { attributes.first { $0.name == name }?.value }
    func all(_ name: String) -> [String] { attributes.lazy.filter { $0.name == name }.map(\.value) }

    package var direction: Direction {
      attributes.lazy.compactMap { Direction(rawValue: $0.name) }.first ?? .sendReceive
    }
    package var isRejected: Bool { port == 0 && first("bundle-only") == nil }
  }

  package private(set) var attributes: [Attribute] = []
  package private(set) var media: [Media] = []

  /// The longest description, and the most lines, that are read.
  static let longest = 65_536
  static let mostLines = 2048

  /// - Throws: `WebRTCError` that is `malformed`, with the number of the line.
  package init(parsing text: String) throws {
    guard text.utf8.count <= Self.longest else {
      throw WebRTCError(.malformed, "The session description has more than \(Self.longest) bytes.")
    }
    let lines = text.split(omittingEmptySubsequences: true) { $0.isNewline }
    guard lines.count <= Self.mostLines else {
      throw WebRTCError(.malformed, "The session description has more than \(Self.mostLines) lines.")
    }
    guard lines.first == "v=0" else {
      throw WebRTCError(.malformed, "The session description does not begin with v=0.")
    }
    for (number, line) in lines.enumerated() {
      try read(line, number: number + 1)
    }
  }

  /// Lines of a part of a description, such as those of a fragment for trickle ICE.
  init(fragment text: String) throws {
    guard text.utf8.count <= Self.longest else {
      throw WebRTCError(.malformed, "The fragment has more than \(Self.longest) bytes.")
    }
    for (number, line) in text.split(omittingEmptySubsequences: true, whereSeparator: \.isNewline).enumerated() {
      try read(line, number: number + 1)
    }
  }

  private mutating func read(_ line: Substring, number: Int) throws {
    let bytes = Array(line.utf8)
    guard bytes.count >= 2, bytes[1] == UInt8(ascii: "="), bytes.allSatisfy({ $0 >= 32 || $0 == 9 }) else {
      throw WebRTCError(.malformed, "Line \(number) of the session description is not of the form x=….")
    }
    let value = line.dropFirst(2)
    switch bytes[0] {
    case UInt8(ascii: "a"):
      let parts = value.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      let attribute = Attribute(name: String(parts[0]), value: parts.count > 1 ? String(parts[1]) : "")
      if media.isEmpty { attributes.append(attribute) } else { media[media.count - 1].attributes.append(attribute) }
    case UInt8(ascii: "m"):
      let parts = value.split(separator: " ")
      guard parts.count >= 4, let port = Int(parts[1]), (0...65_535).contains(port) else {
        throw WebRTCError(.malformed, "Line \(number) of the session description is no media section.")
      }
      media.append(
        Media(
          kind: String(parts[0]), port: port, transport: String(parts[2]), formats: parts.dropFirst(3).map(String.init))
      )
    default: break
    }
  }
}

// MARK: - what is offered

/// A codec as one media section numbers it.
package struct PayloadType: Sendable, Equatable {
  /// "VP8", "H264", "opus".
  package let codec: String
  package let number: Int
  package let parameters: [String: String]
}

extension SessionDescription.Media {
  /// Codecs in the order of preference.
  package var payloadTypes: [PayloadType] {
    let maps = all("rtpmap").compactMap { map -> (Int, String)? in
      let parts = map.split(separator: " ")
      guard parts.count == 2, let number = Int(parts[0]), let codec = parts[1].split(separator: "/").first else {
        return nil
      }
      return (number, String(codec))
    }
    let parameters = all("fmtp").compactMap { line -> (Int, [String: String])? in
      let parts = line.split(separator: " ", maxSplits: 1)
      guard parts.count == 2, let number = Int(parts[0]) else { return nil }
      var values: [String: String] = [:]
      for entry in parts[1].split(separator: ";") {
        let pair = entry.split(separator: "=", maxSplits: 1).map { $0.filter { $0 != " " } }
        if pair.count == 2 { values[pair[0].lowercased()] = pair[1] }
      }
      return (number, values)
    }
    return formats.compactMap { format in
      // Numbers that RTP has for payloads.
      guard let number = Int(format), (0...127).contains(number) else { return nil }
      guard let codec = maps.first(where: { $0.0 == number })?.1 else { return nil }
      return PayloadType(
        codec: codec, number: number, parameters: parameters.first(where: { $0.0 == number })?.1 ?? [:])
    }
  }

  var opus: PayloadType? { payloadTypes.first { $0.codec.lowercased() == "opus" } }
}

/// How pictures are encoded.
package enum VideoCodec: String, Sendable, CaseIterable, Codable {
  case vp8, h264

  /// As an offer numbers it; of H.264 the constrained baseline profile, in packets that hold parts of a picture.
  func payloadType(in media: SessionDescription.Media) -> PayloadType? {
    switch self {
    case .vp8: media.payloadTypes.first { $0.codec.uppercased() == "VP8" }
    case .h264:
      media.payloadTypes.first {
        $0.codec.uppercased() == "H264" && $0.parameters["packetization-mode"] == "1"
          && $0.parameters["profile-level-id"]?.lowercased().hasPrefix("42e0") == true
      }
        ?? media.payloadTypes.first {
          $0.codec.uppercased() == "H264" && $0.parameters["packetization-mode"] == "1"
            && $0.parameters["profile-level-id"]?.lowercased().hasPrefix("42") == true
        }
    }
  }
}
