import Basics
import Foundation
import Testing
import Torch

@testable import Parity

/// The harness itself: what must fail does.
@Suite struct ParitySuiteTests {
  /// A copy of the golden `dit/audio_pack` that a test may spoil.
  private final class Copy {
    let root = FileManager.default.temporaryDirectory.appendingPathComponent("parity-\(UUID().uuidString)")
    var directory: URL { root.appendingPathComponent("audio_pack") }

    init() throws {
      let goldens = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../Goldens")
      try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
      try FileManager.default.copyItem(at: goldens.appendingPathComponent("dit/audio_pack").standardized, to: directory)
    }
    deinit { try? FileManager.default.removeItem(at: root) }

    func change(_ file: String = "outputs.safetensors", _ body: (inout [String: Tensor]) throws -> Void) throws {
      let url = directory.appendingPathComponent(file)
      var tensors = try readWeights(url).mapValues { $0.copied(to: .cpu, $0.dtype) }
      try body(&tensors)
      try writeSafetensors(tensors, to: url)
    }

    func changeJSON(_ body: (inout [String: Any]) -> Void) throws {
      let url = directory.appendingPathComponent("case.json")
      var json = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any])
      body(&json)
      try JSONSerialization.data(withJSONObject: json).write(to: url)
    }

    func run() -> ParityResult { ParitySuite.run(directory, device: .cpu) }
  }

  private func spoil(_ tensors: inout [String: Tensor], by value: Float) throws {
    let name = try #require(tensors.keys.sorted().first)
    tensors[name]?.flatten().narrow(0, 0, 1).add_(Double(value))
  }

  @Test func `an untouched copy passes`() throws {
    let result = try Copy().run()
    #expect(result.passed, "\(result.line)")
    #expect(result.line.hasPrefix("dit/audio_pack: max abs diff "))
  }

  @Test(arguments: [Float(0.01), .infinity, .nan])
  func `one output value that is changed fails`(value: Float) throws {
    let copy = try Copy()
    try copy.change { try spoil(&$0, by: value) }
    let result = copy.run()
    #expect(!result.passed && result.failure == nil)
    #expect(result.line.contains("FAILED"))
    #expect(result.comparisons.count { !$0.passed } == 1)
  }

  @Test(arguments: ["inputs.safetensors", "weights.safetensors"])
  func `an input or weight that is no number fails`(file: String) throws {
    let copy = try Copy()
    try copy.change(file) { try spoil(&$0, by: .nan) }
    #expect(!copy.run().passed)
  }

  @Test(arguments: ["inputs.safetensors", "outputs.safetensors", "weights.safetensors"])
  func `a tensor that is missing fails, and is named`(file: String) throws {
    let copy = try Copy()
    var lost = ""
    try copy.change(file) {
      lost = try #require($0.keys.sorted().first)
      $0[lost] = nil
    }
    let result = copy.run()
    #expect(!result.passed)
    let reason = result.failure ?? ""
    #expect(reason.contains(lost), "\(result.line)")
  }

  @Test func `an output of another shape, a file that is gone, a broken case, all fail`() throws {
    let reshaped = try Copy()
    try reshaped.change { tensors in
      let name = try #require(tensors.keys.sorted().first)
      tensors[name] = tensors[name]?.unsqueeze(0)
    }
    #expect(reshaped.run().failure?.contains("shape") == true)

    let gone = try Copy()
    try FileManager.default.removeItem(at: gone.directory.appendingPathComponent("outputs.safetensors"))
    #expect(gone.run().failure != nil)

    let broken = try Copy()
    try Data("{".utf8).write(to: broken.directory.appendingPathComponent("case.json"))
    #expect(broken.run().failure != nil)
  }

  @Test func `an unknown component and a case that compares nothing fail`() throws {
    let unknown = try Copy()
    try unknown.changeJSON { $0["component"] = "teapot" }
    #expect(unknown.run().failure?.contains("teapot") == true)

    let empty = ParityResult(component: "dit", name: "empty", comparisons: [], failure: nil)
    #expect(!empty.passed && empty.line.contains("nothing was compared"))
  }

  @Test func `statistics of bf16 see what is no number and what is too far on average`() throws {
    let recorder = ParityRecorder()
    let zeros = Tensor.zeros([100])
    try recorder.compareStatistics("equal", zeros, zeros, maximum: 0.1, mean: 0.01)
    try recorder.compareStatistics("mean", zeros + 0.05, zeros, maximum: 0.1, mean: 0.01)
    let one = zeros.clone()
    one.narrow(0, 3, 1).fill_(.nan)
    try recorder.compareStatistics("nan", one, zeros, maximum: 0.1, mean: 0.01)
    one.narrow(0, 3, 1).fill_(0.2)
    try recorder.compareStatistics("far", one, zeros, maximum: 0.1, mean: 0.01)
    #expect(recorder.comparisons.map(\.passed) == [true, false, false, false])
    #expect(throws: LiveTalkError.self) { try recorder.compare("none", zeros, nil, .exact) }
  }

  @Test func `cases are found below their roots, and none where there is none`() throws {
    let copy = try Copy()
    #expect(ParitySuite.directories(under: [copy.root]).map(\.lastPathComponent) == ["audio_pack"])
    try FileManager.default.removeItem(at: copy.directory.appendingPathComponent("case.json"))
    #expect(ParitySuite.directories(under: [copy.root]).isEmpty)
    #expect(ParitySuite.directories(under: [copy.root.appendingPathComponent("nowhere")]).isEmpty)
  }

  @Test func `links to directories are followed, once`() throws {
    let copy = try Copy()
    let other = FileManager.default.temporaryDirectory.appendingPathComponent("parity-link-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: other, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: other) }
    for (name, target) in [("cases", copy.root), ("again", copy.root), ("itself", other)] {
      try FileManager.default.createSymbolicLink(at: other.appendingPathComponent(name), withDestinationURL: target)
    }
    let found = ParitySuite.directories(under: [other])
    #expect(found.count == 1)
    #expect(found.first.map { ParitySuite.run($0, device: .cpu).passed } == true)
  }

  @Test func `what leads to a result is counted where a case does not hold it, and a result must be there`() throws {
    let goldens = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../Goldens")
    let golden = try #require(
      ParitySuite.directories(under: [goldens.appendingPathComponent("dit").standardized]).first {
        (try? JSON(contentsOf: $0.appendingPathComponent("case.json"))["calls"].list.isEmpty) == false
      })
    let copy = FileManager.default.temporaryDirectory.appendingPathComponent("parity-\(UUID().uuidString)")
    try FileManager.default.copyItem(at: golden, to: copy)
    defer { try? FileManager.default.removeItem(at: copy) }
    func keep(_ isKept: (String) -> Bool) throws {
      let file = copy.appendingPathComponent("outputs.safetensors")
      let kept = try readWeights(file).mapValues { $0.copied(to: .cpu, $0.dtype) }.filter { isKept($0.key) }
      try writeSafetensors(kept, to: file)
      let url = copy.appendingPathComponent("case.json")
      var json = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any])
      var tensors = try #require(json["tensors"] as? [String: Any])
      let listed = try #require(tensors["outputs.safetensors"] as? [String: Any])
      tensors["outputs.safetensors"] = listed.filter { isKept($0.key) }
      json["tensors"] = tensors
      try JSONSerialization.data(withJSONObject: json).write(to: url)
    }
    let before = ParitySuite.run(copy, device: .cpu)
    #expect(before.passed)
    try keep { $0.hasSuffix("flow") || $0.hasSuffix("global_end_index") }
    let after = ParitySuite.run(copy, device: .cpu)
    #expect(after.passed && after.comparisons.count < before.comparisons.count, "\(after.line)")
    #expect(after.notHeld.count > before.notHeld.count && after.line.contains("\(after.notHeld.count) not held"))
    let last = try #require(try JSON(contentsOf: copy.appendingPathComponent("case.json"))["calls"].list.last)
    let result = try last["flow"].string()
    try keep { $0 != result }
    #expect(ParitySuite.run(copy, device: .cpu).failure?.contains(result) == true)
  }
}
