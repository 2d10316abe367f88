import Foundation
import Testing

/// `generate` by several processes.
@Suite struct PipelineCommandTests {
  private let folder: Folder
  private let arguments: [String]

  init() async throws {
    let folder = try Folder()
    let made = try await Tool.run("checkpoint", "init", "--preset", "liveavatar-tiny", "--out", folder["avatar"].path)
    try #require(made.status == 0, "\(made.error)")
    let voice = try folder.file("voice.wav", Fixtures.wave(seconds: 2))
    self.folder = folder
    arguments = [
      "generate", "--checkpoint", folder["avatar"].path, "--image", Fixtures.picture, "--audio", voice, "--prompt",
      "A person speaks.", "--seconds", "1", "--size", "64x64", "--sink", "paper",
    ]
  }

  private func run(_ size: Int, _ more: String...) async throws -> [Tool.Result] {
    try await Tool.runTogether(
      try Tool.executable(), arguments + ["--pipeline"] + more, Fixtures.ranks(size))
  }

  @Test func `several processes write the video of one`() async throws {
    let alone = try await Tool.run(arguments + ["-o", folder["alone.rgb"].path])
    try #require(alone.status == 0, "\(alone.error)")
    for size in [2, 5] {
      let results = try await run(size, "-o", folder["\(size).rgb"].path)
      for result in results { #expect(result.status == 0, "\(result.error)") }
      // The one that decodes speaks, and no other; results come in the order in which the processes end.
      #expect(results.count { $0.text.isEmpty && $0.error.isEmpty } == size - 1)
      #expect(results.count { $0.text.contains("25 frames") } == 1)
      let (one, several) = (try Data(contentsOf: folder["alone.rgb"]), try Data(contentsOf: folder["\(size).rgb"]))
      #expect(one.count == 25 * 64 * 64 * 3 && one == several)
    }
  }

  @Test func `layers on several devices make the video of one, alone and in a pipeline`() async throws {
    let plain = try await Tool.run(arguments + ["-o", folder["alone.rgb"].path])
    try #require(plain.status == 0, "\(plain.error)")
    let alone = try Data(contentsOf: folder["alone.rgb"])
    // On a processor the groups of layers share the one device that there is.
    let layers = ["--device", "cpu", "--layers-per-device"]
    let divided = try await Tool.run(arguments + layers + ["3", "-o", folder["divided.rgb"].path])
    #expect(divided.status == 0, "\(divided.error)")
    #expect(try Data(contentsOf: folder["divided.rgb"]) == alone)
    let results = try await Tool.runTogether(
      try Tool.executable(), arguments + ["--pipeline"] + layers + ["2", "-o", folder["both.rgb"].path],
      Fixtures.ranks(2))
    for result in results { #expect(result.status == 0, "\(result.error)") }
    #expect(try Data(contentsOf: folder["both.rgb"]) == alone)

    for (more, sentence) in [
      (["0"], "--layers-per-device is a number from 1 to 4, the layers of this transformer, not 0"),
      (["5"], "--layers-per-device is a number from 1 to 4, the layers of this transformer, not 5"),
      (["2", "--offload"], "leave one of them out"),
    ] {
      let wrong = try await Tool.run(arguments + layers + more + ["-o", folder["out.rgb"].path])
      #expect(wrong.status == 1 && wrong.complaints.count == 1 && wrong.error.contains(sentence), "\(wrong.error)")
    }
  }

  @Test func `bench tells what a pipeline gives, and what its parts would give otherwise`() async throws {
    let results = try await Tool.runTogether(
      try Tool.executable(),
      ["bench", "--checkpoint", folder["avatar"].path, "--pipeline", "--size", "64x64", "--blocks", "2"],
      Fixtures.ranks(2))
    for result in results { #expect(result.status == 0, "\(result.error)") }
    let report = try #require(results.first { !$0.text.isEmpty }?.text.split(separator: "\n").last)
    let fields = try #require(try JSONSerialization.jsonObject(with: Data(report.utf8)) as? [String: Any])
    #expect(fields["framesPerSecond"] as? Double ?? 0 > 0)
    let rows = try #require(fields["alternatives"] as? [[String: Any]])
    #expect(
      rows.map { $0["processes"] as? Int } == [5, 4, 1, 1] && rows.map { $0["passes"] as? Int } == [4, 4, 4, 80])
    let rates = try rows.map { try #require($0["framesPerSecond"] as? Double) }
    #expect(zip(rates, rates.dropFirst()).allSatisfy { $0 >= $1 } && rates[0] > rates[2] && rates[2] > rates[3])
  }

  @Test func `a number of processes that does not fit is refused in a sentence`() async throws {
    let alone = try await Tool.run(arguments + ["--pipeline", "-o", folder["out.rgb"].path])
    #expect(alone.status == 1)
    #expect(alone.error.contains("has 2 to 5 processes, not 1: start them with torchrun"), "\(alone.error)")
    let results = try await run(3, "--steps", "1", "-o", folder["out.rgb"].path)
    #expect(results.allSatisfy { $0.status != 0 })
    #expect(results.contains { $0.error.contains("has 2 processes, not 3: start fewer") }, "\(results)")
  }

  @Test func `one process that fails ends the others with its reason, and nothing is left behind`() async throws {
    let place = folder["no such folder/out.mp4"].path
    let results = try await run(2, "-o", place)
    #expect(Set(results.map(\.status)) == [1, 75])
    #expect(results.contains { $0.error.contains("Rank 1 of 2 failed: ") }, "\(results)")
  }

  @Test func `a lost process leaves no half of a video`() async throws {
    let out = folder["out.mp4"]
    let before = folder.content
    let results = try await Tool.runTogether(
      try Tool.executable(), arguments.map { $0 == "1" ? "2" : $0 } + ["--pipeline", "--steps", "300", "-o", out.path],
      Fixtures.ranks(2)
    ) { rank, process in
      guard rank == 0 else { return }
      Thread.detachNewThread {
        // Once the output is begun, it is under way.
        for _ in 0..<6000 where folder.content == before { usleep(10_000) }
        kill(process, SIGKILL)
      }
    }
    #expect(results.contains { $0.status == 75 && $0.error.contains("Error: Rank 0 of 2 was lost (") }, "\(results)")
    #expect(folder.content == before)
  }
}
