import Foundation
import Testing

@testable import WebRTC

/// Connections to aiortc, which has nothing in common with GStreamer or with browsers.
@Suite(.serialized, .enabled(if: Client.isThere, "scripts/setup tests makes the environment of the other clients"))
struct AiortcTests {
  @Test("A conversation has pictures, sound, a microphone and a data channel", arguments: VideoCodec.allCases)
  func conversation(codec: VideoCodec) async throws {
    let avatar = try Avatar()
    let client = try Client("aiortc_client.py", ["--seconds", "6", "--codec", codec.rawValue])
    avatar.run()
    let (peer, answer) = try await Peer.answer(
      try await client.offer(), role: .conversation, stream: avatar.stream, settings: loopback())
    try client.answer(answer)

    async let microphone = collect(peer, seconds: 3)
    async let echoes = echo(peer)
    let report = try await client.next(Report.self)
    await peer.close()
    avatar.stop()

    // Pictures: all of those of the last seconds, each once and in order.
    let numbers = report.seen.map(\.number)
    #expect(numbers.count >= 5 * 16, "\(numbers.count) pictures in 6 s")
    #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $0 < $1 })
    let gaps = zip(numbers, numbers.dropFirst()).filter { $0 + 1 != $1 }.count
    #expect(gaps == 0, "\(gaps) gaps")
    let delays = report.seen.compactMap { picture in avatar.givenAt[picture.number].map { picture.shown - $0 } }
    let figures = "given to seen p50 \(quantile(delays, 0.5).rounded()) ms, p95 \(quantile(delays, 0.95).rounded()) ms"
    print("aiortc \(codec):", figures, "lost:", report.lost)
    #expect(quantile(delays, 0.5) < 150, "\(figures)")

    // Lips: both carry the sender's clock, through their sender reports.
    #expect(report.clicks.count >= 4)
    #expect(report.flashes.count >= 4)

    let heard = try await microphone
    #expect(abs(heard.frequency - 440) < 5, "\(heard.frequency) Hz")
    #expect(heard.loudness > 0.12 && heard.loudness < 0.25, "\(heard.loudness)")
    #expect(await echoes >= 1)
    #expect(report.texts.contains { $0.text.contains("hello") && $0.text.contains("echo") })
    #expect(report.texts.contains { $0.text.contains("ping") })
    #expect(report.states.last == "connected")
  }

  @Test("A microphone alone is answered with recvonly and is heard")
  func microphone() async throws {
    let client = try Client("aiortc_client.py", ["--role", "microphone", "--seconds", "3"])
    let (peer, answer) = try await Peer.answer(
      try await client.offer(), role: .microphone, stream: nil, settings: loopback())
    let media = try SessionDescription(parsing: answer).media
    #expect(media.map(\.direction) == [.receiveOnly])
    try client.answer(answer)
    let heard = try await collect(peer, seconds: 2)
    #expect(abs(heard.frequency - 440) < 5)
    _ = try await client.next(Report.self)
    await peer.close()
  }

  @Test("Many viewers see one avatar, whose pictures are encoded once")
  func viewers() async throws {
    let avatar = try Avatar()
    avatar.run()
    let clients = try (0..<3).map { _ in try Client("aiortc_client.py", ["--role", "viewer", "--seconds", "4"]) }
    var peers: [Peer] = []
    for client in clients {
      let (peer, answer) = try await Peer.answer(
        try await client.offer(), role: .viewer, stream: avatar.stream, settings: loopback())
      #expect(try SessionDescription(parsing: answer).media.map(\.direction) == [.sendOnly, .sendOnly])
      try client.answer(answer)
      peers.append(peer)
    }
    #expect(avatar.stream.encoders == 2, "one of VP8, one of Opus")
    for client in clients {
      let report = try await client.next(Report.self)
      #expect(report.seen.count >= 3 * 16, "\(report.seen.count) pictures in 4 s")
      #expect(report.clicks.count >= 2)
    }
    for peer in peers { await peer.close() }
    #expect(avatar.stream.counts.peers == 0)
    #expect(avatar.stream.encoders == 0)
  }

  @Test("An interruption drops what waits, and the new sound and picture are there at once")
  func interruption() async throws {
    let avatar = try Avatar()
    let client = try Client("aiortc_client.py", ["--seconds", "7"])
    let (peer, answer) = try await Peer.answer(
      try await client.offer(), role: .conversation, stream: avatar.stream, settings: loopback())
    try client.answer(answer)
    #expect(await connected(peer))
    try await Task.sleep(for: .seconds(1))

    // Three seconds of quiet pictures wait; after one second they are dropped and number 1000 comes with a click.
    let rate = avatar.format.sampleRate
    for number in 0..<48 { avatar.give(number, hasClick: false) }
    try await Task.sleep(for: .seconds(1))
    avatar.stream.clear()
    let played = avatar.played
    let interrupted = Avatar.now
    for number in 1000..<1032 { avatar.give(number, hasClick: number == 1000) }
    #expect(played > rate / 2 && played < rate * 5 / 4, "\(played) samples of a second")

    let report = try await client.next(Report.self)
    await peer.close()
    let picture = try #require(report.seen.first { $0.number >= 1000 })
    let click = try #require(report.clicks.first)
    print(
      "interruption: new picture after \(Int(picture.shown - interrupted)) ms, new sound after \(Int(click.arrived - interrupted)) ms"
    )
    #expect(picture.shown - interrupted < 300)
    #expect(click.arrived - interrupted < 300)
    #expect(!report.seen.contains { $0.number >= 24 && $0.number < 1000 }, "what was dropped is not seen")
  }

  @Test("A client that is killed is lost within seconds")
  func killed() async throws {
    let avatar = try Avatar()
    avatar.run()
    let client = try Client("aiortc_client.py", ["--close-after", "2"])
    let (peer, answer) = try await Peer.answer(
      try await client.offer(), role: .conversation, stream: avatar.stream, settings: loopback())
    try client.answer(answer)
    let closing = try #require(try await client.next([String: Double].self)["closing"])
    var reason: String?
    for await event in peer.events { if case .lost(let why) = event { reason = why } }
    let after = Avatar.now - closing
    print("killed client: noticed after \(Int(after)) ms: \(reason ?? "")")
    #expect(reason != nil)
    #expect(after < 4000)
    #expect(!peer.isConnected)
  }

  // MARK: what the tests do at their end

  private func connected(_ peer: Peer) async -> Bool {
    for await event in peer.events where event == .connected { return true }
    return false
  }

  /// Answers texts until the connection ends; returns how many.
  private func echo(_ peer: Peer) async -> Int {
    var count = 0
    for await event in peer.events {
      guard case .text(let text) = event else { continue }
      peer.send(#"{"type":"echo","of":\#(text)}"#)
      count += 1
    }
    return count
  }

  private func collect(_ peer: Peer, seconds: Double) async throws -> (frequency: Double, loudness: Double) {
    var samples: [Float] = []
    for await piece in peer.microphone {
      samples += piece
      if Double(samples.count) > seconds * Double(Peer.microphoneRate) { break }
    }
    // The first part may be silence that waited for packets.
    let heard = samples.suffix(samples.count / 2)
    let crossings = zip(heard, heard.dropFirst()).count { $0 < 0 && $1 >= 0 }
    let power = heard.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(max(heard.count, 1))
    return (Double(crossings * Peer.microphoneRate) / Double(max(heard.count, 1)), power.squareRoot())
  }
}
