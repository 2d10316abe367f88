package import ArgumentParser
import Basics
package import Foundation
import Generation
import Synchronization
import Torch
package import Training

/// What can be trained.
package enum TrainedStage: String, CaseIterable, ExpressibleByArgument, Sendable {
  case vae, audio, teacher, ode, dmd, reader
}

/// The command `train`; each program adds how sample videos are written.
package struct TrainOptions: ParsableArguments {
  package static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Train a part of a checkpoint: vae, audio, teacher, ode, dmd or reader.",
    discussion: """
      vae      the video autoencoder, on clips prepared as media
      audio    the speech encoder, by phoneme classification, on clips prepared as media
      teacher  the bidirectional transformer, by flow matching, on clips prepared as latents; with 'forcing' the causal one of \
      Live Avatar's first stage, by diffusion forcing
      ode      the causal student's ODE initialisation, on the teacher's trajectories ('livetalk trajectories')
      dmd      the student, by distribution matching on its own rollouts, on clips prepared as latents
      reader   the face reader of 'livetalk evaluate', on synthetic talking heads prepared as media

      The run's folder gets checkpoints, metrics (metrics.jsonl and TensorBoard events), samples, and in the end 'final': a \
      complete checkpoint folder with the trained part, and links to the base checkpoint's other parts.

      A configuration is a YAML or JSON file, or the name of a preset: livetalk-1.3b.STAGE, mini.STAGE or tiny.STAGE; for dmd also \
      livetalk-1.3b.dmd-literal and live-avatar.dmd. A folder of Live Avatar is known by its files, and trained as LoRA: \
      liveavatar-14b.STAGE or liveavatar-tiny.STAGE, where the stage is teacher or dmd. A file may begin with 'preset: NAME'. Options and --set override it.

      EXAMPLES
        livetalk train teacher --config tiny.teacher --data latents \\
          --checkpoint base --out runs/teacher
        livetalk train dmd --config dmd.yaml --set optimizer.learningRate=2e-6 --resume
        livetalk train dmd --config livetalk-1.3b.dmd --show-config

      Ctrl-C writes a checkpoint after the current step; the same command with --resume continues. For several GPUs or machines \
      launch it by torchrun, mpirun, Slurm or Kubernetes (RANK, WORLD_SIZE, MASTER_ADDR and their like).
      """)

  @Argument(help: ArgumentHelp("What to train: vae, audio, teacher, ode, dmd or reader.", valueName: "stage"))
  package var stage: TrainedStage

  @Option(
    help: ArgumentHelp("A configuration file (YAML, JSON), or the name of a preset.", valueName: "file or preset"))
  package var config: String?

  @Option(
    help: ArgumentHelp("The folder of prepared clips, or of trajectories for 'ode' (run.data).", valueName: "dir"))
  package var data: String?

  @Option(help: ArgumentHelp("The checkpoint folder to start from (run.checkpoint).", valueName: "dir"))
  package var checkpoint: String?

  @Option(help: ArgumentHelp("The teacher's checkpoint folder, for 'dmd' (teacher).", valueName: "dir"))
  package var teacher: String?

  @Option(name: [.customShort("o"), .long], help: ArgumentHelp("The folder of the run (run.out).", valueName: "dir"))
  package var out: String?

  @Option(
    name: .customLong("set"), help: ArgumentHelp("Sets one key: optimizer.learningRate=1e-5.", valueName: "key=value"))
  package var overrides: [String] = []

  @Flag(help: "Resume from the newest complete checkpoint of the run's folder, if there is one.")
  package var resume = false

  @Flag(help: "Print the whole configuration and stop.")
  package var showConfig = false

  @Option(help: ArgumentHelp("Threads of one operation on the processor.", valueName: "n"))
  package var threads: Int?

  @Flag(name: .shortAndLong, help: "Print nothing but errors.")
  package var quiet = false

  package init() {}

  /// Writes a sample video; returns a picture of it as PNG, or nil.
  package typealias SampleWriter = (SampleVideo, URL) throws -> (png: [UInt8], width: Int, height: Int)?

  package func run(write: @escaping SampleWriter) throws {
    try ComputeOptions.check(threads: threads)
    if let threads { Torch.threads = threads }
    switch stage {
    case .vae: try train(VAEConfiguration.self, write)
    case .audio: try train(AudioConfiguration.self, write)
    case .teacher: try train(TeacherConfiguration.self, write)
    case .ode: try train(ODEConfiguration.self, write)
    case .dmd: try train(DMDConfiguration.self, write)
    case .reader: try train(ReaderConfiguration.self, write)
    }
  }

  private func train<C: StageConfiguration>(_ type: C.Type, _ write: @escaping SampleWriter) throws {
    let configuration: C = try configured(named: config, overrides: given + overrides, isChecked: !showConfig)
    let text = try configuration.jsonText(indented: true)
    if showConfig { return Terminal.line(text) }
    let processes = try Processes.launched(device: configuration.run.device)
    let status = StatusLine(isQuiet: quiet || processes.rank > 0)
    let stops = StopRequest()
    Interruption.onRequest(saying: "a checkpoint is written after this step.") { stops.set($0) }
    var hooks = TrainerHooks()
    hooks.note = status.note
    hooks.progress = { text in status.show { text } }
    hooks.write = write
    hooks.shouldStop = { stops.isSet }
    do {
      // Before models are loaded, which may take minutes.
      if !resume, processes.rank == 0 {
        try Trainer.requireNoRun(in: URL(fileURLWithPath: configuration.run.out))
      }
      let stage = try withTorchErrors { try configuration.stage(processes) }
      let trainer = Trainer(stage, settings: text, processes, hooks: hooks)
      let ending = try trainer.train(resumes: resume)
      status.end()
      processes.leave()
      guard case .stopped(let step) = ending else { return }
      Terminal.error("livetalk: Stopped at step \(step); the same command with --resume goes on.")
      throw ExitCode(128 + (stops.signal ?? SIGINT))
    } catch let code as ExitCode {
      throw code
    } catch {
      status.end()
      processes.leave(failure: "\(error)")
      throw error
    }
  }

  /// The options that stand for keys.
  private var given: [String] {
    let keys = [("run.data", data), ("run.checkpoint", checkpoint), ("run.out", out), ("teacher", teacher)]
    // In single quotes YAML knows no escapes but that of the quote itself.
    return keys.compactMap { key, value in value.map { "\(key)='\($0.replacingOccurrences(of: "'", with: "''"))'" } }
  }
}

/// A configuration from a file, or from a preset of that name.
package func configured<C: TrainingConfiguration>(named name: String?, overrides: [String], isChecked: Bool = true)
  throws -> C
{
  guard let name else { return try readConfiguration(overrides: overrides, isChecked: isChecked) }
  let file = URL(fileURLWithPath: name)
  if FileManager.default.fileExists(atPath: file.path) {
    return try readConfiguration(file: file, overrides: overrides, isChecked: isChecked)
  }
  let isFile = name.contains("/") || ["yaml", "yml", "json"].contains(file.pathExtension)
  if isFile { throw LiveTalkError("There is no configuration file \(name).") }
  return try readConfiguration(preset: name, overrides: overrides, isChecked: isChecked)
}

/// Set by a signal, asked by the work.
final class StopRequest: Sendable {
  private let number = Mutex<Int32?>(nil)
  /// The signal that came; nil in a process that another one's signal stopped.
  var signal: Int32? { number.withLock { $0 } }
  var isSet: Bool { signal != nil }
  func set(_ signal: Int32) { number.withLock { $0 = signal } }
}
