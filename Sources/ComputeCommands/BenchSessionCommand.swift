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
      """)

  @Option(
    help: ArgumentHelp(
      "Sizes with random weights: livetalk-1.3b, laptop, mini, tiny, liveavatar-14b or liveavatar-tiny.",
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
  @Flag(name: .customLong("fp8"), help: "Compute most linear layers of Live Avatar in 8 bits.")
  var float8 = false
  @Flag(help: "Measure the text encoder too: umT5-xxl takes 11.4 GB of memory in bf16.")
  var textEncoder = false

  package init() {}

  package func run() throws {
    let report = try withTorchErrors { try withInferenceMode { try measure() } }
    try BenchCommand.print(report, table: report.table)
  }

  private func measure() throws -> BenchmarkReport {
    let device = try compute.resolve()
    let dtype = dtype.resolve(on: device)
    guard blocks > 0, steps > 0, warmUp >= 0 else { throw ValidationError("Give at least one block and one step.") }
    let folder = try checkpoint.map { try CheckpointFolder(URL(fileURLWithPath: $0)) }
    let name = preset ?? ModelPreset.livetalk1_3B.name
    let avatar = folder == nil ? LiveAvatarPreset(named: name) : nil
    let isLiveAvatar = avatar != nil || folder?.family.kind == .liveAvatar
    guard !isLiveAvatar || policy == nil else { throw ValidationError("Live Avatar's cache has a policy of its own.") }
    var options = SessionOptions(folder?.settings ?? .published, policy: policy)
    options.steps = steps
    let policy = options.policy
    let window = policy.windowFrames ?? KVCachePolicy.livetalk.windowFrames ?? 0
    let cacheBlocks =
      isLiveAvatar
      ? LiveAvatarOptions().windowBlocks : (window + options.framesPerBlock - 1) / options.framesPerBlock
    if policy == .full { options.clipFrames = (cacheBlocks + warmUp + 2 * blocks) * options.framesPerBlock }
    let note: (String) -> Void = { Terminal.error("bench: \($0)") }
    let models: any SessionModels
    var textEncoding: (() throws -> Tensor)?
    var textTokens: Int?
    if let folder {
      guard preset == nil else { throw ValidationError("Give a preset or a checkpoint, not both.") }
      models = try folder.loadModels(device: device, dtype: dtype, float8: float8) { note("loading the \($0)") }
      textEncoding = { try folder.encodeText("A person speaks.", device: device, dtype: dtype) }
    } else {
      note("making random weights for \(name)")
      let sizes: UMT5Configuration
      if let avatar {
        models = try LiveAvatarModels(random: avatar, device: device, dtype: dtype, float8: float8)
        sizes = avatar.textEncoder
      } else if let preset = ModelPreset(named: name) {
        guard !float8 else { throw ValidationError("Only Live Avatar's layers are computed in 8 bits.") }
        models = try AvatarModels(random: preset, device: device, dtype: dtype)
        sizes = preset.textEncoder
        if preset.name == ModelPreset.laptop.name { textTokens = 256 }
      } else {
        let names = ModelPreset.all.map(\.name) + LiveAvatarPreset.all.map(\.name)
        throw ValidationError("'\(name)' is not a preset: use \(names.joined(separator: ", ")).")
      }
      textEncoding = { try Benchmark.randomTextContext(sizes, device: device, dtype: dtype) }
    }
    var plan = BenchmarkPlan(
      models: models, name: checkpoint ?? name, size: models.settings.imageSizes[0], options: options,
      policy: isLiveAvatar ? "\(cacheBlocks) blocks for each step" : "\(policy)", cacheBlocks: cacheBlocks,
      warmUpBlocks: warmUp, blocks: blocks, encodeText: textEncoder ? textEncoding : nil,
      textTokens: textTokens ?? models.settings.textRows)
    if let size { plan.size = size }
    try plan.models.check(plan.size)
    return try Benchmark.run(plan, progress: note)
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
