import Foundation
import Generation
import Testing
import Torch
import Training

@Suite struct ShardedTrainingTests {
  /// Lines with the numbers in them apart from their words.
  private func numbers(_ lines: [String], _ kind: String) -> [(words: String, numbers: [Double])] {
    lines.filter { $0.hasPrefix(kind) }.map { line in
      let parts = line.split { " [],".contains($0) }
      return (parts.filter { Double($0) == nil }.joined(separator: " "), parts.compactMap { Double($0) })
    }
  }

  private func expectClose(_ one: [String], _ other: [String], _ tolerance: Double, count: Int) -> Double {
    var largest = 0.0
    for kind in ["loss", "parameter", "average"] {
      let (a, b) = (numbers(one, kind), numbers(other, kind))
      #expect(a.map(\.words) == b.map(\.words) && a.count == (kind == "loss" ? count : 4))
      for (x, y) in zip(a, b) {
        #expect(x.numbers.count == y.numbers.count && !x.numbers.isEmpty)
        for (p, q) in zip(x.numbers, y.numbers) { largest = max(largest, abs(p - q)) }
      }
    }
    #expect(largest <= tolerance)
    return largest
  }

  @Test(arguments: [2, 3])
  func `ranks with parts of the batch train as one process with all of it`(size: Int) async throws {
    let (alone, together) = (try Place(), try Place())
    let one = try await Ranks(1, ["train", alone.url.path, "12", "100", "float32"]).succeed()[0]
    let many = try await Ranks(size, ["train", together.url.path, "12", "100", "float32"]).succeed()
    // Three ranks have unequal parts of the batch, so that the mean of their losses is another one.
    if size == 2 {
      let largest = expectClose(one, many[0], 1e-5, count: 12)
      print("two processes differ from one by at most \(largest)")
    }
    for rank in 1..<size { #expect(many[rank] == many[0]) }
    let unused = numbers(many[0], "parameter").first { $0.words == "parameter unused" }?.numbers
    #expect(unused == [1, 1, 1])
  }

  @Test func `bf16 parameters are sent rounded and stay the same on all ranks`() async throws {
    let place = try Place()
    let lines = try await Ranks(2, ["train", place.url.path, "5", "100", "bfloat16"]).succeed()
    #expect(lines[0] == lines[1] && numbers(lines[0], "parameter").count == 4)
    for name in ["first", "second"] {
      let values = numbers(lines[0], "parameter").first { $0.words == "parameter \(name)" }?.numbers ?? []
      #expect(values.count == (name == "first" ? 128 : 64))
      for value in values { #expect(Float(value).bitPattern & 0xffff == 0) }
    }
  }

  @Test func `a run that is resumed is the run that was not interrupted`() async throws {
    let (whole, parts) = (try Place(), try Place())
    let expected = try await Ranks(2, ["train", whole.url.path, "9", "100", "float32"]).succeed()
    _ = try await Ranks(2, ["train", parts.url.path, "6", "3", "float32"]).succeed()
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: parts.url.path + "/step-00000006").sorted() == [
        "average.safetensors", "manifest.rank0of2.json", "manifest.rank1of2.json", "optimizer.rank0of2.safetensors",
        "optimizer.rank1of2.safetensors", "state.json", "state.rank1of2.json", "student.safetensors",
      ])
    // Damage makes the ranks go back together.
    try Data([1]).write(to: parts.url.appendingPathComponent("step-00000006/optimizer.rank1of2.safetensors"))
    let resumed = try await Ranks(2, ["train", parts.url.path, "9", "100", "float32"]).succeed()
    #expect(resumed[0].first?.hasSuffix("optimizer.rank1of2.safetensors has 1 bytes in place of ") == false)
    #expect(resumed[0].first?.contains("optimizer.rank1of2.safetensors has 1 bytes") == true)
    for rank in 0..<2 {
      #expect(resumed[rank].contains("resumed 3"))
      #expect(resumed[rank].suffix(6 + 8) == expected[rank].suffix(6 + 8))
    }
  }

  @Test func `another number of ranks goes on with the same values`() async throws {
    let (whole, parts) = (try Place(), try Place())
    let expected = try await Ranks(1, ["train", whole.url.path, "9", "100", "float32"]).succeed()[0]
    _ = try await Ranks(1, ["train", parts.url.path, "3", "3", "float32"]).succeed()
    _ = try await Ranks(2, ["train", parts.url.path, "6", "3", "float32"]).succeed()
    let last = try await Ranks(1, ["train", parts.url.path, "9", "3", "float32"]).succeed()[0]
    #expect(last.first == "resumed 6")
    #expect(expectClose(Array(expected.suffix(3 + 8)), last, 1e-5, count: 3) > 0)
  }

  @Test func `ranks that share out the frozen base train its factors as one process that has all of it`() async throws {
    let one = try await Ranks(1, ["sharded"]).succeed()[0]
    let many = try await Ranks(2, ["sharded"]).succeed()
    func trained(_ lines: [String]) -> [String] { lines.filter { !$0.hasPrefix("bytes") } }
    #expect(trained(many[0]) == trained(many[1]) && trained(one).count == 4 + 2)
    var largest = 0.0
    for kind in ["step", "parameters"] {
      let (a, b) = (numbers(one, kind), numbers(many[0], kind))
      #expect(a.map(\.words) == b.map(\.words))
      for (x, y) in zip(a, b) {
        #expect(x.numbers.count == y.numbers.count && !x.numbers.isEmpty)
        for (p, q) in zip(x.numbers, y.numbers) { largest = max(largest, abs(p - q) / max(1, abs(p))) }
      }
    }
    print("two processes that share out the base differ from one by at most \(largest)")
    #expect(largest < 1e-4)
    // What is learnt is learnt.
    let steps = numbers(one, "step").map(\.numbers)
    #expect(Set(steps.map(\.description)).count == 4)
    // Half of the layers' matrices, and one layer of four that is whole.
    let bytes = try #require(numbers(many[0], "bytes").first).numbers
    #expect(bytes[2] < bytes[0] - 0.2 * bytes[1] && bytes[2] > bytes[0] - 0.3 * bytes[1])
    var settings = DMDConfiguration.liveAvatar14B
    (settings.run.precision, settings.run.shardWeights) = (.float32, true)
    let model = try DistilledTransformer(.liveAvatarTiny, dtype: .float32)
    let counted = MemoryEstimate(distilling: model, settings, textRows: 5, ranks: 2)
    #expect(counted.weights.first?.bytes == Int(bytes[2]))
  }

  @Test func `a full disk is said, and the checkpoint before it stays`() async throws {
    let place = try Place()
    _ = try await Ranks(1, ["train", place.url.path, "1", "1", "float32"]).succeed()
    let probe = try Ranks(1, ["train", place.url.path, "2", "1", "float32"], fileLimit: 1)
    let ended = try #require(try await probe.end(0))
    #expect(ended.status == 1)
    #expect(ended.error.contains("File too large"), "\(ended.error)")
    #expect(place.content == ["step-00000001"])
    let lines = try await Ranks(1, ["train", place.url.path, "2", "1", "float32"]).succeed()[0]
    #expect(lines.first == "resumed 1")
  }
}
