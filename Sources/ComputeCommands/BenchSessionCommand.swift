package import ArgumentParser
import Foundation
import Generation
import Models
import NN
import Torch

/// `bench session`, or `bench` alone: how fast a session runs on this machine.
package struct BenchSessionCommand: ParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "session", abstract: "Measure how fast a session runs on this machine.",
    discussion: """
      Fills the cache of a session and then measures: the whole loop (sound in, frames out), and the stages one by one. \
      Included: the speech encoder on a window of two seconds per block, four denoising calls and the commit pass, the \
      full video decoder, and the copy of the frames to the host. Not included: reading files, encoding to H.264.
      Prints a table, then one line of JSON.

        livetalk bench --preset livetalk-1.3b --device cuda
        livetalk bench --checkpoint ~/pretrained_checkpoints --device cuda
        livetalk bench --preset liveavatar-14b --dry-run --fp8
        torchrun --no-python --nproc-per-node 5 \\
          livetalk bench --preset liveavatar-14b --pipeline --timeline t.svg
      """)

  @Option(
    help: ArgumentHelp(
      "Sizes with random weights: livetalk-1.3b, laptop, mini, tiny, liveavatar-14b, liveavatar-laptop or liveavatar-tiny.",
      valueName: "name"))
  var preset: String?
  @Option(help: ArgumentHelp("A checkpoint folder in place of a preset.", valueName: "dir"))
  var checkpoint: String?
  @OptionGroup var compute: ComputeOptions
  @Option(help: ArgumentHelp("auto, fp32, bf16 or fp16; auto takes bf16 where it is fast.", valueName: "type"))
  var dtype = ComputeType.auto
  @Option(
    help: ArgumentHelp("Size of the video, height×width in pixels, such as 512x512.", valueName: "HxW"),
    transform: GenerationArguments.size)
  var size: ReferencePicture.Size?
  @Option(
    help: ArgumentHelp("Cache policy: full, rolling:W or anchor:S/W.", valueName: "policy"),
    transform: GenerationArguments.policy)
  var policy: KVCachePolicy?
  @Option(help: ArgumentHelp("Denoising steps of a block.", valueName: "n"))
  var steps = 4
  @Option(help: ArgumentHelp("Measured blocks.", valueName: "n"))
  var blocks = 20
  @Option(name: .customLong("warm-up"), help: ArgumentHelp("Blocks before them.", valueName: "n"))
  var warmUp = 3
  @OptionGroup var weights: WeightArguments
  @Flag(help: "Measure the text encoder too: umT5-xxl takes 11.4 GB of memory in bf16.")
  var textEncoder = false
  @Flag(
    help: ArgumentHelp(
      "Live Avatar: divide the work among the processes that were started together, as 'generate --pipeline' does.",
      discussion: "The last one prints the figures: each process's time for a block, and the whole against the slowest."
    ))
  var pipeline = false
  @Option(
    help: ArgumentHelp("With --pipeline: draw which step worked on which block, and when.", valueName: "file.svg"))
  var timeline: String?
  @Flag(
    name: .customLong("dry-run"),
    help: ArgumentHelp(
      "Print the memory that a session of a preset takes, by arithmetic, and stop.",
      discussion: "It is that of a GPU, or with --device cpu of this processor. An 'auto' type is bf16 here."))
  var dryRun = false

  package init() {}

  package func validate() throws {
    guard blocks > 0, steps > 0, warmUp >= 0 else { throw ValidationError("Give at least one block and one step.") }
    if timeline != nil, !pipeline { throw ValidationError("--timeline draws a pipeline: give --pipeline too.") }
    if dryRun, checkpoint != nil || pipeline {
      throw ValidationError("--dry-run counts for a preset: leave --checkpoint and --pipeline out.")
    }
  }

  package func run() throws {
    if dryRun {
      let report = try memoryReport()
      return try BenchCommand.print(report, table: report.table)
    }
    if pipeline { return try runPipeline() }
    let report = try withTorchErrors { try withInferenceMode { try measure() } }
    try BenchCommand.print(report, table: report.table)
  }

  /// What is measured.
  struct System {
    var models: any SessionModels
    var name: String
    var textTokens: Int
    /// Makes a text context, where the text encoder is to be measured.
    var encodeText: (() throws -> Tensor)?
    var size: ReferencePicture.Size
    var options: SessionOptions
  }

  /// - Throws: `ValidationError` for options that contradict each other or the models.
  func system(on device: Device, note: (String) -> Void) throws -> System {
    let dtype = dtype.resolve(on: device)
    let folder = try checkpoint.map { try CheckpointFolder(URL(fileURLWithPath: $0)) }
    guard folder == nil || preset == nil else { throw ValidationError("Give a preset or a checkpoint, not both.") }
    let name = preset ?? ModelPreset.livetalk1_3B.name
    let models: any SessionModels
    let encodeText: () throws -> Tensor
    var textTokens: Int?
    if let folder {
      models = try folder.loadModels(device: device, dtype: dtype, weights: weights.options) {
        note("loading the \($0)")
      }
      encodeText = { try folder.encodeText("A person speaks.", device: device, dtype: dtype) }
    } else {
      note("making random weights for \(name)")
      let sizes: UMT5Configuration
      switch try Self.preset(named: name) {
      case .liveAvatar(let preset):
        models = try LiveAvatarModels(random: preset, device: device, dtype: dtype, weights: weights.options)
        sizes = preset.textEncoder
      case .liveTalk(let preset):
        try requireNoWeightOptions()
        models = try AvatarModels(
          random: preset, device: device, dtype: dtype, layersPerDevice: weights.layersPerDevice)
        sizes = preset.textEncoder
        if preset.name == ModelPreset.laptop.name { textTokens = 256 }
      }
      encodeText = { try Benchmark.randomTextContext(sizes, device: device, dtype: dtype) }
    }
    guard !(models is LiveAvatarModels) || policy == nil else {
      throw ValidationError("Live Avatar's cache has a policy of its own.")
    }
    var options = SessionOptions(models.settings, policy: policy)
    options.steps = steps
    let size = size ?? models.settings.imageSizes[0]
    try models.check(size)
    return System(
      models: models, name: checkpoint ?? name, textTokens: textTokens ?? models.settings.textRows,
      encodeText: textEncoder ? encodeText : nil, size: size, options: options)
  }

  /// How many devices the transformer takes.
  func devicesPerProcess() throws -> Int {
    guard let checkpoint else {
      let layers =
        switch try Self.preset(named: preset ?? ModelPreset.livetalk1_3B.name) {
        case .liveAvatar(let preset): preset.transformer.numLayers
        case .liveTalk(let preset): preset.transformer.numLayers
        }
      return try weights.options.groups(of: layers).count
    }
    return try CheckpointFolder(URL(fileURLWithPath: checkpoint)).devicesPerProcess(weights.options)
  }

  enum Preset {
    case liveTalk(ModelPreset)
    case liveAvatar(LiveAvatarPreset)
  }

  /// - Throws: `ValidationError` with the names that there are.
  static func preset(named name: String) throws -> Preset {
    if let preset = LiveAvatarPreset(named: name) { return .liveAvatar(preset) }
    if let preset = ModelPreset(named: name) { return .liveTalk(preset) }
    let names = ModelPreset.all.map(\.name) + LiveAvatarPreset.all.map(\.name)
    throw ValidationError("'\(name)' is not a preset: use \(names.joined(separator: ", ")).")
  }

  static func note(_ text: String) { Terminal.error("bench: \(text)") }

  private func measure() throws -> BenchmarkReport {
    var system = try system(on: compute.resolve(), note: Self.note)
    let isLiveAvatar = system.models is LiveAvatarModels
    let (policy, framesPerBlock) = (system.options.policy, system.options.framesPerBlock)
    let window = policy.windowFrames ?? KVCachePolicy.livetalk.windowFrames ?? 0
    let cacheBlocks =
      isLiveAvatar ? LiveAvatarOptions().windowBlocks : (window + framesPerBlock - 1) / framesPerBlock
    if policy == .full { system.options.clipFrames = (cacheBlocks + warmUp + 2 * blocks) * framesPerBlock }
    let plan = BenchmarkPlan(
      models: system.models, name: system.name, size: system.size, options: system.options,
      policy: isLiveAvatar ? "\(cacheBlocks) blocks for each step" : "\(policy)", cacheBlocks: cacheBlocks,
      warmUpBlocks: warmUp, blocks: blocks, encodeText: system.encodeText, textTokens: system.textTokens)
    return try Benchmark.run(plan, progress: Self.note)
  }

  private func requireNoWeightOptions() throws {
    guard !weights.float8 else { throw ValidationError("Only Live Avatar's layers are computed in 8 bits.") }
    guard !weights.offload else { throw ValidationError("Only Live Avatar's layers are offloaded.") }
  }

  private func memoryReport() throws -> MemoryReport {
    let dtype = dtype == .auto ? .bfloat16 : dtype.resolve(on: .cpu)
    let onProcessor = compute.device == "cpu"
    if onProcessor { _ = try compute.resolve() }  // sets the threads
    switch try Self.preset(named: preset ?? ModelPreset.livetalk1_3B.name) {
    case .liveTalk(let preset):
      try requireNoWeightOptions()
      var options = SessionOptions(policy: policy ?? .livetalk)
      options.steps = steps
      return try MemoryReport(
        preset, size: size, dtype: dtype, weights: weights.options, options: options, onProcessor: onProcessor)
    case .liveAvatar(let preset):
      guard policy == nil else { throw ValidationError("Live Avatar's cache has a policy of its own.") }
      return try MemoryReport(
        preset, size: size, dtype: dtype, weights: weights.options, options: LiveAvatarOptions(steps: steps),
        onProcessor: onProcessor)
    }
  }
}

extension Benchmark {
  /// A context of 512 tokens by a text encoder with random weights, made and let go here.
  static func randomTextContext(_ configuration: UMT5Configuration, device: Device, dtype: DType) throws -> Tensor {
    let store = ParameterStore(random: RandomGenerator(seed: 3), dtype: dtype)
    let encoder = UMT5Encoder(configuration, store.root, device: device, dtype: dtype)
    let ids = RandomGenerator(seed: 4).integers(4..<configuration.vocabulary, [1, 512])
    return encoder.encode(ids: ids.to(device), mask: Tensor.ones([1, 512], .int64, device: device))
  }
}

extension BenchmarkReport {
  /// The figures for people.
  var table: String {
    func row(_ name: String, _ value: String) -> String {
      "  \(name.padding(toLength: 34, withPad: " ", startingAt: 0))\(value)"
    }
    func ms(_ value: Double) -> String { String(format: "%.1f ms", value) }
    func spread(_ t: Timings) -> String { "\(ms(t.p50)) P50, \(ms(t.p99)) P99 (\(t.count))" }
    var rows = [
      "\(name), \(height)×\(width), \(dtype), \(device), \(threads) threads, torch \(torch), policy \(policy), \(steps) steps",
      "  With \(cachedTokens) tokens in the cache:",
      row("whole loop", String(format: "%.2f video frames per second", framesPerSecond)),
      row("block, sound to frames", spread(block)),
      row("time to first frame", ms(timeToFirstFrameMs)),
      row("speech encoder", spread(audio)), row("denoising call", spread(denoiseCall)),
      row("decode of a block", spread(decode)),
      row("picture encoding, once", ms(pictureEncodeMs)),
    ]
    // Live Avatar has none.
    if commit.count > 0 { rows.insert(row("commit pass", spread(commit)), at: rows.count - 2) }
    if let textEncodeMs { rows.append(row("text encoding, once, with loading", ms(textEncodeMs))) }
    rows.append(row("peak memory", String(format: "%.2f GB", Double(peakMemoryBytes) / 1e9)))
    return rows.joined(separator: "\n")
  }
}
