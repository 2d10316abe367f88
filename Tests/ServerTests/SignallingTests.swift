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
        #expect([400, 422].contains(reply.status) || reply.code == "not_supported", "\(reply.text)")
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
