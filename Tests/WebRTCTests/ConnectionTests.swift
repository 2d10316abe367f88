import Foundation
import TestClients
import Testing

@testable import WebRTC

/// What runs in real time: one after the other, and not beside other tests, whose work would make it late. `make test` runs it alone.
@Suite(
  .serialized, .enabled(if: TestClients.areThere, "scripts/setup tests makes the environment of the other clients"),
  .enabled(if: ProcessInfo.processInfo.environment["LIVETALK_LIVE_TESTS"] != nil, "make live runs them"))
enum LiveTests {}

extension LiveTests {
  /// Connections to aiortc, which has nothing in common with GStreamer or with browsers, and to Chromium.
  struct ConnectionTests {
    @Test(
      "A conversation has pictures, sound, a microphone and a data channel", arguments: Client.Kind.there,
      VideoCodec.allCases)
    func conversation(kind: Client.Kind, codec: VideoCodec) async throws {
      let avatar = try Avatar()
      let client = try Client(kind, ["--seconds", "6", "--codec", codec.rawValue])
      avatar.run()
      let (peer, answer) = try await Peer.answer(
        try await client.offer(), role: .conversation, stream: avatar.stream, settings: loopback())
      try client.answer(answer)

      async let microphone = tone(of: peer, seconds: 3)
      async let echoes = echo(peer)
      let report = try await client.next(Report.self)
      await peer.close()
      avatar.stop()

      // Pictures: all of those of the last seconds, each once and in order.
      let numbers = report.seen.map(\.number)
      #expect(numbers.count >= 5 * 16, "\(numbers.count) pictures in 6 s")
      #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $0 < $1 })
      // A browser's first picture may be a black one of its own.
      #expect(report.damaged <= (kind == .chromium ? 1 : 0), "\(report.damaged) pictures are damaged")
      // aiortc gives out every picture; a browser may leave out one when it is late to paint.
      let gaps = zip(numbers, numbers.dropFirst()).filter { $0 + 1 != $1 }.count
      #expect(gaps <= (kind == .chromium ? 3 : 0), "\(gaps) gaps")
      let delays = report.seen.compactMap { picture in avatar.givenAt[picture.number].map { picture.shown - $0 } }
      let figures =
        "given to seen p50 \(quantile(delays, 0.5).rounded()) ms, p95 \(quantile(delays, 0.95).rounded()) ms"
      print("\(kind) \(codec):", figures, "lost:", report.lost, avatar.stream.counts)
      #expect(quantile(delays, 0.5) < 150, "\(figures)")

      #expect(report.clicks.count >= 4)
      #expect(report.flashes.count >= 4)
      // Lips: only a browser plays the two in step; aiortc gives out what arrives.
      let lips = report.lips
      print("\(kind) \(codec): picture after sound by", lips.map { Int($0) }, "ms")
      if kind == .chromium { #expect(lips.dropFirst(2).allSatisfy { abs($0) < 80 }, "\(lips)") }

      let heard = await microphone
      #expect(abs(heard.frequency - 440) < 5, "\(heard.frequency) Hz")
      #expect(heard.loudness > 0.12 && heard.loudness < 0.25, "\(heard.loudness)")
      #expect(await echoes >= 1)
      #expect(report.texts.contains { $0.text.contains("hello") && $0.text.contains("echo") })
      #expect(report.texts.contains { $0.text.contains("ping") })
      #expect(report.states.last == "connected")
    }

    @Test("A microphone alone is answered with recvonly and is heard", arguments: Client.Kind.there)
    func microphone(kind: Client.Kind) async throws {
      let client = try Client(kind, ["--role", "microphone", "--seconds", "3"])
      let (peer, answer) = try await Peer.answer(
        try await client.offer(), role: .microphone, stream: nil, settings: loopback())
      let media = try SessionDescription(parsing: answer).media
      #expect(media.map(\.direction) == [.receiveOnly])
      try client.answer(answer)
      let heard = await tone(of: peer, seconds: 2)
      #expect(abs(heard.frequency - 440) < 5)
      _ = try await client.next(Report.self)
      await peer.close()
    }

    @Test(
      "A viewer whose own offer could not be taken answers the server's, and sees and hears",
      arguments: Client.Kind.there, VideoCodec.allCases)
    func counterOffer(kind: Client.Kind, codec: VideoCodec) async throws {
      let avatar = try Avatar()
      avatar.run()
      let client = try Client(kind, ["--role", "answerer", "--seconds", "4"])
      var settings = loopback()
      settings.codecs = [codec]
      let (peer, offer) = try await Peer.counterOffer(stream: avatar.stream, settings: settings)
      #expect(try SessionDescription(parsing: offer).media.map(\.direction) == [.sendOnly, .sendOnly])
      #expect(!peer.isAnswered)
      try client.answer(offer)
      let answer = try await client.offer()
      #expect(try SessionDescription(parsing: answer).media.map(\.direction) == [.receiveOnly, .receiveOnly])
      try await peer.accept(answer)
      #expect(peer.isAnswered)
      let report = try await client.next(Report.self)
      #expect(report.seen.count >= 3 * 16, "\(report.seen.count) pictures in 4 s")
      #expect(report.clicks.count >= 2)
      #expect(report.states.last == "connected")
      await #expect(throws: WebRTCError.self) { try await peer.accept(answer) }
      await peer.close()
      #expect(avatar.stream.counts.peers == 0)
    }

    @Test("Many viewers see one avatar, whose pictures are encoded once")
    func viewers() async throws {
      let avatar = try Avatar()
      avatar.run()
      let clients = try (0..<3).map { _ in try Client(.aiortc, ["--role", "viewer", "--seconds", "4"]) }
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

    @Test(
      "An interruption drops what waits, and the new sound and picture are there at once", arguments: Client.Kind.there)
    func interruption(kind: Client.Kind) async throws {
      let avatar = try Avatar()
      let client = try Client(kind, ["--seconds", "7"])
      let (peer, answer) = try await Peer.answer(
        try await client.offer(), role: .conversation, stream: avatar.stream, settings: loopback())
      try client.answer(answer)
      #expect(await connected(peer))
      try await Task.sleep(for: .seconds(1))

      // Three seconds of quiet pictures wait; after one second they are dropped and number 1000 comes with a click.
      let rate = avatar.format.sampleRate
      let began = Avatar.now
      // Not quite silent: silence that waits for long is skipped.
      for number in 0..<48 { avatar.give(number, hasClick: false, hum: 0.01) }
      try await Task.sleep(for: .seconds(1))
      avatar.stream.clear()
      let played = avatar.played
      let interrupted = Avatar.now
      for number in 1000..<1032 { avatar.give(number, hasClick: number == 1000) }
      let passed = (interrupted - began) / 1000 * Double(rate)
      #expect(
        Double(played) > passed / 2 && Double(played) < passed + 0.05 * Double(rate), "\(played) of \(passed) samples")

      let report = try await client.next(Report.self)
      await peer.close()
      let picture = try #require(report.seen.first { $0.number >= 1000 })
      let click = try #require(report.clicks.first)
      print(
        "\(kind), interruption: new picture after \(Int(picture.shown - interrupted)) ms, new sound after \(Int(click.arrived - interrupted)) ms"
      )
      #expect(picture.shown - interrupted < 300)
      #expect(click.arrived - interrupted < 300)
      #expect(!report.seen.contains { $0.number >= 24 && $0.number < 1000 }, "what was dropped is not seen")
    }

    @Test(
      "With one packet in twenty lost, both ways, pictures go on and speech is whole", arguments: Client.Kind.there,
      VideoCodec.allCases)
    func loss(kind: Client.Kind, codec: VideoCodec) async throws {
      let avatar = try Avatar()
      avatar.run()
      let client = try Client(kind, ["--seconds", "16", "--codec", codec.rawValue, "--loss"])
      let (peer, answer) = try await Peer.answer(
        try await client.offer(), role: .conversation, stream: avatar.stream, settings: loopback())
      try client.answer(answer)
      async let microphone = tone(of: peer, seconds: 6)
      let report = try await client.next(Report.self)
      await peer.close()

      let lost = try #require(report.lost["relay"])
      #expect(Double(lost[0]) > 0.03 * Double(lost[1]), "the relay loses what it should: \(lost)")
      let seen = report.seen
      let first = try #require(seen.first?.number)
      let last = try #require(seen.last?.number)
      let shown = Double(Set(seen.map(\.number)).count) / Double(last - first + 1)
      let longest = zip(seen, seen.dropFirst()).map { $1.shown - $0.shown }.max() ?? 0
      print(
        "\(kind) \(codec), 5% lost:", report.lost,
        "shown \((shown * 1000).rounded() / 10)%, \(report.damaged) damaged, longest stop \(Int(longest)) ms,",
        "\(report.clicks.count) clicks")
      #expect(last - first > 16 * 6)
      #expect(shown > 0.9)
      // A browser asks for a key picture when it needs one; aiortc waits for the next.
      #expect(longest < (kind == .chromium ? 1500 : 4500))
      let seconds = Double(last - first) / 16
      // A click is two packets, and aiortc conceals none: what is lost is chosen so that it costs two at the most.
      #expect(Double(report.clicks.count) >= seconds - 2, "\(report.clicks.count) clicks in \(seconds) s")
      let heard = await microphone
      #expect(abs(heard.frequency - 440) < 10, "\(heard.frequency) Hz")
    }

    @Test("A client that is killed is lost within seconds", arguments: Client.Kind.there)
    func killed(kind: Client.Kind) async throws {
      let avatar = try Avatar()
      avatar.run()
      let client = try Client(kind, ["--close-after", "2"])
      let (peer, answer) = try await Peer.answer(
        try await client.offer(), role: .conversation, stream: avatar.stream, settings: loopback())
      try client.answer(answer)
      let closing = try #require(try await client.next([String: Double].self)["closing"])
      var reason: String?
      for await event in peer.events { if case .lost(let why) = event { reason = why } }
      let after = Avatar.now - closing
      print("\(kind), killed: noticed after \(Int(after)) ms: \(reason ?? "")")
      #expect(reason != nil)
      #expect(after < 4000)
      #expect(!peer.isConnected)
    }

    @Test(
      "Candidates may come after the offer; other credentials are a restart, which is refused",
      .enabled(if: TestClients.chromium != nil))
    func trickle() async throws {
      let avatar = try Avatar()
      avatar.run()
      let client = try Client(.chromium, ["--seconds", "3", "--trickle"])
      let offer = try await client.offer()
      #expect(!offer.contains("a=candidate"))
      let (peer, answer) = try await Peer.answer(
        offer, role: .conversation, stream: avatar.stream, settings: loopback())
      try client.answer(answer)
      let fragment = try #require(try await client.next([String: String].self)["fragment"])
      try peer.add(fragment: fragment)
      let restart = fragment.replacing("a=ice-ufrag:", with: "a=ice-ufrag:new")
      #expect(throws: WebRTCError.self) { try peer.add(fragment: restart) }
      let report = try await client.next(Report.self)
      #expect(report.states.contains("connected"))
      #expect(report.seen.count > 16)
      await peer.close()
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
  }
}
