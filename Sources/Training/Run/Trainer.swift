import Basics
import Distributed
package import Foundation
import Generation
import NN
import Torch

/// How the command line and a trainer talk to each other.
package struct TrainerHooks {
  /// Prints a line.
  package var note: (String) -> Void = { _ in }
  /// Prints a progress line that the next one replaces.
  package var progress: (String) -> Void = { _ in }
  /// Writes a sample video into a folder; returns a PNG of it for TensorBoard, or nil.
  package var write: (SampleVideo, URL) throws -> (png: [UInt8], width: Int, height: Int)? = { _, _ in nil }
  /// Whether to stop after this step, with a checkpoint.
  package var shouldStop: () -> Bool = { false }

  package init() {}
}

/// The training loop: steps, metrics, guards, samples, checkpoints, resumption.
package final class Trainer {
  /// How a run ended.
  package enum Ending { case done, stopped(step: Int) }

  private let stage: any TrainingStage
  private let hooks: TrainerHooks
  private let folder: URL
  private let checkpoints: CheckpointFolders
  private let processes: Processes
  private var losses = NaNGuard()

  private struct State: Codable {
    let step: Int
    let settings: String
    /// What tells the contents of the folders apart that the run reads; nil in older checkpoints.
    var inputs: [String: String]?
  }

  private let settings: String
  private let inputs: [String: String]

  /// - Parameter settings: the whole configuration as text, with which that of a checkpoint is compared.
  package init(_ stage: any TrainingStage, settings: String, _ processes: Processes = .alone, hooks: TrainerHooks) {
    self.stage = stage
    self.settings = settings
    inputs = ResumedSettings.inputs(settings)
    self.hooks = hooks
    self.processes = processes
    folder = URL(fileURLWithPath: stage.run.out)
    checkpoints = CheckpointFolders(
      Trainer.checkpointFolder(folder),
      keeping: stage.run.report.keepCheckpoints == 0 ? .max : stage.run.report.keepCheckpoints,
      group: processes.group)
  }

  /// Trains to the last step, or until it is told to stop.
  ///
  /// - Parameter resumes: whether to resume from the newest complete checkpoint; without any the run starts from scratch.
  /// - Throws: `GuardFailure` with a report, `FileError` for a full disk; the last checkpoint stays intact.
  package func train(resumes: Bool) throws -> Ending {
    if !resumes, processes.rank == 0 { try Trainer.requireNoRun(in: folder) }
    if let memory = stage.memoryOfClip {
      let note = try memory.device.requireMemory(
        stage.run.batch * memory.bytes, for: "A micro-batch of \(stage.run.batch)",
        remedy: "a smaller 'run.batch' with a larger 'run.accumulation' is the same step in less")
      if let note { hooks.note(note) }
    }
    let begun = try resumes ? resume() : 0
    let total = stage.run.steps
    let report = stage.run.report
    let log = processes.rank == 0 ? try MetricLog(folder, resumedStep: begun > 0 || resumes ? begun : nil) : nil
    var progress = TrainingProgress(totalSteps: total, done: begun, time: now)
    var saved = begun
    var step = begun
    var latest = LatestValues()
    while step < total {
      let start = now
      let values = try withTorchErrors { try self.step(step) }
      step += 1
      let seconds = now - start
      try losses.check(step: step, values)
      latest.take(values)
      progress.update(step: step, loss: values.first { $0.name == lossName }?.value, time: now)
      hooks.progress(progress.text)
      if isDue(report.logEvery, step, total) {
        try log?.write(step: step, latest.drain() + [("secondsPerStep", seconds)])
      }
      if report.sampleEvery > 0, isDue(report.sampleEvery, step, total) { try sample(step, log) }
      let stops = try processes.group?.any(hooks.shouldStop()) ?? hooks.shouldStop()
      if step == total || stops || (report.checkpointEvery > 0 && step % report.checkpointEvery == 0) {
        try save(step)
        saved = step
      }
      if stops, step < total { return .stopped(step: saved) }
    }
    try exportResult()
    hooks.note("The result is \(result.path).")
    return .done
  }

  /// One step of every network; with several, metrics are prefixed: `student/loss`.
  private func step(_ step: Int) throws -> [(name: String, value: Double)] {
    try stage.networks.flatMap { network in
      try network.step(step) { try stage.loss(of: network, on: $0) }.map {
        (name: prefix(network) + $0.name, value: $0.value)
      }
    }
  }

  private func prefix(_ network: TrainedNetwork) -> String { stage.networks.count == 1 ? "" : "\(network.name)/" }

  /// The loss that progress lines show.
  private var lossName: String { prefix(stage.networks[0]) + "loss" }

  /// - Throws: `FileError` for the folder of an earlier run, which would be mixed with a new one.
  package static func requireNoRun(in folder: URL) throws {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: checkpointFolder(folder).path)) ?? []
    guard names.contains(where: { $0.hasPrefix("step-") && !$0.hasSuffix(".partial") }) else { return }
    throw FileError(folder, "it holds an earlier run; go on with that one by --resume, or choose another folder")
  }

  private static func checkpointFolder(_ folder: URL) -> URL { folder.appendingPathComponent("checkpoints") }

  private var now: Double { ProcessInfo.processInfo.systemUptime }

  private func isDue(_ interval: Int, _ step: Int, _ total: Int) -> Bool {
    interval > 0 && (step % interval == 0 || step == total)
  }

  // MARK: Samples

  private func sample(_ step: Int, _ log: MetricLog?) throws {
    guard processes.rank == 0 || stage.samplesOnAllRanks,
      let video = try withTorchErrors({ try withGradients(false) { try stage.sample() } }), processes.rank == 0
    else { return }
    let faults = videoFaults(video, stage.run.videoGuard)
    let unit = (video.permute(1, 2, 3, 0).to(.cpu, .float32) * 0.5 + 0.5).clamp(0, 1)
    let sample = SampleVideo(pixels: (unit * 255).to(.uint8).contiguous(), step: step, fps: stage.framesPerSecond)
    let samples = folder.appendingPathComponent("samples")
    try FileManager.default.createDirectory(at: samples, withIntermediateDirectories: true)
    if let picture = try hooks.write(sample, samples) {
      try log?.image(step: step, "sample", png: picture.png, width: picture.width, height: picture.height)
    }
    guard !faults.isEmpty else { return }
    guard stage.run.stopsOnBadVideo else {
      return hooks.note("The sample of step \(step) is bad: \(faults.joined(separator: "; ")).")
    }
    try losses.check(step: step, video: video, stage.run.videoGuard)
  }

  // MARK: Checkpoints

  private func save(_ step: Int) throws {
    try checkpoints.save(
      step: step, state: State(step: step, settings: settings, inputs: inputs),
      try stage.networks.flatMap { try $0.files() })
  }

  /// Loads the newest complete checkpoint; returns its step, or 0 where there is none.
  private func resume() throws -> Int {
    guard let checkpoint = try checkpoints.newest(report: hooks.note) else {
      hooks.note("There is no checkpoint in \(folder.path): the run begins.")
      return 0
    }
    let state = try checkpoint.state(State.self)
    let compared = ResumedSettings(
      state.settings, settings, oldInputs: state.inputs ?? [:], newInputs: inputs)
    guard compared.conflicts.isEmpty else {
      throw LiveTalkError(
        "\(checkpoint.folder.path) belongs to a run with other settings (\(compared.conflicts.prefix(5).joined(separator: "; "))): "
          + "resume with those, or choose another folder.")
    }
    for change in compared.changes { hooks.note("Changed on the way: \(change).") }
    guard state.step <= stage.run.steps else {
      throw LiveTalkError("\(checkpoint.folder.path) is past the end of this run, which has \(stage.run.steps) steps.")
    }
    for network in stage.networks { try network.load(checkpoint) }
    hooks.note("Going on from step \(state.step).")
    return state.step
  }

  // MARK: The result

  private var result: URL { folder.appendingPathComponent("final") }

  private func exportResult() throws {
    // All ranks gather their shards.
    let values = try stage.networks[0].exported()
    guard processes.rank == 0 else { return }
    let partial = folder.appendingPathComponent("final.partial")
    try? FileManager.default.removeItem(at: partial)
    // `link` makes no folder where there is nothing to link.
    try FileManager.default.createDirectory(at: partial, withIntermediateDirectories: true)
    try CheckpointCompletion.link(
      URL(fileURLWithPath: stage.run.checkpoint), to: partial, without: stage.exported)
    var settings = try CheckpointFolder(URL(fileURLWithPath: stage.run.checkpoint)).settings
    settings.provenance = "trained with \(stage.run.data) for \(stage.run.steps) steps"
    stage.adjust(&settings)
    try settings.write(to: partial)
    try stage.export(values, to: partial)
    try CheckpointFolders.replace(result, by: partial)
  }
}
