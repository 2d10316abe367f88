import Foundation
import Generation
import Torch

/// What a trainer tells, and asks, whoever runs it.
package struct TrainerHooks {
  /// A line that stays.
  package var note: (String) -> Void = { _ in }
  /// How far the run is; a line that the next one replaces.
  package var progress: (String) -> Void = { _ in }
  /// Writes a sample video into a folder; returns a PNG of it for TensorBoard, or nil.
  package var write: (SampleVideo, URL) throws -> (png: [UInt8], width: Int, height: Int)? = { _, _ in nil }
  /// Whether to stop after this step, with a checkpoint.
  package var shouldStop: () -> Bool = { false }

  package init() {}
}

/// Drives a stage: steps, metrics, guards, samples, checkpoints, resumption.
package final class Trainer {
  /// How a run ended.
  package enum Ending { case done, stopped(step: Int) }

  private let stage: any TrainingStage
  private let hooks: TrainerHooks
  private let folder: URL
  private let checkpoints: CheckpointFolders
  private let processes: Processes
  private var losses = LossGuard()

  private struct State: Codable {
    let step: Int
    let settings: String
  }

  private let settings: String

  /// - Parameter settings: the whole configuration as text; a run goes on under equal ones only.
  package init(_ stage: any TrainingStage, settings: String, _ processes: Processes = .alone, hooks: TrainerHooks) {
    self.stage = stage
    self.settings = settings
    self.hooks = hooks
    self.processes = processes
    folder = URL(fileURLWithPath: stage.run.out)
    checkpoints = CheckpointFolders(
      Trainer.checkpointFolder(folder),
      keeping: stage.run.report.keepCheckpoints == 0 ? .max : stage.run.report.keepCheckpoints,
      group: processes.group)
  }

  /// Trains to the end, or until it is told to stop.
  ///
  /// - Parameter resumes: whether to go on from the newest whole checkpoint of the folder; where there is none, the run begins.
  /// - Throws: `GuardFailure` with a report, `FileError` for a full disk; the last checkpoint stays whole.
  package func train(resumes: Bool) throws -> Ending {
    if !resumes, processes.rank == 0 { try Trainer.requireNoRun(in: folder) }
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
      let values = try withTorchErrors { try stage.step(step) }
      step += 1
      let seconds = now - start
      try losses.check(step: step, values)
      for network in stage.networks { network.optimizer.startAverage(counter: step) }
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

  /// What is called the loss of the run: that of the only network, or of the first.
  private var lossName: String { stage.networks.count == 1 ? "loss" : "\(stage.networks[0].name)/loss" }

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
    guard processes.rank == 0, let video = try withTorchErrors({ try withGradients(false) { try stage.sample() } })
    else { return }
    let faults = videoFaults(video, stage.run.videoGuard)
    let unit = (video.permute(1, 2, 3, 0).to(.cpu, .float32) * 0.5 + 0.5).clamp(0, 1)
    let sample = SampleVideo(pixels: (unit * 255).to(.uint8).contiguous(), step: step, fps: 16)
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
      step: step, state: State(step: step, settings: settings), try stage.networks.flatMap { try $0.files() })
  }

  /// Goes back to the newest whole checkpoint; returns its step, or 0 where there is none.
  private func resume() throws -> Int {
    guard let checkpoint = try checkpoints.newest(report: hooks.note) else {
      hooks.note("There is no checkpoint in \(folder.path): the run begins.")
      return 0
    }
    let state = try checkpoint.state(State.self)
    let compared = ResumedSettings(state.settings, settings)
    guard compared.conflicts.isEmpty else {
      throw TrainingError(
        "\(checkpoint.folder.path) belongs to a run with other settings (\(compared.conflicts.joined(separator: "; "))): "
          + "resume with those, or choose another folder.")
    }
    for change in compared.changes { hooks.note("Changed on the way: \(change).") }
    guard state.step <= stage.run.steps else {
      throw TrainingError("\(checkpoint.folder.path) is past the end of this run, which has \(stage.run.steps) steps.")
    }
    for network in stage.networks { try network.optimizer.load(try checkpoint.shards("\(network.name)-optimizer")) }
    hooks.note("Going on from step \(state.step).")
    return state.step
  }

  // MARK: The result

  private var result: URL { folder.appendingPathComponent("final") }

  private func exportResult() throws {
    // Every process has a share of the values.
    let values = try stage.networks[0].served()
    guard processes.rank == 0 else { return }
    let partial = folder.appendingPathComponent("final.partial")
    try? FileManager.default.removeItem(at: partial)
    // A folder with nothing but the trained part has nothing to link.
    try FileManager.default.createDirectory(at: partial, withIntermediateDirectories: true)
    try CheckpointCompletion.link(
      URL(fileURLWithPath: stage.run.checkpoint), to: partial, without: stage.exported)
    var settings = try CheckpointFolder(URL(fileURLWithPath: stage.run.checkpoint)).settings
    settings.provenance = "trained with \(stage.run.data) for \(stage.run.steps) steps"
    stage.adjust(&settings)
    try settings.write(to: partial)
    try stage.export(values, to: partial)
    try replace(result, by: partial)
  }

  /// Puts a whole folder in the place of another: at every moment one of them is there, by its name or the one aside.
  private func replace(_ folder: URL, by whole: URL) throws {
    let aside = URL(fileURLWithPath: folder.path + ".replaced")
    func move(_ url: URL, to other: URL) throws {
      guard rename(url.path, other.path) == 0 else { throw FileError(other, String(cString: strerror(errno))) }
    }
    let isReplacing = FileManager.default.fileExists(atPath: folder.path)
    if isReplacing {
      try? FileManager.default.removeItem(at: aside)
      try move(folder, to: aside)
    }
    try move(whole, to: folder)
    try? FileManager.default.removeItem(at: aside)
  }
}
