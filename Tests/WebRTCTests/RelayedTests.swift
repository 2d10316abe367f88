import Foundation
import Testing

@testable import WebRTC

/// The TURN server's address as this side, and as the client sees it.
private enum Turn {
  static let server = ProcessInfo.processInfo.environment["LIVETALK_TURN_SERVER"]
  static let seenByClient = ProcessInfo.processInfo.environment["LIVETALK_TURN_CLIENT"]
}

/// Connections between networks that only a TURN server joins. `scripts/check-turn` makes the networks, sets the environment and runs
/// this suite; it needs root.
@Suite(.serialized, .enabled(if: Turn.server != nil, "scripts/check-turn makes the networks"))
struct RelayedTests {
  @Test("Through TURN, pictures, sound, microphone and data channel come over", arguments: Client.Kind.there)
  func conversation(kind: Client.Kind) async throws {
    let avatar = try Avatar()
    avatar.run()
    var settings = PeerSettings()
    settings.turnServers = ["turn://user:password@\(Turn.server!):3478"]
    let client = try Client(kind, ["--seconds", "6", "--relay", "turn:\(Turn.seenByClient!):3478"])
    let offer = try await client.offer()
    #expect(offer.contains("typ relay"))
    #expect(!offer.contains("typ host"), "the client can only be reached through the relay")
    let (peer, answer) = try await Peer.answer(offer, role: .conversation, stream: avatar.stream, settings: settings)
    #expect(answer.contains("typ relay"))
    try client.answer(answer)
    async let microphone = tone(of: peer, seconds: 2)
    let report = try await client.next(Report.self)
    let delays = report.seen.compactMap { picture in avatar.givenAt[picture.number].map { picture.shown - $0 } }
    print("\(kind), through TURN: given to seen p50 \(quantile(delays, 0.5).rounded()) ms, lost \(report.lost)")
    #expect(report.seen.count > 16 * 3)
    #expect(report.clicks.count >= 3)
    #expect(report.texts.contains { $0.text.contains("ping") })
    #expect(abs(await microphone.frequency - 440) < 5)
    await peer.close()
  }

  @Test("Without TURN there is no way between the two, and it is said")
  func noWay() async throws {
    let avatar = try Avatar()
    var settings = PeerSettings()
    settings.connecting = 5
    let client = try Client(.aiortc, ["--seconds", "4"])
    let (peer, answer) = try await Peer.answer(
      try await client.offer(), role: .conversation, stream: avatar.stream, settings: settings)
    try client.answer(answer)
    var reason: String?
    for await event in peer.events { if case .lost(let why) = event { reason = why } }
    #expect(reason?.contains("did not connect") == true || reason?.contains("no way") == true, "\(reason ?? "")")
  }
}
