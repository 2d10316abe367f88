import ArgumentParser
import Basics
import ClipShards
import ComputeCommands
import Datasets
import Foundation
import Generation
import Models
import Torch

/// `livetalk data prepare`.
struct PrepareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "prepare",
    abstract: "Turn a folder of clips into the shards that training reads.",
    discussion: """
      DATASET is a folder with metadata.jsonl, one JSON object a line:

        {"id": "a1", "video": "clips/a1.mp4", "caption": "A man nods."}

      "frames" (a folder of PNG or JPEG pictures, with "fps") may stand in place of "video"; "sound" names a sound file where \
      the video has no track; "caption", "reference" (a picture), "truth" (of a drawn clip) and "speaker" are optional.

      Every clip is decoded whole and checked, brought to 16 frames (25 for a checkpoint of Live Avatar) and 16,000 samples a second, \
      scaled and cropped to --size, and cut into pieces of 4·F − 3 frames (--latent-frames F). What cannot be used is listed with its reason, here and in \
      index.json, and does not stop the rest.

      KINDS
        media     pictures and sound, for the video autoencoder and the speech
                  encoder
        latents   what the transformer sees, encoded with the encoders of
                  --checkpoint: latents, reference latent, audio features, text

      CONDITIONS (latents)
        reference  given, or the clip's sharpest frame that faces the camera
                   (by the truth's pose, else by the picture's symmetry);
                   --upscale-command 'tool {in} {out}' may improve it, and
                   --consistency refuses one that does not fit its clip
        caption    given, or the one line that --caption-command 'tool {video}'
                   prints, or the truth's, or a sentence about the motion

      It may be stopped at any time and started again with the same settings: it goes on where it was.

      EXAMPLES
        livetalk data prepare clips --kind media --size 128x128 -o media
        livetalk data prepare clips --kind latents --checkpoint weights \\
          -o latents
      """)

  @Argument(help: ArgumentHelp("The folder with metadata.jsonl.", valueName: "dataset"))
  var dataset: String

  @Option(
    name: [.customShort("o"), .long],
    help: ArgumentHelp("The folder of shards to make or go on with.", valueName: "dir"))
  var out: String

  @Option(help: ArgumentHelp("What to store: media or latents.", valueName: "kind"), transform: PrepareCommand.kind)
  var kind: ShardKind

  @Option(help: ArgumentHelp("The folder with the encoders' weights, for latents.", valueName: "dir"))
  var checkpoint: String?

  @Option(
    help: ArgumentHelp(
      "Height and width of the frames, multiples of 16; of 32 for latents of Wan 2.2's autoencoder.",
      discussion: "For latents by default the checkpoint's.",
      valueName: "HxW"), transform: GenerationArguments.size)
  var size: ReferencePicture.Size?

  @Option(help: ArgumentHelp("Latent frames of a prepared clip; 21 are 81 video frames.", valueName: "n"))
  var latentFrames = 21

  @Option(help: ArgumentHelp("Latent frames are a multiple of these.", valueName: "n"))
  var framesPerBlock = LatentGeometry.livetalk.framesPerBlock

  @Option(help: ArgumentHelp("Seconds by which picture and sound may differ in length.", valueName: "s"))
  var tolerance = 0.5

  @Option(help: ArgumentHelp("The longest clip that is read; it is in memory as a whole.", valueName: "s"))
  var maxSeconds = 60.0

  @Flag(help: "Enlarge pictures smaller than --size instead of refusing them.")
  var enlarge = false

  @Option(help: ArgumentHelp("How well a reference must fit its clip, from 0 (anything) to 1.", valueName: "share"))
  var consistency = 0.25

  @Option(help: ArgumentHelp("A program that improves a reference picture: 'tool {in} {out}'.", valueName: "command"))
  var upscaleCommand: String?

  @Option(help: ArgumentHelp("A program that prints a caption: 'tool {video}'.", valueName: "command"))
  var captionCommand: String?

  @Option(help: ArgumentHelp("Seconds after which such a program is ended.", valueName: "s"))
  var commandTimeout = 120.0

  @Option(help: ArgumentHelp("The prompt of what is not wanted, for guidance.", valueName: "text"))
  var negativePrompt = ""

  @Option(help: ArgumentHelp("Clips that are read at a time. By default 2, or 1 on one core.", valueName: "n"))
  var readers: Int?

  @Option(help: ArgumentHelp("Seconds after which finished clips are saved.", valueName: "s"))
  var saveEvery = 60.0

  @Option(help: ArgumentHelp("The size of a shard in MB.", valueName: "mb"))
  var shardSize = 256

  @Flag(help: "Try clips again that were rejected.")
  var retryRejected = false

  @OptionGroup var compute: ComputeOptions

  @Option(help: ArgumentHelp("Number type of the encoders and of what is stored: auto, fp32, bf16 or fp16."))
  var dtype = ComputeType.auto

  @Flag(name: .shortAndLong, help: "Say nothing but errors.")
  var quiet = false

  static func kind(_ text: String) throws -> ShardKind {
    guard let kind = ShardKind(rawValue: text), kind != .trajectories else {
      throw ValidationError("the kind is media or latents")
    }
    return kind
  }

  func validate() throws {
    guard (1...1000).contains(framesPerBlock) else {
      throw ValidationError("--frames-per-block is a number from 1 to 1000, not \(framesPerBlock)")
    }
    guard (1...10_000).contains(latentFrames), latentFrames % framesPerBlock == 0 else {
      throw ValidationError("--latent-frames is a multiple of \(framesPerBlock) up to 10000, not \(latentFrames)")
    }
    for (name, value, range) in [
      ("tolerance", tolerance, 0.0...60), ("max-seconds", maxSeconds, 0.1...3600), ("consistency", consistency, 0...1),
      ("command-timeout", commandTimeout, 0.1...86_400), ("save-every", saveEvery, 0...86_400),
    ] where !range.contains(value) {
      throw ValidationError(
        "--\(name) is a number from \(range.lowerBound) to \(range.upperBound), not \(value)")
    }
    if let readers, !(1...64).contains(readers) {
      throw ValidationError("--readers is a number from 1 to 64, not \(readers)")
    }
    guard (1...16_384).contains(shardSize) else {
      throw ValidationError("--shard-size is a number from 1 to 16384, not \(shardSize)")
    }
    switch kind {
    case .media:
      if checkpoint != nil { throw ValidationError("--checkpoint goes with --kind latents") }
      if size == nil { throw ValidationError("--kind media needs --size") }
    default: if checkpoint == nil { throw ValidationError("--kind latents needs --checkpoint") }
    }
  }

  func run() throws {
    let device = try compute.resolve()
    let type = dtype.resolve(on: device)
    let folder = try checkpoint.map { try CheckpointFolder(URL(fileURLWithPath: $0)) }
    guard let size = size ?? folder?.settings.imageSizes.first else {
      throw LiveTalkError("The checkpoint \(checkpoint ?? "") names no size of video.")
    }
    let settings = try self.settings(size, folder?.geometry ?? .livetalk)
    let source = try DatasetFolder(URL(fileURLWithPath: dataset))
    let encoders = try folder.map { try PreparationSettings.encoders(of: $0, dtype: type) } ?? [:]
    let preparation = try Preparation(
      source, to: URL(fileURLWithPath: out), settings, settings.description(encoders: encoders))
    let writer = preparation.writer
    Interruption.onStop(saying: "what was finished is saved; the same command goes on with it.") { try? writer.flush() }
    let report = quiet ? nil : StepReport("Preparing \(source.clips.count) clips of \(dataset)")
    let summary = try preparation.run(
      encoder: { try folder.map { try load($0, size, device, type) } },
      progress: { state in
        let share = state.total > 0 ? Double(state.done) / Double(state.total) : 1
        report?.show(
          share, "\(state.done) of \(state.total) clips, \(state.prepared) prepared, \(state.rejected) rejected")
      },
      rejected: { clip in if !quiet { Terminal.complain("rejected \(clip.id): \(clip.reason)") } })
    Interruption.forget()
    report?.end()
    if !quiet { tell(summary, settings) }
  }

  private func settings(_ size: ReferencePicture.Size, _ geometry: LatentGeometry) throws -> PreparationSettings {
    var settings = PreparationSettings(kind: kind, size: size)
    settings.requirements.framesPerSecond = geometry.framesPerSecond
    settings.requirements.sampleRate = geometry.sampleRate
    settings.requirements.tolerance = tolerance
    settings.requirements.longest = maxSeconds
    settings.requirements.enlarges = enlarge
    settings.latentFrames = latentFrames
    settings.consistency = consistency
    settings.upscaler = try upscaleCommand.map { try ExternalTool($0, places: ["in", "out"]) }
    settings.captioner = try captionCommand.map { try ExternalTool($0, places: ["video"]) }
    settings.toolSeconds = commandTimeout
    settings.negativePrompt = negativePrompt
    settings.readers = readers ?? min(2, ProcessInfo.processInfo.activeProcessorCount)
    settings.saveInterval = saveEvery
    settings.shardLimit = shardSize << 20
    settings.retriesRejected = retryRejected
    return settings
  }

  private func load(
    _ folder: CheckpointFolder, _ size: ReferencePicture.Size, _ device: Device, _ type: DType
  ) throws -> ClipEncoder {
    try withTorchErrors {
      let encoder = try ClipEncoder(loading: folder, device: device, dtype: type) {
        if !quiet, Terminal.errorIsTerminal { Terminal.write("\(Terminal.clearLine)Loading the \($0) …") }
      }
      try encoder.check(size)
      return encoder
    }
  }

  private func tell(_ summary: Preparation.Summary, _ settings: PreparationSettings) {
    let seconds = Double(summary.clips.count) * settings.seconds
    var line = "\(out): \(summary.clips.count) clips of \(settings.videoFrames) frames, \(timeText(seconds)) in all"
    if summary.earlier > 0 { line += "; \(summary.earlier) lines were done before" }
    if !summary.rejected.isEmpty { line += "; \(summary.rejected.count) rejected (see index.json)" }
    if summary.restSeconds >= 0.05 {
      line += String(format: "; %.1f s behind the last whole piece left out", summary.restSeconds)
    }
    Terminal.line(line + ".")
  }
}
