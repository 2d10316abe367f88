import ArgumentParser
import Basics
import ComputeCommands
import Foundation
import Models
import Torch

/// `livetalk checkpoint merge`.
struct MergeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "merge",
    abstract: "Merge LoRA weights into their base.",
    discussion: """
      OmniAvatar publishes LoRA weights for Wan: A and B of the attention and feed-forward layers, and whole tensors \
      for the audio. The merged file holds W + alpha / rank · B·A for every layer with LoRA, and all other tensors as they \
      are, those of the adapter before those of the base.

      EXAMPLE
        livetalk checkpoint merge --base Wan2.1-T2V-1.3B \\
          --adapter OmniAvatar-1.3B/pytorch_model.pt \\
          --out weights/LiveTalk-1.3B-V0.1/model.safetensors
      """)

  @Option(
    help: ArgumentHelp(
      "Weights of the base: a file, or a folder with a 'diffusion_pytorch_model' or 'model' in it.", valueName: "path"))
  var base: String

  @Option(
    help: ArgumentHelp(
      "An adapter: its file, or its folder; may be repeated.",
      discussion: "A strength may stand behind it: FILE:0.8.", valueName: "file"))
  var adapter: [String]

  @Option(
    help: ArgumentHelp(
      "The adapter's scale.",
      discussion: """
        By default each layer's own ('.alpha'), or what the adapter_config.json beside it says, or 'lora_alpha' of the config.json; and \
        in diffusers' and kohya's files without any the rank.
        """, valueName: "number"))
  var alpha: Double?

  @Option(name: [.customShort("o"), .long], help: ArgumentHelp("The .safetensors file to make.", valueName: "file"))
  var out: String

  func validate() throws {
    guard !adapter.isEmpty else { throw ValidationError("--adapter is missing") }
    if let alpha, !alpha.isFinite || abs(alpha) > 1e6 {
      throw ValidationError("--alpha is a finite number up to a million, not \(alpha)")
    }
  }

  func run() throws {
    let output = linkTarget(URL(fileURLWithPath: out))
    guard output.pathExtension == "safetensors" else {
      throw LiveTalkError("The output \(out) cannot be written: its name must end in .safetensors.")
    }
    let adapters = try adapter.map { try AdapterOptions.adapter($0, alpha: alpha) }
    let baseFile = try baseFile()
    let weights = try readWeights(baseFile, of: .transformer)
    for (name, tensor) in weights.sorted(by: { $0.key < $1.key }) where !tensor.isAllFinite {
      throw FileError(baseFile, "the values of '\(name)' are not finite numbers; take another file")
    }
    let merging = try LoRAAdapter.Merging(adapters, into: weights)
    let report = StepReport("Merging \(merging.layers) layers")
    let layout = merging.layout
    let partial = partialFile(of: output)
    Interruption.onStop { unlink(partial.path) }
    var done = 0
    try writeSafetensors(layout, metadata: ["format": "pt"], to: output) { name in
      report.show(Double(done) / Double(layout.count), "\(done) of \(layout.count) tensors")
      done += 1
      return try merging.tensor(name)
    }
    Interruption.forget()
    report.end()
    Terminal.line("\(out): \(layout.count) tensors, \(merging.layers) layers merged.")
  }

  private func baseFile() throws -> URL {
    let url = URL(fileURLWithPath: base)
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: base, isDirectory: &isFolder) else {
      throw LiveTalkError("There is no base \(base).")
    }
    guard isFolder.boolValue else { return url }
    let names = ["diffusion_pytorch_model", "model"].flatMap { ["\($0).safetensors", "\($0).safetensors.index.json"] }
    let files = names.map { url.appendingPathComponent($0) }
    guard let file = files.first(where: { FileManager.default.fileExists(atPath: $0.path) }) else {
      throw LiveTalkError("The folder \(base) holds no weights (\(names.joined(separator: ", "))).")
    }
    return file
  }
}
