import Foundation
import Generation
import Models
import NN
import Testing
import Torch

@testable import Training

@Suite struct StageTests {
  private let tiny: TinyTraining

  init() throws { tiny = try TinyTraining() }

  private func isDone(_ ending: Trainer.Ending) -> Bool {
    if case .done = ending { true } else { false }
  }

  @Test(arguments: TinyTraining.Kind.allCases)
  func `a run that was stopped goes on to the very same losses and weights`(kind: TinyTraining.Kind) throws {
    let part = TinyTraining.trainedFile(kind)
    let whole = try tiny.train(kind, "whole")
    #expect(isDone(whole.ending) && whole.metrics.map { $0["step"] } == [1, 2, 3, 4])
    #expect(whole.metrics.allSatisfy { $0.values.allSatisfy(\.isFinite) })
    let stopped = try tiny.train(kind, "parts", stoppingAfter: 3)
    guard case .stopped(step: 3) = stopped.ending else {
      Issue.record("\(stopped.ending)")
      return
    }
    // The settings of a run name its folder: what goes on is the same one, from its second checkpoint too.
    #expect(stopped.metrics == Array(whole.metrics.prefix(3)))
    let resumed = try tiny.train(kind, "parts", resumes: true)
    #expect(isDone(resumed.ending) && resumed.notes.contains("Going on from step 3."))
    #expect(resumed.metrics == whole.metrics)
    let (one, other) = (try tiny.weights("whole/final"), try tiny.weights("parts/final"))
    // The speech encoder comes with its phoneme head, a merged transformer with its LoRA weights.
    let adapted: [TinyTraining.Kind] = [.teacherLoRA, .dmdLoRA, .dmdInHalf]
    #expect(
      one == other && one.count == (part == .audioEncoder || part == .faceReader || adapted.contains(kind) ? 5 : 4))
    if adapted.contains(kind) {
      let merged = try LoRAAdapter.merge(
        try readWeights(tiny.folder["parts/final/adapter/adapter.safetensors"]),
        into: try readWeights(tiny.folder["base/LiveTalk-1.3B-V0.1/model.safetensors"]), alpha: 4)
      for (name, tensor) in try readWeights(tiny.folder["parts/final/LiveTalk-1.3B-V0.1/model.safetensors"]) {
        #expect(tensor.equals(try #require(merged[name])), "\(name)")
      }
    }
    let states = ["whole", "parts"].map { "\($0)/checkpoints/step-00000004" }
    #expect(try tiny.weights(states[0]) == tiny.weights(states[1]))
    try checkResult("parts", part, measuresLatents: part == .vae && kind != .vaeDecoder)
    // Training has changed what it was to change, and nothing else.
    let base = try tiny.weights("base")
    let names = ModelFamily.liveTalk.file(part).names
    let changed = try #require(names.first { one[$0] != nil } as NSString?).deletingPathExtension
    for (name, data) in base where !name.hasPrefix(changed) { #expect(one[name] == data, "\(name)") }
    #expect(one.first { $0.key.hasPrefix(changed) }?.value != base.first { $0.key.hasPrefix(changed) }?.value)
  }

  @Test func `a decoder that is trained alone leaves the latents what they are`() throws {
    try tiny.train(.vaeDecoder, "run")
    let name = ModelFamily.liveTalk.file(.vae).names[0]
    let before = try readWeights(tiny.folder["base/\(name)"])
    let after = try readWeights(tiny.folder["run/final/\(name)"])
    #expect(Set(before.keys) == Set(after.keys))
    for (key, tensor) in after where key.hasPrefix("encoder.") || key.hasPrefix("conv1.") {
      #expect(tensor.equals(try #require(before[key])), "\(key)")
    }
    for key in ["decoder.conv1.weight", "decoder.head.2.weight", "conv2.weight"] {
      #expect(!(try #require(after[key])).equals(try #require(before[key])), "\(key)")
    }
  }

  /// The result is a whole checkpoint that is loaded and says where it works.
  private func checkResult(_ run: String, _ part: CheckpointFolder.Part, measuresLatents: Bool) throws {
    let folder = try CheckpointFolder(tiny.folder["\(run)/final"])
    let models = try AvatarModels(loading: folder, device: .cpu, dtype: .float32)
    let expected = part == .transformer ? (32, 48) : (64, 64)
    #expect(folder.settings.imageSizes == [ReferencePicture.Size(height: expected.0, width: expected.1)])
    #expect(folder.settings.provenance?.contains("trained with") == true)
    #expect((folder.settings.latentStatistics != nil) == measuresLatents)
    #expect(folder.settings.headDim == 24 && models.transformer.config == TinyTraining.preset.transformer)
    let makesNoVideo = part == .audioEncoder || part == .faceReader
    let names = try FileManager.default.contentsOfDirectory(atPath: tiny.folder[run].path).filter {
      !$0.hasPrefix("events.")
    }
    #expect(
      Set(names) == Set(["checkpoints", "final", "metrics.jsonl"] + (makesNoVideo ? [] : ["samples"])))
  }

  @Test func `a run is not resumed under other settings`() throws {
    try tiny.train(.teacher, "run", stoppingAfter: 2)
    for edit in [{ $0.seed = 1 }, { $0.batch = 1 }] as [(inout RunSettings) -> Void] {
      let text = message { try tiny.train(.teacher, "run", resumes: true, edit: edit) }
      #expect(text.contains("other settings") && text.contains("step-00000002"), "\(text)")
    }
    // Nor begun again over what is there.
    let text = message { try tiny.train(.teacher, "run") }
    #expect(text.contains("earlier run"), "\(text)")
    #expect(try tiny.metrics("run").count == 2)
    // Without metrics the checkpoints tell.
    let quiet = { (run: inout RunSettings) in run.report.logEvery = 0 }
    try tiny.train(.teacher, "quiet", stoppingAfter: 2, edit: quiet)
    #expect(message { try tiny.train(.teacher, "quiet", edit: quiet) }.contains("earlier run"))
  }

  @Test func `a resumption without a checkpoint begins`() throws {
    let begun = try tiny.train(.teacher, "run", resumes: true)
    #expect(isDone(begun.ending) && begun.metrics.count == 4)
    // So does one of a run that was killed before its first checkpoint; its numbers are forgotten.
    try FileManager.default.removeItem(at: tiny.folder["run/checkpoints"])
    #expect(try tiny.train(.teacher, "run", resumes: true).metrics == begun.metrics)
    // And one of a finished run writes the result again.
    try FileManager.default.removeItem(at: tiny.folder["run/final"])
    #expect(isDone(try tiny.train(.teacher, "run", resumes: true).ending))
    #expect(FileManager.default.fileExists(atPath: tiny.folder["run/final/livetalk.json"].path))
    #expect(try tiny.metrics("run").count == 4)
  }

  @Test(arguments: ["student.safetensors", "critic-optimizer.rank0of1.safetensors", "state.json"])
  func `a truncated checkpoint is passed over for the one before`(name: String) throws {
    let everyStep = { (run: inout RunSettings) in run.report.checkpointEvery = 1 }
    let whole = try tiny.train(.dmd, "whole", edit: everyStep)
    try tiny.train(.dmd, "run", stoppingAfter: 3, edit: everyStep)
    let file = tiny.folder["run/checkpoints/step-00000003/\(name)"]
    try Data(contentsOf: file).dropLast(10).write(to: file)
    let resumed = try tiny.train(.dmd, "run", resumes: true, edit: everyStep)
    #expect(resumed.notes.contains { $0.contains("step-00000003 is damaged") && $0.contains(name) }, "\(resumed.notes)")
    #expect(resumed.notes.contains("Going on from step 2.") && resumed.metrics == whole.metrics)
    #expect(try tiny.weights("run/final") == tiny.weights("whole/final"))
  }

  @Test func `old checkpoints go, as many as are to be kept stay`() throws {
    try tiny.train(.teacher, "run") { ($0.report.checkpointEvery, $0.report.keepCheckpoints) = (1, 2) }
    let names = try FileManager.default.contentsOfDirectory(atPath: tiny.folder["run/checkpoints"].path).sorted()
    #expect(names == ["step-00000003", "step-00000004"])
  }

  @Test(arguments: [TinyTraining.Kind.teacher, .ode, .dmd, .dmdBlockwise, .vae, .audio])
  func `weights of NaN are refused before the first step`(kind: TinyTraining.Kind) throws {
    // The data is made with weights that are.
    if kind == .ode { _ = try tiny.trajectories() }
    let file = tiny.folder[
      [.vae: "base/Wan2.1-T2V-1.3B/Wan2.1_VAE.pth", .audio: "base/wav2vec2/model.safetensors"][kind]
        ?? "base/LiveTalk-1.3B-V0.1/model.safetensors"]
    var weights = try readWeights(file)
    let name = try #require(weights.keys.sorted().last { $0.hasSuffix("bias") && !$0.contains("lm_head") })
    weights[name] = try #require(weights[name]) * Double.nan
    if kind == .vae {
      weights = weights.mapValues { $0.clone() }
      try writePickle(weights, to: file)
    } else {
      try writeSafetensors(weights, to: file)
    }
    let text = message { try tiny.train(kind, "run") }
    // A speech encoder's file may have its keys under a prefix, which messages leave out.
    let key = name.replacing("wav2vec2.", with: "")
    #expect(text.contains(file.lastPathComponent) && text.contains("'\(key)'"), "\(text)")
    #expect(!FileManager.default.fileExists(atPath: tiny.folder["run/final"].path))
    #expect(!FileManager.default.fileExists(atPath: tiny.folder["run/checkpoints"].path))
  }

  @Test func `samples that are no video stop the run where they shall`() throws {
    let settings = { (run: inout RunSettings) in
      run.stopsOnBadVideo = true
      run.videoGuard.share = 0
      run.videoGuard.flatDeviation = 10
      run.report.sampleEvery = 3
    }
    let text = message { try tiny.train(.teacher, "run", edit: settings) }
    #expect(text.hasPrefix("Training stopped at step 3: ") && text.contains("flat colour"), "\(text)")
    #expect(text.contains("step 2: loss"), "\(text)")
    let told = try tiny.train(.teacher, "told") {
      settings(&$0)
      $0.stopsOnBadVideo = false
    }
    #expect(told.notes.contains { $0.hasPrefix("The sample of step 3 is bad: ") })
  }

  @Test func `data and settings that do not fit are told in a sentence`() throws {
    let latents = try tiny.latents().path
    _ = (try tiny.media(), try tiny.trajectories())
    func refusal(_ kind: TinyTraining.Kind, _ edit: (inout RunSettings) -> Void) -> String {
      message { _ = try tiny.stage(kind, "run", edit: edit) }
    }
    #expect(refusal(.teacher) { $0.data = tiny.folder["nothing"].path }.contains("nothing"))
    #expect(refusal(.teacher) { $0.data = tiny.folder["media"].path }.contains("media"))
    #expect(refusal(.ode) { $0.data = latents }.contains("latents"))
    #expect(refusal(.vae) { $0.data = latents }.contains("latents"))
    #expect(refusal(.audio) { $0.checkpoint = tiny.folder["nothing"].path }.contains("nothing"))
    var settings = ODEConfiguration()
    (settings.run.data, settings.run.checkpoint) = (try tiny.trajectories().path, tiny.folder["base"].path)
    (settings.run.out, settings.run.device) = (tiny.folder["run"].path, "cpu")
    settings.rollout.timesteps = [1000, 500]
    #expect(message { _ = try ODEStage(settings) }.contains("[1000.0, 936.0, 832.0, 624.0]"))
    settings.rollout = .livetalk
    settings.rollout.framesPerBlock = 4
    #expect(message { _ = try ODEStage(settings) }.contains("blocks of 4"))
    settings.rollout = .livetalk
    settings.lowRank = LoRAConfiguration(rank: 2, alpha: 1, targets: ["nothing"])
    #expect(message { _ = try ODEStage(settings) }.contains("match no layer"))
    #expect(!FileManager.default.fileExists(atPath: tiny.folder["run"].path))
  }
}
