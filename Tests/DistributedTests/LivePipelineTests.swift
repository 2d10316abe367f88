import Distributed
import Foundation
import Testing

/// Live sessions over several processes: the first one has the engine, the others do what it says.
@Suite(.serialized) struct LivePipelineTests {
  private static func lines(_ size: Int, _ arguments: String...) async throws -> [String] {
    let all = try await Ranks(size, ["live"] + arguments).succeed()
    #expect(all.dropFirst().allSatisfy { $0.isEmpty })
    return all[0]
  }

  @Test func `blocks that are stopped between steps and begun again are those of one process`() async throws {
    let one = try await Self.lines(1, "blocks")
    #expect(one.count == 14 && Set(one).count == 14)
    for size in [2, 5] { #expect(try await Self.lines(size, "blocks") == one, "\(size) processes") }
  }

  @Test func `sessions one after the other and two at a time show what one process shows, to the last bit`()
    async throws
  {
    let one = try await Self.lines(1, "talk")
    #expect(one.count == 19 && Set(one).count == 19)
    for size in [2, 3] { #expect(try await Self.lines(size, "talk") == one, "\(size) processes") }
  }

  @Test func `blocks go on before the ones ahead of them have come out`() async throws {
    let one = try await Self.lines(1, "ahead")
    let ranks = try Ranks(4, ["live", "ahead"])
    try await ranks.await(0, "ready")
    // Nothing comes out while the one that decodes stands still.
    kill(ranks.processes[3].processIdentifier, SIGSTOP)
    try await ranks.await(0, "begun", within: 14)
    #expect(ranks.lines(0) == ["ready", "begun"])
    kill(ranks.processes[3].processIdentifier, SIGCONT)
    #expect(try await ranks.succeed()[0] == one)
    #expect(one.count == 6 && Set(one).count == 6)
  }

  @Test(arguments: [2, 4])
  func `whenever a conversation is interrupted, each block is that of its sound`(size: Int) async throws {
    let lines = try await Self.lines(size, "interrupt")
    #expect(lines.count == 2)
    for line in lines { #expect(line.contains(": true of "), "\(line)") }
  }

  @Test func `processes that are told nothing wait without a deadline`() async throws {
    // All else in the group may take no longer than the meeting.
    let ranks = try Ranks(3, ["live", "idle", "18"], environment: ["PROBE_TIMEOUT": "0", "PROBE_MEETING": "15"])
    #expect(try await ranks.succeed()[0].count == 4)
  }

  @Test func `the process with the least memory says how many sessions there may be`() async throws {
    #expect(try await Self.lines(2, "room") == ["room 2"])
    #expect(try await Self.lines(3, "room") == ["room 1"])
  }

  @Test(arguments: [(1, SIGKILL), (2, SIGSTOP)])
  func `a lost process ends the conversation with a sentence`(lost: Int, signal: Int32) async throws {
    let ranks = try Ranks(
      3, ["live", "endless"], environment: ["PROBE_PAUSE": "300", "PROBE_TIMEOUT": "0"])
    try await ranks.await(0, "endless block 3")
    kill(ranks.processes[lost].processIdentifier, signal)
    let start = ContinuousClock.now
    for rank in 0..<3 where rank != lost {
      let ended = try #require(try await ranks.end(rank, within: 40), "rank \(rank) goes on")
      #expect(ended.status == ProcessGroup.lostRankStatus)
      #expect(ended.error.contains(" of 3 was lost ("), "\(ended.error)")
    }
    #expect(ContinuousClock.now - start < .seconds(30))
  }
}
