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

  @Option(help: ArgumentHelp("The adapter's file (.pt, .safetensors).", valueName: "file"))
  var adapter: String

  @Option(
    help: ArgumentHelp(
      "The adapter's scale.", discussion: "By default 'lora_alpha' of the config.json beside it.", valueName: "number"))
  var alpha: Double?

  @Option(name: [.customShort("o"), .long], help: ArgumentHelp("The .safetensors file to make.", valueName: "file"))
  var out: String

  func run() throws {
    let adapterFile = URL(fileURLWithPath: adapter)
    let output = linkTarget(URL(fileURLWithPath: out))
    guard output.pathExtension == "safetensors" else {
      throw LiveTalkError("The output \(out) cannot be written: its name must end in .safetensors.")
    }
    let merging = try LoRAAdapter.Merging(
      try readWeights(adapterFile), into: try readWeights(try baseFile()), alpha: try alpha ?? alphaBeside(adapterFile))
    guard merging.layers > 0 else {
      throw LiveTalkError("The file \(adapter) holds no LoRA weights (lora_A, lora_B).")
    }
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

  private func alphaBeside(_ adapter: URL) throws -> Double {
    let config = adapter.deletingLastPathComponent().appendingPathComponent("config.json")
    guard let data = try? Data(contentsOf: config),
      let fields = (try? JSONSerialization.jsonObject(with: data)) as? [String: Any],
      let alpha = (fields["lora_alpha"] as? NSNumber)?.doubleValue
    else {
      throw LiveTalkError(
        "The adapter's scale is not known: give --alpha, or put its config.json with 'lora_alpha' beside \(adapter.path)."
      )
    }
    return alpha
  }
}
