import Basics
import Foundation
import Generation
import NN
import Testing
import Torch

@testable import Training

/// A student of one weight that is updated in every fifth step, beside a critic without a gradient.
private final class SmallStage: TrainingStage {
  let run: RunSettings
  let networks: [TrainedNetwork]
  let exported: [CheckpointFolder.Part] = []
  private let weight = Tensor([Float(1), 2, 3])
  private let other = Tensor([Float(1)])

  init(_ run: RunSettings) throws {
    self.run = run
    var settings = OptimizerSettings()
    (settings.learningRate, settings.weightDecay, settings.clip) = (0.1, 0, 0)
    networks = [
      try TrainedNetwork("student", [("weight", weight)], settings, ema: nil, run, clips: 1, updatedEvery: 5),
      try TrainedNetwork("critic", [("other", other)], settings, ema: nil, run, clips: 1),
    ]
  }

  func loss(of network: TrainedNetwork, on batch: MicroBatch) throws -> BatchLoss {
    // One sample a step: the critic's loss is the number of the step.
    network === networks[0]
      ? BatchLoss(weight.square().sum()) : BatchLoss((other * 0).sum() + Double(batch.samples[0]))
  }

  func export(_ values: [(name: String, tensor: Tensor)], to folder: URL) throws {
    let text = values[0].tensor.array(Float.self).map { "\($0)" }.joined(separator: " ")
    try Data(text.utf8).write(to: folder.appendingPathComponent("result.txt"))
  }
}

@Suite struct ResumptionTests {
  private func settings(_ folder: TemporaryFolder, steps: Int) throws -> RunSettings {
    var run = RunSettings()
    (run.data, run.checkpoint, run.out) = ("none", folder["base"].path, folder["run"].path)
    (run.steps, run.precision) = (steps, .float32)
    run.report.logEvery = 10
    run.report.checkpointEvery = 10
    run.report.sampleEvery = 0
    try FileManager.default.createDirectory(at: folder["base"], withIntermediateDirectories: true)
    return run
  }

  private func train(_ run: RunSettings, resumes: Bool, notes: (String) -> Void = { _ in }) throws {
    var heard: [String] = []
    var hooks = TrainerHooks()
    hooks.note = { heard.append($0) }
    defer { heard.forEach(notes) }
    let text = try ["run": run].jsonText(indented: true)
    _ = try Trainer(try SmallStage(run), settings: text, hooks: hooks).train(resumes: resumes)
  }

  @Test func `what moves in some steps only is in every line of metrics`() throws {
    let folder = try TemporaryFolder()
    try train(try settings(folder, steps: 20), resumes: false)
    let lines = try String(contentsOf: folder["run"].appendingPathComponent("metrics.jsonl"), encoding: .utf8)
      .split(separator: "\n")
    #expect(lines.count == 2)
    #expect(lines.allSatisfy { $0.contains("\"student/loss\"") && $0.contains("\"critic/loss\"") })
    #expect(lines.last?.contains("\"critic/loss\": 19.0") == true)
  }

  @Test func `a folder with the checkpoints of a run takes no other one, even where nothing was logged`() throws {
    let folder = try TemporaryFolder()
    var run = try settings(folder, steps: 20)
    run.report.logEvery = 0
    try train(run, resumes: false)
    #expect(
      message { try train(run, resumes: false) }.contains("it holds an earlier run; go on with that one by --resume"))
    let kept = try FileManager.default.contentsOfDirectory(
      atPath: folder["run"].appendingPathComponent("checkpoints").path)
    #expect(kept.sorted() == ["step-00000010", "step-00000020"])
  }

  @Test func `a finished run can be made longer, and its result is replaced`() throws {
    let folder = try TemporaryFolder()
    try train(try settings(folder, steps: 20), resumes: false)
    let result = folder["run"].appendingPathComponent("final/result.txt")
    let first = try String(contentsOf: result, encoding: .utf8)
    var notes: [String] = []
    try train(try settings(folder, steps: 40), resumes: true) { notes.append($0) }
    #expect(notes.contains("Changed on the way: run.steps was 20 and is now 40."))
    #expect(notes.contains("Going on from step 20."))
    #expect(try String(contentsOf: result, encoding: .utf8) != first)
    let left = try FileManager.default.contentsOfDirectory(atPath: folder["run"].path)
    #expect(!left.contains { $0.hasSuffix(".partial") || $0.hasSuffix(".replaced") })
    let shorter = message { try train(try settings(folder, steps: 5), resumes: true) }
    #expect(shorter.contains("is past the end of this run, which has 5 steps"))
  }

  @Test func `a run that goes on without a checkpoint says that it begins`() throws {
    let folder = try TemporaryFolder()
    var notes: [String] = []
    try train(try settings(folder, steps: 10), resumes: true) { notes.append($0) }
    #expect(notes.first == "There is no checkpoint in \(folder["run"].path): the run begins.")
  }

  @Test func `settings that decide what is learnt are named with both values`() throws {
    let folder = try TemporaryFolder()
    try train(try settings(folder, steps: 10), resumes: false)
    var other = try settings(folder, steps: 10)
    other.seed = 7
    other.batch = 2
    let text = message { try train(other, resumes: true) }
    #expect(text.contains("(run.batch was 1 and is now 2; run.seed was 0 and is now 7)"))
  }

  @Test func `a longer run whose rate falls says where it now ends`() {
    let old = #"{"run": {"steps": 10, "out": "a"}, "criticOptimizer": {"decay": "cosine"}}"#
    let new = #"{"run": {"steps": 20, "out": "b"}, "criticOptimizer": {"decay": "cosine"}}"#
    let compared = ResumedSettings(old, new)
    #expect(compared.conflicts.isEmpty)
    #expect(
      compared.changes == [
        "run.out was a and is now b", "run.steps was 10 and is now 20, where the learning rate now reaches zero",
      ])
  }

  @Test func `data that was moved is the same, other data under its path is not`() throws {
    let folder = try TemporaryFolder()
    for (name, value) in [("a", Float(1)), ("b", 1), ("c", 2)] {
      try FileManager.default.createDirectory(at: folder[name], withIntermediateDirectories: true)
      try writeSafetensors(["x": Tensor([value])], to: folder[name].appendingPathComponent("shard-00000.safetensors"))
    }
    func settings(_ name: String) throws -> String { try ["run": ["data": folder[name].path]].jsonText(indented: true) }
    func compared(_ old: String, _ new: String) throws -> ResumedSettings {
      let (old, new) = (try settings(old), try settings(new))
      return ResumedSettings(
        old, new, oldInputs: ResumedSettings.inputs(old), newInputs: ResumedSettings.inputs(new))
    }
    let moved = try compared("a", "b")
    #expect(moved.conflicts.isEmpty && moved.changes.count == 1)
    #expect(moved.changes.first?.hasSuffix("with the same content") == true)
    #expect(try compared("a", "c").conflicts.count == 1)
    // The same path, relative and absolute, in a checkpoint that does not know what it read.
    let here = FileManager.default.currentDirectoryPath
    let spelled = ResumedSettings(
      #"{"run": {"data": "x/y"}}"#, try ["run": ["data": "\(here)/x/../x/y"]].jsonText(indented: true))
    #expect(spelled.conflicts.isEmpty && spelled.changes.count == 1)
    // What was read has been written over since.
    let before = ResumedSettings.inputs(try settings("a"))
    try writeSafetensors(["x": Tensor([Float(5)])], to: folder["a"].appendingPathComponent("shard-00000.safetensors"))
    let text = try settings("a")
    let changed = ResumedSettings(text, text, oldInputs: before, newInputs: ResumedSettings.inputs(text))
    #expect(changed.conflicts.count == 1 && changed.conflicts[0].contains("run.data"))
  }
}
