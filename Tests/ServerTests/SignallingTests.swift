import Foundation
import Testing

@testable import Server
@testable import WebRTC

/// WHIP, WHEP and their sibling as HTTP; media and other clients are the subject of the tests of `WebRTC`.
@Suite(.serialized) struct SignallingTests {
  @Test(arguments: ["webrtc", "whip", "whep"])
  func whatIsNoOfferIsRefused(_ kind: String) async throws {
    try await RunningServer.with { server in
      let path = "/v1/sessions/\(try await server.session())/\(kind)"
      let options = try await server.send("OPTIONS", path)
      #expect(options.status == 200 && options.headers["accept-post"] == "application/sdp")
      #expect(try await server.send("POST", path, json: "{}").status == 415)
      var dice = FuzzTests.Dice(state: 6)
      let valid = Array(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n".utf8)
      let offers = ["", "v=0", "v=0\r\nm=audio\r\n", String(repeating: "a=x\r\n", count: 5_000)].map { Array($0.utf8) }
      for offer in offers + [[0xFF, 0xFE]] + (0..<20).map({ _ in dice.damaged(valid) }) {
        let reply = try await server.send("POST", path, offer, type: "application/sdp")
        // A viewer gets an offer in place of its own.
        #expect(
          [400, 422].contains(reply.status) || reply.code == "not_supported" || (kind == "whep" && reply.status == 406))
      }
      let large = try await server.send("POST", path, Array(repeating: 65, count: 100_000), type: "application/sdp")
      #expect(large.status == 413)
      #expect(try await server.send("DELETE", path + "/nobody").status == 404)
      #expect(
        try await server.send("PATCH", path + "/nobody", Array("a".utf8), type: "application/trickle-ice-sdpfrag")
          .status == 404)
    }
  }

  @Test(arguments: ["webrtc", "whip", "whep"])
  func endpointsTellWhatTheyAreAndHaveNoContent(_ kind: String) async throws {
    try await RunningServer.with { server in
      let path = "/v1/sessions/\(try await server.session())/\(kind)"
      let head = try await server.send("HEAD", path)
      #expect(head.status == 200 && head.headers["content-type"] == "application/sdp" && head.body.isEmpty)
      #expect(try await server.send("GET", path).status == 204)
      for method in ["GET", "HEAD"] { #expect(try await server.send(method, "/v1/sessions/x/\(kind)").status == 404) }
      #expect(try await server.send("GET", path + "/nobody").status == 404)
      for method in ["PUT", "PATCH", "DELETE"] { #expect(try await server.send(method, path).status == 405) }
    }
  }

  /// An answer that a player would give to `offer`, without anybody behind it.
  private static func answer(to offer: String, direction: String = "recvonly") throws -> String {
    let transport = """
      c=IN IP4 0.0.0.0
      a=rtcp-mux
      a=ice-ufrag:play
      a=ice-pwd:playplayplayplayplayplay
      a=fingerprint:sha-256 \(Array(repeating: "0A", count: 32).joined(separator: ":"))
      a=setup:passive
      a=\(direction)
      """
    let media = try SessionDescription(parsing: offer).media.map { section -> String in
      let type = try #require(section.payloadTypes.first)
      let clock = section.kind == "audio" ? "opus/48000/2" : "\(type.codec)/90000"
      return """
        m=\(section.kind) 9 UDP/TLS/RTP/SAVPF \(type.number)
        \(transport)
        a=mid:\(section.first("mid") ?? "")
        a=rtpmap:\(type.number) \(clock)
        """
    }
    let mids = try SessionDescription(parsing: offer).media.compactMap { $0.first("mid") }.joined(separator: " ")
    let text =
      "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\na=group:BUNDLE \(mids)\n" + media.joined(separator: "\n") + "\n"
    return text.replacing("\n", with: "\r\n")
  }

  @Test func viewersOfferThatCannotBeTakenIsCounteredByOneThatCan() async throws {
    do { try Peer.warmUp() } catch let error as WebRTCError where error.reason == .unavailable { return }
    try await RunningServer.with(change: {
      $0.webRTC.isLoopbackOnly = true
      $0.webRTC.turnServers = ["turn://live:talk@127.0.0.1:9"]
      $0.webRTC.gathering = 0.2
    }) { server in
      let path = "/v1/sessions/\(try await server.session())/whep"
      // A data channel and a microphone are nothing for a viewer.
      let reply = try await server.send("POST", path, Array(Offer.example.utf8), type: "application/sdp")
      #expect(reply.status == 406 && reply.headers["content-type"] == "application/sdp", "\(reply.text)")
      #expect(
        reply.text.contains("a=sendonly") && !reply.text.contains("a=recvonly") && reply.text.contains("a=candidate:"))
      #expect(reply.text.contains("a=setup:active") && reply.headers["etag"] != nil)
      #expect(reply.headers["link"]?.hasPrefix("<turn:127.0.0.1:9>; ") == true)
      // However soon it is made after its pipeline.
      for _ in 0..<20 {
        let other = try await server.send("POST", path, Array(Offer.example.utf8), type: "application/sdp")
        #expect(other.text.contains("OPUS/48000/2"), "\(other.text)")
        #expect(try await server.send("DELETE", try #require(other.headers["location"])).status == 200)
      }
      let location = try #require(reply.headers["location"])
      func patch(_ text: String, _ type: String = "application/sdp") async throws -> Reply {
        try await server.send("PATCH", location, Array(text.utf8), type: type)
      }
      #expect(try await patch("nothing").status == 400)
      #expect(try await patch("a=ice-ufrag:play", "application/trickle-ice-sdpfrag").status == 415)
      #expect(try await patch(try Self.answer(to: reply.text, direction: "sendrecv")).status == 422)
      let taken = try await patch(try Self.answer(to: reply.text))
      #expect(taken.status == 204, "\(taken.text)")
      // It is made: from now on there are candidates only.
      #expect(try await patch(try Self.answer(to: reply.text)).status == 415)
      let fragment = Array("a=ice-ufrag:play\r\na=ice-pwd:playplayplayplayplayplay\r\n".utf8)
      let trickled = try await server.send(
        "PATCH", location, fragment, type: "application/trickle-ice-sdpfrag",
        headers: ["If-Match: \(reply.headers["etag"] ?? "")"])
      #expect(trickled.status == 204, "\(trickled.text)")
      let restart = Array("a=ice-ufrag:anew\r\na=ice-pwd:anewanewanewanewanewanew\r\n".utf8)
      let refused = try await server.send(
        "PATCH", location, restart, type: "application/trickle-ice-sdpfrag", headers: ["If-Match: *"])
      #expect(refused.status == 422 && refused.code == "unprocessable")
      // What was refused ends nothing.
      #expect(try await server.send("GET", location).status == 204)
      #expect(try await server.send("DELETE", location).status == 200)
    }
  }

  @Test func offerIsAnsweredTrickledToAndEnded() async throws {
    do { try Peer.warmUp() } catch let error as WebRTCError where error.reason == .unavailable { return }
    try await RunningServer.with(change: {
      $0.webRTC.isLoopbackOnly = true
      $0.webRTC.turnServers = ["turn://live%20talk:pass%22word@127.0.0.1:9?transport=tcp"]
      $0.webRTC.gathering = 0.2
    }) { server in
      let id = try await server.session()
      let path = "/v1/sessions/\(id)/webrtc"
      let offer = try Offer(Offer.example, role: .conversation, codecs: [.vp8])
      let reply = try await server.send("POST", path, Array(Offer.example.utf8), type: "application/sdp")
      #expect(reply.status == 201 && reply.headers["content-type"] == "application/sdp", "\(reply.text)")
      #expect(reply.text.hasPrefix("v=0") && reply.text.contains("a=candidate:"))
      #expect(
        reply.headers["link"]
          == #"<turn:127.0.0.1:9?transport=tcp>; rel="ice-server"; username="live talk"; credential="pass\"word"; credential-type="password""#
      )
      let location = try #require(reply.headers["location"])
      let tag = try #require(reply.headers["etag"])
      let fragment = Array("a=ice-ufrag:\(offer.userFragment)\r\na=ice-pwd:\(offer.password)\r\n".utf8)
      let type = "application/trickle-ice-sdpfrag"
      #expect(try await server.send("PATCH", location, fragment, type: type).status == 428)
      #expect(
        try await server.send("PATCH", location, fragment, type: type, headers: ["If-Match: \"old\""]).status == 412)
      #expect(
        try await server.send("PATCH", location, fragment, type: type, headers: ["If-Match: \(tag)"]).status == 204)
      #expect(try await server.send("DELETE", location).status == 200)
      try await Task.sleep(for: .milliseconds(200))
      #expect(try await server.send("DELETE", location).status == 404)
    }
  }
}
