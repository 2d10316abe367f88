import ArgumentParser
import Basics
import ComputeCommands
import Foundation
import Generation
import Torch

/// `livetalk checkpoint convert`.
struct ConvertCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert",
    abstract: "Copy a checkpoint folder with its weights in another number type.",
    discussion: """
      Every part becomes one safetensors file; the folder's settings go with it, and what is given here is written into them. \
      A bf16 copy is half as large as one of fp32 and is what is published.

      EXAMPLE
        livetalk checkpoint convert runs/dmd/final --dtype bf16 --out release \\
          --provenance "Trained by Recipes/mini.sh." --policy anchor:3/9
      """)

  @Argument(help: ArgumentHelp("The checkpoint folder.", valueName: "dir"))
  var folder: String

  @Option(name: [.customShort("o"), .long], help: ArgumentHelp("The folder to make.", valueName: "dir"))
  var out: String

  @Option(help: "Number type of the copy: fp32, bf16 or fp16.")
  var dtype = ComputeType.bf16

  @Option(help: ArgumentHelp("Where the weights come from, in a sentence.", valueName: "text"))
  var provenance: String?

  @Option(
    help: ArgumentHelp("What the cache keeps where nothing else is asked for; see 'generate'.", valueName: "policy"),
    transform: GenerationArguments.policy)
  var policy: KVCachePolicy?

  @Option(help: ArgumentHelp("Where time positions stop growing; see 'generate'.", valueName: "n"))
  var positionLimit: Int?

  func validate() throws {
    guard dtype != .auto else { throw ValidationError("--dtype is fp32, bf16 or fp16 here") }
  }

  func run() throws {
    let source = try CheckpointFolder(URL(fileURLWithPath: folder))
    try source.requireAll()
    let target = URL(fileURLWithPath: out)
    guard !FileManager.default.fileExists(atPath: out) else { throw LiveTalkError("\(out) is there already.") }
    let copied = try PartialFolder(linkTarget(target))
    let partial = copied.url
    Interruption.onStop { try? FileManager.default.removeItem(at: partial) }
    defer { copied.discard() }
    for part in CheckpointFolder.Part.allCases {
      guard let file = source.file(part) else { continue }
      try copy(part, file, of: source, to: partial)
    }
    var settings = source.settings
    settings.provenance = provenance ?? settings.provenance
    settings.cachePolicy = policy.map { "\($0)" } ?? settings.cachePolicy
    settings.positionLimit = positionLimit ?? settings.positionLimit
    try settings.write(to: partial)
    // What was written must be what is read.
    _ = try CheckpointFolder(partial)
    try copied.commit()
    Interruption.forget()
    Terminal.line("\(out): \(dtype.rawValue), from \(folder).")
  }

  private func copy(_ part: CheckpointFolder.Part, _ file: URL, of source: CheckpointFolder, to root: URL) throws {
    let (isWeights, names) = (part.isWeights, source.family.file(part).names)
    let name = isWeights ? names.first { $0.hasSuffix(".safetensors") } ?? names[0] : names[0]
    let place = root.appendingPathComponent(name)
    do {
      try FileManager.default.createDirectory(at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
      guard isWeights else { return try FileManager.default.copyItem(at: file.resolvingSymlinksInPath(), to: place) }
    } catch { throw FileError(place, "it cannot be written") }
    let type = dtype.resolve(on: .cpu)
    let weights = try source.weights(part).mapValues { $0.dtype.isFloatingPoint ? $0.to(.cpu, type) : $0 }
    try writeSafetensors(weights, metadata: ["format": "pt"], to: place)
  }
}
