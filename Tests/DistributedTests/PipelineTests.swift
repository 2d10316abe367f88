import Distributed
import Foundation
import Generation
import Testing
import Torch

@Suite struct PipelinePlanTests {
  @Test(arguments: 1...6)
  func `every step and the decoder are in one process each, in order`(steps: Int) throws {
    for ranks in 2...(steps + 1) {
      let plan = try PipelinePlan(steps: steps, ranks: ranks)
      let parts = (0..<ranks).map(plan.parts(of:))
      #expect(parts.flatMap(\.self) == Array(0...steps) && parts.allSatisfy { !$0.isEmpty })
      #expect(plan.steps(of: plan.lastStep).last == steps - 1)
      #expect((0..<ranks).flatMap { Array(plan.steps(of: $0)) } == Array(0..<steps))
      // No process does more than one thing more than another, and the one that decodes not less than the others.
      let counts = parts.map(\.count)
      #expect(counts.max()! - counts.min()! <= 1 && counts.last == counts.max())
    }
  }

  @Test(arguments: [0, 1, 6, 40])
  func `a number of processes that does not fit is refused with those that do`(ranks: Int) {
    let error = #expect(throws: TorchError.self) { try PipelinePlan(steps: 4, ranks: ranks) }
    #expect(
      error?.description.hasPrefix(
        "A pipeline of 4 denoising steps and a decoder has 2 to 5 processes, not \(ranks): ") == true)
  }
}

@Suite struct PipelineTests {
  /// Any number of blocks, blocks of a clip, when the sink changes, the seed: ends before, at and after the change of the sink and the
  /// ends of clips.
  private static let videos = [
    "7,2,released,3", "5,2,paper,4", "6,1,released,5", "1,1,released,6", "1,4,paper,7", "4,4,released,8", "3,2,never,9",
    "6,4,released,10",
  ]
  private static let blocks = 33

  private static func lines(_ size: Int, _ videos: [String]) async throws -> [String] {
    let all = try await Ranks(size, ["avatar"] + videos).succeed()
    #expect(all.dropLast().allSatisfy { $0.isEmpty })
    return all[size - 1]
  }

  @Test func `a pipeline of processes makes what one process makes, to the last bit`() async throws {
    let one = try await Self.lines(1, Self.videos)
    // Each block is another: of another noise, another past, or another sink.
    #expect(one.count == Self.blocks && Set(one).count == Self.blocks)
    for size in [5, 2, 3] {
      let several = try await Self.lines(size, Self.videos)
      #expect(several == one, "\(size) processes")
    }
    // With the layers of each process in two groups.
    #expect(try await Self.lines(2, ["layers=2"] + Self.videos) == one)
  }

  @Test(.serialized, arguments: [(0, SIGKILL), (1, SIGSTOP), (2, SIGKILL)])
  func `a lost process ends the whole pipeline with a sentence`(lost: Int, signal: Int32) async throws {
    let ranks = try Ranks(3, ["avatar", "100000,4,released,1"], environment: ["PROBE_PAUSE": "500"])
    try await ranks.await(2, "block 3")
    kill(ranks.processes[lost].processIdentifier, signal)
    let start = ContinuousClock.now
    var sentences = ""
    for rank in 0..<3 where rank != lost {
      let ended = try #require(try await ranks.end(rank, within: 40), "rank \(rank) goes on")
      #expect(ended.status == ProcessGroup.lostRankStatus)
      #expect(ended.error.contains(" of 3 was lost ("), "\(ended.error)")
      sentences += ended.error
    }
    // Whoever ends first says which; the others may miss that one.
    #expect(sentences.contains("Error: Rank \(lost) of 3 was lost ("))
    #expect(ContinuousClock.now - start < .seconds(30))
  }
}
