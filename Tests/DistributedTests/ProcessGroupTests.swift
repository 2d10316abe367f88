import Distributed
import Foundation
import Testing
import Torch

@Suite struct ProcessGroupTests {
  @Test func `two ranks compute together in every type`() async throws {
    let lines = try await Ranks(2, ["collectives"]).succeed()
    // Rank r brings 10, 11, 12, 13 and 20, 21, 22, 23.
    for type in ["float32", "bfloat16", "int64", "float64"] {
      for rank in 0..<2 {
        var expected = [
          "sum \(type) [30.0, 32.0, 34.0, 36.0]", "max \(type) [20.0, 21.0, 22.0, 23.0]",
          "scattered \(type) \(rank == 0 ? "[30.0, 32.0]" : "[34.0, 36.0]")",
          "gathered \(type) [10.0, 11.0, 20.0, 21.0]", "broadcast \(type) [20.0, 21.0, 22.0, 23.0]",
        ]
        if type != "int64" {
          expected += [
            "mean \(type) [15.0, 16.0, 17.0, 18.0]",
            "scattered mean \(type) \(rank == 0 ? "[15.0, 16.0]" : "[17.0, 18.0]")",
          ]
        }
        #expect(lines[rank].filter { $0.contains(" \(type) [") } == expected)
      }
    }
    for rank in 0..<2 {
      #expect(
        lines[rank].suffix(3) == [
          "any true false", "Only contiguous tensors are sent to other ranks.", "There is no mean of int64 values.",
        ])
    }
  }

  @Test func `a tensor goes from one rank to another`() async throws {
    let lines = try await Ranks(2, ["transfers"]).succeed()
    for rank in 0..<2 {
      let expected = ["float32", "bfloat16", "int64"].flatMap { type in
        [
          "one way \(type) \(rank == 0 ? "[0.0, 0.0, 0.0]" : "[0.0, 2.0, 3.0]")",
          "exchanged \(type) [\(1 - rank).0, 2.0, 3.0]",
        ]
      }
      #expect(
        lines[rank] == expected + [
          "by tag float32 \(rank == 0 ? "[0.0, 0.0, 0.0, 0.0]" : "[8.0, 8.0, 7.0, 7.0]")",
          "large true", "There is no rank 2 among 2.", "Rank \(rank) cannot send to itself.",
          "-1 is not a tag: tags are 0 to 2147483647.", "Only contiguous tensors are sent to other ranks.",
        ])
    }
  }

  @Test(arguments: [2, 3])
  func `blocks go through a pipeline of ranks`(size: Int) async throws {
    let lines = try await Ranks(size, ["pipeline"]).succeed()
    let added = size * (size + 1) / 2
    #expect(lines[0] == ["results \((0..<5).map { Double(4 * (100 * $0 + added)) })"])
  }

  @Test(arguments: ["send", "receive"])
  func `a transfer whose other side does nothing fails after the group's timeout`(way: String) async throws {
    // The ranks have as long to connect to each other.
    let ranks = try Ranks(2, ["one-sided", way], environment: ["PROBE_TIMEOUT": "10"])
    let ended = try #require(try await ranks.end(0, within: 70))
    #expect(ended.status == 1)
    #expect(ended.error.hasPrefix("Error: Rank 0 could not \(way == "send" ? "send to" : "receive from") rank 1: "))
    #expect(ended.error.contains("Timed out waiting 10000ms"), "\(ended.error)")
  }

  @Test func `ranks that do not come are an error with the place`() async throws {
    let ranks = try Ranks(2, ["collectives"], environment: ["PROBE_MEETING": "10"])
    kill(ranks.processes[1].processIdentifier, SIGKILL)
    let ended = try #require(try await ranks.end(0, within: 30))
    #expect(ended.status == 1)
    #expect(ended.error.hasPrefix("Error: The 2 ranks did not meet at 127.0.0.1:"))
    #expect(ended.error.contains(" within 10 s: "))
  }

  @Test func `a build without NCCL says so`() {
    guard !ProcessGroup.hasNCCL else { return }
    let launch = LaunchEnvironment(rank: 0, size: 1, localRank: 0, address: "127.0.0.1", port: 1)
    let error = #expect(throws: TorchError.self) { try ProcessGroup(launch, device: .cuda(0)) }
    #expect(error?.description == "Several GPUs cannot work together: this build has no NCCL.")
  }
}

@Suite struct RankWatchTests {
  /// Two ranks that train until one is sent a signal; what the other one says, and how long it took.
  private func lose(_ lost: Int, _ signal: Int32) async throws -> (Ranks.Ended, seconds: Double, Place) {
    let place = try Place()
    let ranks = try Ranks(
      2, ["train", place.url.path, "100000000", "5", "float32"], environment: ["PROBE_PAUSE": "50"])
    try await ranks.await(0, "saved 10")
    kill(ranks.processes[lost].processIdentifier, signal)
    let start = ContinuousClock.now
    let ended = try #require(try await ranks.end(1 - lost, within: 60), "the other rank goes on")
    let took = ContinuousClock.now - start
    return (ended, Double(took.components.seconds), place)
  }

  @Test(arguments: [(1, SIGKILL), (1, SIGSTOP), (0, SIGSTOP), (0, SIGKILL)])
  func `a lost rank ends the other, and the checkpoints are whole`(lost: Int, signal: Int32) async throws {
    let (ended, seconds, place) = try await lose(lost, signal)
    #expect(seconds < 30)
    #expect(ended.status == ProcessGroup.lostRankStatus)
    // The host of the store is missed at once when its connection closes.
    let how = lost == 0 && signal == SIGKILL ? "its connection is closed" : "no sign of life for 15 s"
    #expect(ended.error.hasSuffix("Error: Rank \(lost) of 2 was lost (\(how)).\n"), "\(ended.error)")
    // One process goes on from what two wrote.
    let saved = try #require(ended.lines.last { $0.hasPrefix("saved") }?.split(separator: " ").last.flatMap { Int($0) })
    let lines = try await Ranks(1, ["train", place.url.path, "\(saved + 10)", "5", "float32"]).succeed()[0]
    let resumed = try #require(lines.first?.split(separator: " ").last.flatMap { Int($0) })
    #expect(lines.first?.hasPrefix("resumed") == true && resumed >= saved)
  }

  @Test(arguments: [("receive", SIGKILL), ("receive", SIGSTOP), ("send", SIGKILL)])
  func `a rank that is lost ends the one that waits for it`(way: String, signal: Int32) async throws {
    let ranks = try Ranks(2, ["one-sided", way])
    try await ranks.await(0, "ready")
    try await ranks.await(1, "ready")
    kill(ranks.processes[1].processIdentifier, signal)
    let ended = try #require(try await ranks.end(0, within: 40))
    #expect(ended.error == "Error: Rank 1 of 2 was lost (no sign of life for 15 s).\n")
    #expect(ended.status == ProcessGroup.lostRankStatus)
  }

  @Test func `a long computation is not a loss`() async throws {
    for lines in try await Ranks(2, ["busy"]).succeed() { #expect(lines == ["together"]) }
  }

  @Test func `a rank that fails tells the others why`() async throws {
    let ranks = try Ranks(2, ["fail"])
    let ended = try #require(try await ranks.end(0, within: 30))
    #expect(ended.error == "Error: Rank 1 of 2 failed: the loss is not finite.\n")
    #expect(ended.status == ProcessGroup.lostRankStatus)
  }
}
