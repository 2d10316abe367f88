import ArgumentParser
import Basics
import ComputeCommands
import Foundation
import Generation
import Torch

/// `livetalk checkpoint`.
struct CheckpointCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "checkpoint",
    abstract: "Look at weights, make random ones, merge adapters, average and convert.",
    discussion: """
      A checkpoint is a folder with the published files as they are downloaded:

        LiveTalk-1.3B-V0.1/model.safetensors
                  the diffusion transformer
        Wan2.1-T2V-1.3B/Wan2.1_VAE.pth
                  the video autoencoder
        Wan2.1-T2V-1.3B/models_t5_umt5-xxl-enc-bf16.pth
                  the text encoder
        Wan2.1-T2V-1.3B/google/umt5-xxl/tokenizer.json
                  its tokenizer
        wav2vec2/model.safetensors, wav2vec2/config.json
                  the speech encoder
        face-reader/model.safetensors
                  optional: reads faces, for 'livetalk evaluate'

        Live Avatar's is another folder:

        Wan2.2-S2V-14B/diffusion_pytorch_model.safetensors.index.json
                  the diffusion transformer, in four files beside it, with
                  config.json
        LiveAvatar/liveavatar.safetensors
                  its adapter, which is merged while the weights are read
        Wan2.2-S2V-14B/Wan2.1_VAE.pth, models_t5_umt5-xxl-enc-bf16.pth,
        google/umt5-xxl/tokenizer.json, wav2vec2-large-xlsr-53-english/
                  the models around it

        Files in the layouts of diffusers (transformer/, vae/, text_encoder/,
        tokenizer/) and ComfyUI, a training's model.pt, and all files in one
        folder are known too; README.md lists them.

        In both:

        livetalk.json
                  optional: the width of a head, sizes of video, and where the
                  weights come from
      """,
    subcommands: [
      InspectCommand.self, InitCommand.self, MergeCommand.self, AverageCommand.self, ConvertCommand.self,
    ])
}

/// `livetalk checkpoint inspect`.
struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Say what a checkpoint folder holds and what it lacks.",
    discussion: """
      For each part: its file, format, size on disk, tensors, parameters and number types, the published model that it is, \
      and whether its keys and shapes fit and its values are finite. A missing part is listed with its place and its source. \
      Every value is read, which takes as long as reading the files; with --headers only their headers are.

      EXIT STATUS
        0 if every part is there and fits, else 1.
      """)

  @Argument(help: ArgumentHelp("The folder.", valueName: "dir"))
  var folder: String

  @Flag(help: "Print JSON instead of a table.")
  var json = false

  @Flag(help: "Read no values, but only what the files say of them.")
  var headers = false

  func run() throws {
    let inspection = CheckpointInspection(of: try CheckpointFolder(URL(fileURLWithPath: folder)), values: !headers)
    if json {
      Terminal.line(try inspection.jsonText(indented: true))
    } else {
      show(inspection)
    }
    if !inspection.complete { throw ExitCode(1) }
  }

  private func show(_ inspection: CheckpointInspection) {
    for item in inspection.items {
      let name =
        item.path.hasPrefix(inspection.folder + "/")
        ? String(item.path.dropFirst(inspection.folder.count + 1)) : item.path
      Terminal.line("\(item.title)\(item.model.map { " (\($0))" } ?? "")")
      if item.problem == "missing" {
        Terminal.line("  MISSING   \(name)\n            from https://huggingface.co/\(item.source)")
        continue
      }
      Terminal.line("  file      \(name)")
      Terminal.line("  format    \([item.format, item.bytes.map(byteText)].compactMap { $0 }.joined(separator: ", "))")
      if let tensors = item.tensors, let parameters = item.parameters {
        let types = (item.types ?? [:]).sorted { $0.value > $1.value }.map(\.key).joined(separator: ", ")
        Terminal.line("  holds     \(grouped(tensors)) tensors, \(grouped(parameters)) parameters, \(types)")
      }
      if let sizes = item.sizes { Terminal.line("  sizes     \(sizes)") }
      if let problem = item.problem { Terminal.line("  PROBLEM   \(problem)") }
    }
    let total = inspection.items.compactMap(\.bytes).reduce(0, +)
    let parameters = inspection.items.compactMap(\.parameters).reduce(0, +)
    let sizes = inspection.imageSizes.map { "\($0.height)x\($0.width)" }.joined(separator: ", ")
    Terminal.line(
      "\nTogether \(byteText(total)), \(grouped(parameters)) parameters; makes video of \(sizes) (height x width).")
    if let provenance = inspection.provenance { Terminal.line("Weights: \(provenance)") }
    let missing = inspection.items.filter { $0.problem == "missing" }
    let damaged = inspection.items.filter { $0.problem != nil && $0.problem != "missing" }
    Terminal.line(
      inspection.complete
        ? "Complete."
        : "Not usable: "
          + [(missing.count, "missing"), (damaged.count, "that cannot be used")].filter { $0.0 > 0 }
          .map { "\($0.0) part\($0.0 == 1 ? "" : "s") \($0.1)" }.joined(separator: ", ") + ".")
    for source in Set(missing.map(\.source)).sorted() {
      let place = missing.first { $0.source == source }?.path ?? ""
      let inside = place.dropFirst(inspection.folder.count + 1).split(separator: "/").first.map(String.init) ?? ""
      Terminal.line("To get it:  hf download \(source) --local-dir \(inspection.folder)/\(inside)")
    }
  }
}

/// `livetalk checkpoint init`.
struct InitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init",
    abstract: "Make a checkpoint of random weights in the published layout.",
    discussion: """
      For benchmarks, tests and a first try: every file is where the published one is, with the same names and formats. The \
      video that it makes is noise.

      PRESETS
        livetalk-1.3b   the published sizes, 512x512 pixels; 18 GB on disk
        laptop          a transformer of 8 layers, 128x128 pixels
        mini            another of 8 layers and the autoencoder of Wan 2.2, 256x256 pixels
        tiny            the smallest of every part, 128x128 pixels
        liveavatar-14b  Live Avatar in the published sizes, 704x384 pixels;
                        48 GB on disk
        liveavatar-laptop
                        a Live Avatar of 12 layers, 128x128 pixels
        liveavatar-tiny the smallest Live Avatar, 128x128 pixels

      EXAMPLE
        livetalk checkpoint init --preset tiny --out /tmp/tiny
      """)

  @Option(help: ArgumentHelp("One of the presets above.", valueName: "name"))
  var preset: String

  @Option(name: [.customShort("o"), .long], help: ArgumentHelp("The folder to make.", valueName: "dir"))
  var out: String

  @Option(help: ArgumentHelp("The choice of random numbers.", valueName: "n"))
  var seed: UInt64 = 0

  @Option(
    help: ArgumentHelp(
      "Number type of all weights: fp32, bf16 or fp16.",
      discussion: "By default the published ones: bf16 for the text encoder, fp32 for the rest.", valueName: "dtype"))
  var dtype: WeightType?

  func validate() throws {
    guard ModelPreset(named: preset) != nil || LiveAvatarPreset(named: preset) != nil else {
      let names = (ModelPreset.all.map(\.name) + LiveAvatarPreset.all.map(\.name)).joined(separator: ", ")
      throw ValidationError("There is no preset '\(preset)'; there are \(names)")
    }
  }

  private func checkpoint() throws -> RandomCheckpoint? {
    if let avatar = LiveAvatarPreset(named: preset) {
      return try RandomCheckpoint(avatar, seed: seed, dtype: dtype?.dtype)
    }
    return try ModelPreset(named: preset).map { try RandomCheckpoint($0, seed: seed, dtype: dtype?.dtype) }
  }

  func run() throws {
    guard let checkpoint = try checkpoint() else { return }
    let total = checkpoint.byteCount
    var report: StepReport?
    try checkpoint.write(
      to: URL(fileURLWithPath: out),
      started: { partial in
        Interruption.onStop { try? FileManager.default.removeItem(at: partial) }
        report = StepReport("Writing \(byteText(total)) of random weights")
      },
      progress: { report?.show(Double($0) / Double(total), "\(byteText($0)) of \(byteText(total))") })
    Interruption.forget()
    report?.end()
    let parameters = checkpoint.layouts.values.map(\.parameterCount).reduce(0, +)
    Terminal.line("\(out): \(preset), \(grouped(parameters)) random parameters.")
  }
}

/// A type that weights are stored in.
enum WeightType: String, ExpressibleByArgument, CaseIterable {
  case fp32, bf16, fp16
  var dtype: DType {
    switch self {
    case .fp32: .float32
    case .bf16: .bfloat16
    case .fp16: .float16
    }
  }
}
