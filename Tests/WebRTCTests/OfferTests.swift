import Foundation
import Testing

@testable import WebRTC

struct OfferTests {
  private func offer(_ change: (String) -> String = { $0 }, role: PeerRole = .conversation) throws -> Offer {
    try Offer(change(Offer.example), role: role, codecs: [.vp8, .h264])
  }

  private func refusal(_ change: @escaping (String) -> String, role: PeerRole = .conversation) -> WebRTCError.Reason? {
    do {
      _ = try offer(change, role: role)
      return nil
    } catch { return (error as? WebRTCError)?.reason }
  }

  /// The sections of some kinds alone.
  private func only(_ kinds: [String]) -> (String) -> String {
    { text in
      var parts = text.components(separatedBy: "m=")
      let head = parts.removeFirst()
      let kept = parts.enumerated().filter { kinds.contains(String($1.prefix { $0 != " " })) }
      let bundle = "a=group:BUNDLE " + kept.map { "\($0.offset)" }.joined(separator: " ")
      return head.replacing("a=group:BUNDLE 0 1 2", with: bundle) + kept.map { "m=" + $0.element }.joined()
    }
  }

  @Test("A browser's offer is read")
  func browser() throws {
    let offer = try offer()
    #expect(offer.kinds == ["audio", "video", "application"])
    #expect(offer.sound?.number == 111 && offer.microphone?.number == 111)
    #expect(offer.video?.codec == .vp8 && offer.video?.payloadType.number == 96)
    #expect(offer.userFragment == "warm")
  }

  @Test("A server of rooms offers a data channel alone, and nothing else is taken from it")
  func dataAlone() throws {
    let offer = try offer(only(["application"]), role: .data)
    #expect(offer.kinds == ["application"] && offer.userFragment == "warm")
    #expect(offer.video == nil && offer.sound == nil && offer.microphone == nil)
    #expect(refusal(only(["application"])) == .unsupported, "a conversation is more")
    #expect(refusal(only(["audio", "application"]), role: .data) == .unsupported)
    #expect(refusal({ $0 }, role: .data) == .unsupported)
  }

  @Test("Directions decide what is sent and what is heard")
  func directions() throws {
    let listening = try offer { $0.replacing("a=sendrecv", with: "a=recvonly") }
    #expect(listening.sound != nil && listening.microphone == nil)
    let speaking = try offer { $0.replacing("a=sendrecv", with: "a=sendonly") }
    #expect(speaking.sound == nil && speaking.microphone != nil)
  }

  @Test("Of several H.264 payload types the constrained baseline in packetization mode 1 is taken")
  func h264() throws {
    let lines = """
      a=rtpmap:100 H264/90000\r
      a=fmtp:100 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f\r
      a=rtpmap:102 H264/90000\r
      a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f\r
      a=rtpmap:104 H264/90000\r
      a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r
      """
    let text = Offer.example
      .replacing("SAVPF 96", with: "SAVPF 100 102 104")
      .replacing("a=rtpmap:96 VP8/90000", with: lines)
      .replacing("\r\r", with: "\r")
    let offer = try Offer(text, role: .conversation, codecs: [.vp8, .h264])
    #expect(offer.video?.codec == .h264 && offer.video?.payloadType.number == 104)
    #expect(throws: WebRTCError.self) { try Offer(text, role: .conversation, codecs: [.vp8]) }
  }

  @Test("A role demands its sections and directions")
  func roles() throws {
    let microphone = { [self] in only(["audio"])($0).replacing("a=sendrecv", with: "a=sendonly") }
    #expect(try offer(microphone, role: .microphone).microphone != nil)
    #expect(refusal({ $0 }, role: .microphone) == .unsupported)
    #expect(refusal({ microphone($0).replacing("a=sendonly", with: "a=recvonly") }, role: .microphone) == .unsupported)
    let view = { [self] in only(["audio", "video"])($0).replacing("a=sendrecv", with: "a=recvonly") }
    #expect(try offer(view, role: .viewer).microphone == nil)
    #expect(refusal({ $0 }, role: .viewer) == .unsupported, "it takes no data channel")
    #expect(refusal({ view($0).replacing("a=recvonly", with: "a=sendonly") }, role: .viewer) == .unsupported)
  }

  @Test(
    "What is no offer is malformed, what cannot be had is unsupported",
    arguments: [
      ("v=0", "v=1", WebRTCError.Reason.malformed), ("m=audio 9", "m=audio nine", .malformed),
      ("a=mid:1", "a=middle:1", .malformed), ("a=ice-ufrag:warm", "a=x", .malformed),
      ("a=fingerprint:", "a=print:", .malformed), ("a=setup:actpass", "a=setup:passive", .malformed),
      ("m=video 9", "m=video 0", .malformed), ("a=sendrecv", "a", .malformed),
      ("a=rtcp-mux", "a=x", .unsupported), ("BUNDLE 0 1 2", "BUNDLE 0 1", .unsupported),
      ("a=mid:1", "a=mid:0", .unsupported),
      ("opus/48000/2", "PCMU/8000", .unsupported), ("VP8/90000", "AV1/90000", .unsupported),
      ("m=application", "m=image", .unsupported), ("UDP/TLS/RTP/SAVPF 111", "RTP/AVP 111", .unsupported),
      ("m=video", "m=audio", .unsupported), ("webrtc-datachannel", "5000", .unsupported),
      ("a=rtpmap:96", "a=rtpmap:9999999999999999999999", .unsupported),
    ])
  func mistakes(old: String, new: String, reason: WebRTCError.Reason) {
    #expect(Offer.example.contains(old))
    #expect(refusal { $0.replacing(old, with: new) } == reason, "\(old) → \(new)")
  }

  @Test("Offers that are cut off, garbled or huge are refused or read, and never end the process")
  func fuzz() {
    var random = SystemRandomNumberGenerator()
    let bytes = Array(Offer.example.utf8)
    for length in stride(from: 0, to: bytes.count, by: 7) {
      _ = refusal { _ in String(decoding: bytes.prefix(length), as: UTF8.self) }
    }
    for _ in 0..<2000 {
      var changed = bytes
      for _ in 0..<Int.random(in: 1...8, using: &random) {
        changed[Int.random(in: 0..<changed.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      _ = refusal { _ in String(decoding: changed, as: UTF8.self) }
    }
    #expect(refusal { $0 + String(repeating: "a=x\r\n", count: 20_000) } == .malformed)
    #expect(refusal { _ in "" } == .malformed)
  }

  @Test("Fragments of trickle ICE are read; what is not UDP is left out")
  func fragments() throws {
    let text = """
      a=ice-ufrag:warm
      a=ice-pwd:warmwarmwarmwarmwarmwarm
      m=audio 9 UDP/TLS/RTP/SAVPF 0
      a=mid:0
      a=candidate:1 1 udp 2113937151 192.0.2.1 40000 typ host
      a=candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active
      a=end-of-candidates
      """
    let fragment = try TrickleFragment(text)
    #expect(fragment.candidates == ["candidate:1 1 udp 2113937151 192.0.2.1 40000 typ host"])
    #expect(fragment.userFragment == "warm")
    #expect(throws: WebRTCError.self) { try TrickleFragment("a=candidate:nonsense") }
    #expect(throws: WebRTCError.self) { try TrickleFragment("") }
    #expect(throws: WebRTCError.self) {
      try TrickleFragment(String(repeating: "a=candidate:1 1 udp 1 192.0.2.1 4 typ host\n", count: 65))
    }
  }

  @Test("Offers with lines missing, twice, cut or out of range are answered or refused, and never end the process")
  func garbled() async throws {
    try Graph.load()
    var settings = loopback()
    settings.gathering = 0.2
    let lines = Offer.example.components(separatedBy: "\r\n").dropLast()
    var answered = 0
    for (index, line) in lines.enumerated() {
      let digits = String(line.map { $0.isNumber ? "9" : $0 })
      for replacement in [[], [line, line], [String(line.prefix(line.count / 2))], [digits], [line + " " + line]] {
        var changed = Array(lines)
        changed.replaceSubrange(index...index, with: replacement)
        let text = changed.joined(separator: "\r\n") + "\r\n"
        do {
          let (peer, _) = try await Peer.answer(text, role: .conversation, stream: nil, settings: settings)
          answered += 1
          await peer.close()
        } catch { #expect(error is WebRTCError, "\(error)") }
      }
    }
    #expect(answered > lines.count / 4, "\(answered) of \(5 * lines.count) answered")
  }
}
