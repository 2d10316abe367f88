import Foundation
import SwiftProtobuf
import Testing

@testable import LiveKit

/// Messages against the bytes that LiveKit's own package makes of them (Fixtures/make_messages.py).
struct MessageTests {
  private let fixtures: [String: [UInt8]]

  init() throws {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures/messages.json")
    let texts = try JSONDecoder().decode([String: String].self, from: Data(contentsOf: file))
    fixtures = try texts.mapValues { text in
      let digits = Array(text)
      return try stride(from: 0, to: digits.count, by: 2).map {
        try #require(UInt8(String(digits[$0...($0 + 1)]), radix: 16))
      }
    }
  }

  private func bytes(_ name: String) throws -> [UInt8] { try #require(fixtures[name]) }
  private func response(_ name: String) throws -> Livekit_SignalResponse {
    try Livekit_SignalResponse(serializedBytes: try bytes(name))
  }
  private func packet(_ name: String) throws -> Livekit_DataPacket {
    try Livekit_DataPacket(serializedBytes: try bytes(name))
  }

  @Test func `what is signalled has LiveKit's bytes`() throws {
    let messages: [String: Livekit_SignalRequest] = [
      "offer": .with { $0.offer = .with { ($0.type, $0.sdp, $0.id) = ("offer", "v=0\r\n", 1) } },
      "answer": .with { $0.answer = .with { ($0.type, $0.sdp, $0.id) = ("answer", "v=0\r\n", 7) } },
      "add_track": .with {
        $0.addTrack = .with {
          ($0.cid, $0.name, $0.type, $0.source) = ("track", "avatar_video", .video, .camera)
          ($0.width, $0.height) = (512, 384)
          $0.layers = [.with { ($0.quality, $0.width, $0.height, $0.bitrate) = (.high, 512, 384, 1_000_000) }]
        }
      },
      "add_sound": .with {
        $0.addTrack = .with {
          ($0.cid, $0.name, $0.type, $0.source) = ("track", "avatar_audio", .audio, .microphone)
          $0.disableRed = true
        }
      },
      "leave": .with { $0.leave.reason = .clientInitiated },
      "ping": .with { $0.ping = 1_700_000_000_000 },
      "ping_req": .with { $0.pingReq.timestamp = 1_700_000_000_000 },
    ]
    for (name, message) in messages { #expect(try message.serializedBytes() == bytes(name), "\(name)") }
  }

  @Test func `what is sent as data has LiveKit's bytes`() throws {
    let messages: [String: Livekit_DataPacket] = [
      "rpc_request": .with {
        $0.rpcRequest = .with {
          ($0.id, $0.method, $0.payload, $0.version) = ("1", "lk.playback_finished", "{}", 1)
          $0.responseTimeoutMs = 10_000
        }
      },
      "rpc_ack": .with { $0.rpcAck.requestID = "9" },
      "rpc_response": .with { ($0.rpcResponse.requestID, $0.rpcResponse.payload) = ("9", "ok") },
      "rpc_error": .with {
        $0.rpcResponse.requestID = "9"
        $0.rpcResponse.error = .with { ($0.code, $0.message) = (1400, "no") }
      },
    ]
    for (name, message) in messages {
      var message = message
      (message.destinationIdentities, message.sequence) = (["agent"], 3)
      #expect(try message.serializedBytes() == bytes(name), "\(name)")
    }
  }

  @Test func `what a server signals is read, and what is not known is passed over`() throws {
    guard case .join(let join)? = try response("join").message else { return #expect(Bool(false), "no join") }
    #expect(join.participant.identity == "avatar")
    #expect(join.participant.attributes == ["lk.publish_on_behalf": "agent"])
    #expect(join.otherParticipants.map(\.identity) == ["agent"])
    #expect(join.otherParticipants.map(\.kind) == [.agent])
    #expect(join.otherParticipants.map(\.state) == [.active])
    #expect(join.iceServers.map(\.urls) == [["turn:turn.example.org:3478?transport=udp"]])
    #expect(join.iceServers.map(\.username) == ["u:1"] && join.iceServers.map(\.credential) == ["p@ss"])
    #expect(join.pingInterval == 5 && join.pingTimeout == 15 && join.alternativeURL.isEmpty)

    #expect(try response("server_offer").offer.id == 7)
    #expect(try response("server_answer").answer.sdp == "v=0\r\n")
    #expect(try response("trickle").trickle.candidateInit == #"{"candidate":""}"#)
    #expect(try response("trickle").trickle.target == .subscriber)
    #expect(try response("update").update.participants.map(\.state) == [.disconnected])
    #expect(try response("track_published").trackPublished.cid == "track")
    #expect(try response("refused").requestResponse.reason == .notAllowed)
    #expect(try response("refused").requestResponse.addTrack.cid == "track")
    #expect(try response("removed").leave.reason == .participantRemoved)
    #expect(try response("speakers").message == nil)
  }

  @Test func `what an agent sends is read`() throws {
    let header = try packet("stream_header")
    #expect(header.participantIdentity == "agent")
    #expect(header.streamHeader.streamID == "AUDIO_1" && header.streamHeader.topic == AgentSpeech.topic)
    #expect(header.streamHeader.attributes == ["sample_rate": "24000"])
    let chunk = try packet("stream_chunk").streamChunk
    #expect(chunk.streamID == "AUDIO_1" && chunk.chunkIndex == 2 && Array(chunk.content) == [1, 2, 255, 127])
    #expect(try packet("stream_trailer").streamTrailer.streamID == "AUDIO_1")
    #expect(try packet("clear").rpcRequest.method == AvatarCall.clearBuffer)
    #expect(try packet("rpc_error").rpcResponse.error.code == 1400)
    #expect(try packet("user").value == nil)
  }

  @Test func `a message that is cut off is none`() throws {
    for (name, bytes) in fixtures {
      let cut = Array(bytes.dropLast())
      #expect(throws: (any Error).self, "\(name)") { try Livekit_SignalRequest(serializedBytes: cut) }
      #expect(throws: (any Error).self, "\(name)") { try Livekit_SignalResponse(serializedBytes: cut) }
      #expect(throws: (any Error).self, "\(name)") { try Livekit_DataPacket(serializedBytes: cut) }
    }
  }
}
