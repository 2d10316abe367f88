import Foundation
import Testing

@testable import WebRTC

extension LiveTests {
  struct MemoryTests {
    @Test("Conversations that come and go leave nothing behind")
    func conversations() async throws {
      let avatar = try Avatar()
      avatar.run()
      let times = 30
      let client = try Client(.aiortc, ["--seconds", "0.7", "--times", "\(times)"])
      var sizes: [Double] = []
      for round in 1...times {
        let (peer, answer) = try await Peer.answer(
          try await client.offer(), role: .conversation, stream: avatar.stream, settings: loopback())
        try client.answer(answer)
        let report = try await client.next(Report.self)
        #expect(!report.seen.isEmpty && !report.texts.isEmpty)
        await peer.close()
        if round % 10 == 0 { sizes.append(Self.residentMegabytes) }
      }
      print("resident after 10, 20 and 30 conversations:", sizes, "MB")
      #expect(sizes[2] < sizes[0] * 1.03)
    }

    private static var residentMegabytes: Double {
      let fields = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ") ?? []
      return fields.count > 1 ? ((Double(fields[1]) ?? 0) * 4096 / 100_000).rounded() / 10 : 0
    }
  }
}
