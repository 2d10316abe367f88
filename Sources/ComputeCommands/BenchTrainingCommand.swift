package import ArgumentParser
import Basics
import Foundation
import Generation
import Models
import Torch
import Training

/// `bench training`: speed and memory of distillation steps.
package struct BenchTrainingCommand: ParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "training", abstract: "Measure steps of distillation, and the memory that they take.",
    discussion: """
      A student's step: its rollout, in which each block records its exit step; the scores of the guided teacher and of the \
      critic; the backward pass; gradient clipping, AdamW with fp32 master weights, the EMA. A critic's step: a rollout without \
      gradients, the critic's loss, and the same. Weights and conditions are random; the batch is one clip.

      There are four ways to save activations, each measured in its own process: plain (all of them), checkpointed \
      (activation checkpointing), blockwise (backward one block at a time), and both. The peak is that of the GPU's allocator, \
      or of the process's resident memory. Prints a table, then one line of JSON.

        livetalk bench training --preset laptop --dtype bf16
        livetalk bench training --preset laptop --activations plain --steps 10
        livetalk bench training --preset liveavatar-14b --dry-run --ranks 8
      """)

  @Option(
    help: ArgumentHelp(
      "Sizes of the transformers: livetalk-1.3b, laptop, mini or tiny; with --dry-run those of Live Avatar too.",
      valueName: "name"))
  var preset = ModelPreset.laptop.name
  @OptionGroup var compute: ComputeOptions
  @Option(help: ArgumentHelp("auto, fp32 or bf16; auto takes bf16 where it is fast.", valueName: "type"))
  var dtype = ComputeType.auto
  @Option(
    help: ArgumentHelp("Size of the video, height×width in pixels, such as 512x512.", valueName: "HxW"),
    transform: GenerationArguments.size)
  var size: ReferencePicture.Size?
  @Option(name: .customLong("latent-frames"), help: ArgumentHelp("Latent frames of a clip.", valueName: "n"))
  var latentFrames = 21
  @Option(name: .customLong("text-tokens"), help: ArgumentHelp("Rows of the encoded text.", valueName: "n"))
  var textTokens = 512
  @Option(
    name: .customLong("exit-step"),
    help: ArgumentHelp("The exit step, from 0, which is recorded.", valueName: "n"))
  var exitStep = 2
  @Option(help: ArgumentHelp("Measured steps of each kind, after one warm-up step.", valueName: "n"))
  var steps = 5
  @Option(
    help: ArgumentHelp(
      "Only one way to save activations: plain, checkpointed, blockwise or both.", valueName: "way"))
  var activations: ActivationPlan?

  @Flag(
    name: .customLong("dry-run"),
    help: ArgumentHelp(
      "Print the memory that distillation with the paper's settings takes, by arithmetic, and stop; 'auto' is bf16 here."
    ))
  var dryRun = false
  @Option(help: ArgumentHelp("With --dry-run: how many processes share the work.", valueName: "n"))
  var ranks = 8

  package init() {}

  package func validate() throws {
    guard ranks > 0 else { throw ValidationError("Give at least one process.") }
  }

  package func run() throws {
    if dryRun {
      let report = try memoryReport()
      return try BenchCommand.print(report, table: report.table)
    }
    let one = try activations.map { way in
      let plan = try plan()
      return try withTorchErrors { try TrainingBenchmark.run(plan, way) }
    }
    let whole = try one ?? all()
    try BenchCommand.print(whole, table: whole.table)
  }

  private func plan() throws -> TrainingBenchmarkPlan {
    let device = try compute.resolve()
    let dtype = dtype.resolve(on: device)
    guard dtype != .float16 else { throw ValidationError("Weights are trained in fp32 or bf16.") }
    guard let sizes = ModelPreset(named: preset) else {
      throw ValidationError(
        "'\(preset)' is not a preset: use \(ModelPreset.all.map(\.name).joined(separator: ", ")).")
    }
    try checkSizes()
    let all = RolloutSettings.livetalk.timesteps.indices
    guard all.contains(exitStep) else {
      throw ValidationError("--exit-step is a number from \(all.lowerBound) to \(all.upperBound - 1), not \(exitStep)")
    }
    return TrainingBenchmarkPlan(
      name: preset, transformer: sizes.transformer, latentStride: sizes.vae.spatialStride, size: size ?? sizes.size,
      device: device, dtype: dtype, latentFrames: latentFrames, textTokens: textTokens, exitStep: exitStep, steps: steps
    )
  }

  private func checkSizes() throws {
    let block = LatentGeometry.livetalk.framesPerBlock
    guard steps > 0, textTokens > 0, latentFrames > 0, latentFrames % block == 0 else {
      throw ValidationError("Give at least one step and one row of text, and latent frames in blocks of \(block).")
    }
  }

  private func memoryReport() throws -> TrainingMemoryReport {
    try checkSizes()
    let dtype = dtype == .auto ? .bfloat16 : dtype.resolve(on: .cpu)
    guard dtype != .float16 else { throw ValidationError("Weights are trained in fp32 or bf16.") }
    var settings: DMDConfiguration
    let (model, pixels): (DistilledTransformer, ReferencePicture.Size)
    switch try BenchSessionCommand.preset(named: preset) {
    case .liveTalk(let preset):
      settings = .standard
      (model, pixels) = (try DistilledTransformer(preset, size: size, dtype: dtype), size ?? preset.size)
    case .liveAvatar(let preset):
      settings = .liveAvatar14B
      (model, pixels) = (try DistilledTransformer(preset, size: size, dtype: dtype), size ?? preset.size)
    }
    settings.run.precision = dtype == .float32 ? .float32 : .bfloat16
    settings.run.latentFrames = latentFrames
    if let activations {
      (settings.run.checkpointLayers, settings.blockwise) = (activations.checkpointsLayers, activations.isBlockwise)
    }
    return TrainingMemoryReport(preset, pixels, model, settings, textTokens: textTokens, ranks: ranks)
  }

  /// Every way in a process of its own, whose peak of memory is then that way's.
  private func all() throws -> TrainingBenchmarkReport {
    _ = try plan()
    let reports = try ActivationPlan.allCases.map { way in
      Terminal.error("bench: activations \(way.rawValue)")
      return try BenchTrainingCommand.child(way)
    }
    guard var whole = reports.first else { throw LiveTalkError("There is nothing to measure.") }
    whole.variants = reports.flatMap(\.variants)
    return whole
  }

  /// Runs this program again with the same arguments for one way.
  private static func child(_ way: ActivationPlan) throws -> TrainingBenchmarkReport {
    guard let program = Bundle.main.executableURL else { throw LiveTalkError("The program does not find itself.") }
    let process = Process()
    process.executableURL = program
    process.arguments = CommandLine.arguments.dropFirst() + ["--activations", way.rawValue]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let data = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    guard process.terminationStatus == 0, process.terminationReason == .exit,
      let line = String(decoding: data, as: UTF8.self).split(separator: "\n").last
    else {
      throw LiveTalkError(
        "The benchmark with activations \(way.rawValue) did not end well (status \(process.terminationStatus)).")
    }
    return try JSONDecoder().decode(TrainingBenchmarkReport.self, from: Data(line.utf8))
  }
}

extension ActivationPlan: ExpressibleByArgument {}

extension TrainingBenchmarkReport {
  /// The figures for people.
  var table: String {
    func gigabytes(_ bytes: Int) -> String { String(format: "%.2f GB", Double(bytes) / 1e9) }
    func row(_ columns: [String]) -> String {
      "  "
        + zip(columns, [14, 22, 22, 12, 12, 12]).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }.joined()
    }
    func time(_ t: Timings) -> String { String(format: "%.0f ms (%d)", t.p50, t.count) }
    var rows = [
      "training, \(name), \(height)×\(width), \(latentFrames) latent frames of \(tokensPerFrame) tokens, one clip a step, "
        + "\(textTokens) rows of text, exit step \(exitStep), \(dtype), \(device), \(threads) threads, torch \(torch), "
        + String(format: "%.1f million parameters", Double(parameters) / 1e6),
      row(["activations", "student step, P50", "critic step, P50", "at rest", "peak", "with critic"]),
    ]
    for v in variants {
      rows.append(
        row([
          v.activations.rawValue, time(v.studentStep), time(v.criticStep), gigabytes(v.memoryBeforeBytes),
          gigabytes(v.studentPeakBytes), gigabytes(v.peakBytes),
        ]))
    }
    return rows.joined(separator: "\n")
  }
}
