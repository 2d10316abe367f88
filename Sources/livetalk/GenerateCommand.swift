import ArgumentParser
import Basics
import ComputeCommands
import Distributed
import Foundation
import Generation
import Media
import Models
import Torch
import Training

/// `livetalk generate`.
struct GenerateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate",
    abstract: "Make a video of the person in a picture speaking a sound.",
    discussion: """
      The video has 16 frames a second, 25 with Live Avatar, and the sound that drove it. It is as long as the sound, or as --seconds where that \
      is shorter; any length will do.

      The checkpoint is a folder with the published files, side by side: LiveTalk-1.3B-V0.1, Wan2.1-T2V-1.3B and wav2vec2, or \
      Wan2.2-S2V-14B and LiveAvatar ('livetalk checkpoint inspect DIR' says what is missing and where to get it).

      INPUT
        picture   JPEG, PNG or WebP; turned as its EXIF says, scaled to the
                  size of the video, and cropped in the middle
        sound     WAV, MP3, FLAC, M4A or Ogg of any rate, mono or stereo, up to
                  one hour

      OUTPUT
        NAME.mp4, .m4v, .mov, .mkv
                  a video: H.264 and AAC, marked as AI-generated
        NAME/     a folder of PNG pictures with sound.wav
        NAME.rgb, a named pipe, or - for standard output
                  raw frames, 8-bit RGB, one after the other; no sound
        A file of that name is replaced when the new one is whole. Stopping
        (Ctrl-C) leaves nothing behind.

      EXAMPLES
        livetalk generate --image face.jpg --audio speech.wav \\
          --prompt "A woman speaks to the camera." -o out.mp4

        livetalk generate --checkpoint weights --image face.jpg \\
          --audio speech.wav --prompt "A woman speaks to the camera." \\
          --seconds 5 -o out.mp4

        livetalk generate --checkpoint weights --image face.png \\
          --audio talk.mp3 --prompt "A man tells a story." \\
          --device cuda --seed 7 -o frames/

        livetalk generate --checkpoint weights --image face.jpg \\
          --audio speech.wav --prompt "…" --lora style.safetensors:0.8 \\
          -o styled.mp4

        livetalk generate --checkpoint weights --image face.jpg \\
          --audio speech.wav --prompt "…" -o - |
          ffplay -f rawvideo -pixel_format rgb24 -video_size 512x512 \\
            -framerate 16 -

        torchrun --no-python --nproc-per-node 5 \\
          livetalk generate --pipeline --checkpoint weights --image face.jpg \\
          --audio speech.wav --prompt "A woman speaks." -o out.mp4
      """)

  @Option(help: ArgumentHelp("The folder with the weights; by default the bundled model.", valueName: "dir"))
  var checkpoint = BundledModel.checkpoint

  @Option(help: ArgumentHelp("A picture of the person.", valueName: "file"))
  var image: String

  @Option(help: ArgumentHelp("What the person says.", valueName: "file"))
  var audio: String

  @Option(help: ArgumentHelp("The scene in words, such as 'A woman speaks to the camera.'", valueName: "text"))
  var prompt: String

  @Option(help: ArgumentHelp("Length of the video, if less than that of the sound.", valueName: "s"))
  var seconds: Double?

  @Option(name: [.short, .customLong("output")], help: ArgumentHelp("Where the video goes.", valueName: "path"))
  var output: String

  @OptionGroup var adapters: AdapterOptions

  @OptionGroup var compute: ComputeOptions

  @Option(
    help: ArgumentHelp(
      "Number type of the models: auto, fp32, bf16 or fp16.",
      discussion:
        "'auto' is bf16 on NVIDIA GPUs and on processors that have it, else fp32. fp32 meets the reference's numbers."
    ))
  var dtype = ComputeType.auto

  @Option(
    help: ArgumentHelp(
      "The random choice among possible videos.",
      discussion: "The same seed, inputs and device give the same video.", valueName: "n"))
  var seed: UInt64 = 0

  @Option(
    help: ArgumentHelp(
      "Height and width of the video in pixels, multiples of 16; of 32 with the autoencoder of Wan 2.2, of 64 with Live Avatar.",
      discussion: "By default the size closest in shape to the picture of those the model was trained for.",
      valueName: "HxW"), transform: GenerationArguments.size)
  var size: ReferencePicture.Size?

  @Option(
    help: ArgumentHelp(
      "Denoising steps of a block.", discussion: "The published model is distilled to 4.", valueName: "n"))
  var steps = 4

  @Option(
    help: ArgumentHelp(
      "What the model remembers: full, rolling:W or anchor:S/W (latent frames).",
      discussion: """
        'anchor:9/15', as published, keeps the first 9 for ever and the newest up to 15 in all; 'rolling:15' the newest 15; \
        'full' everything, which takes memory with the length. By default what the checkpoint was trained for.
        """, valueName: "policy"), transform: GenerationArguments.policy)
  var policy: KVCachePolicy?

  @Option(
    help: ArgumentHelp(
      "Latent frames after which time positions are turned back.",
      discussion: "The published model knows no later ones than 1024 (four minutes), its default.", valueName: "n"))
  var positionLimit: Int?

  @Option(
    help: ArgumentHelp(
      "Live Avatar: when the first generated frame takes the picture's place before the model's eyes: paper, released, never.",
      discussion:
        "'paper' is after the first block, 'released', the default, after the fourth, as the published pipeline does.",
      valueName: "when"))
  var sink: AdaptiveSink?

  @Option(
    help: ArgumentHelp(
      "Live Avatar: how many latent frames that frame stands ahead of a block.",
      discussion: "By default drawn from 4 to 30 for every pass, by the seed.", valueName: "n"))
  var sinkDistance: Int?

  @OptionGroup var weights: WeightArguments

  @Flag(
    help: ArgumentHelp(
      "Live Avatar: divide the denoising steps and the decoder among the processes that were started together.",
      discussion: """
        2 to --steps + 1 processes, started by torchrun, mpirun or Slurm, or by hand with RANK, WORLD_SIZE and LOCAL_RANK; on GPUs each \
        takes the one of its LOCAL_RANK. The last one decodes and writes the video, which is that of one process.
        """))
  var pipeline = false

  @Flag(name: .shortAndLong, help: "Say nothing but errors.")
  var quiet = false

  func validate() throws {
    if let seconds, !(seconds > 0 && seconds <= 3600) {
      throw ValidationError("--seconds is a length above 0 and up to 3600, not \(seconds)")
    }
    guard (1...1000).contains(steps) else { throw ValidationError("--steps is a number from 1 to 1000, not \(steps)") }
    if let sinkDistance, !(0...1000).contains(sinkDistance) {
      throw ValidationError("--sink-distance is a number from 0 to 1000, not \(sinkDistance)")
    }
    // The window must fit under the limit, or its positions would turn negative.
    let least = ((policy ?? .livetalk).windowFrames ?? 0) + LatentGeometry.livetalk.framesPerBlock
    if let positionLimit, positionLimit < least {
      throw ValidationError("--position-limit is at least \(least) with this policy, not \(positionLimit)")
    }
  }

  func run() throws {
    let device = try compute.resolve()
    guard pipeline else { return try run(on: device, nil) }
    let folder = try CheckpointFolder(URL(fileURLWithPath: checkpoint))
    try folder.requireAll()
    let processes = try Processes.launched(
      device: compute.device, devicesPerProcess: folder.devicesPerProcess(weights.options)
    ) { Interruption.undoAll() }
    do {
      let plan = try PipelinePlan(steps: steps, ranks: processes.count)
      if let group = processes.group { try run(on: group.device, (plan, group)) }
      processes.leave()
    } catch {
      processes.leave(failure: "\(error)")
      throw error
    }
  }

  private func run(on device: Device, _ pipeline: GenerationJob.Pipeline?) throws {
    var folder = try CheckpointFolder(URL(fileURLWithPath: checkpoint))
    try folder.requireAll()
    folder.adapters = try adapters.adapters()
    try checkOptions(of: folder.family)
    let picture = try Picture(contentsOf: image)
    try PictureLimits.check(picture, path: image)
    guard !picture.hasOneColour else {
      throw LiveTalkError("The picture \(image) has one colour everywhere; give one of a face.")
    }
    let voice = try Sound(contentsOf: audio, sampleRate: folder.geometry.sampleRate)
    let given = ReferencePicture.Size(height: picture.height, width: picture.width)
    guard
      let target = size
        ?? ReferencePicture.size(of: folder.settings.imageSizes, closestTo: given)
    else { throw LiveTalkError("The checkpoint \(checkpoint) names no size of video.") }
    var job = GenerationJob(
      folder: folder, picture: picture, size: target,
      clip: try Clip(samples: voice.samples, seconds: seconds, geometry: folder.geometry),
      prompt: prompt,
      // The product plays the sound as it was, not as the model hears it.
      sound: try Sound(contentsOf: audio, sampleRate: GenerationJob.soundRate).samples, output: output, device: device,
      dtype: dtype.resolve(on: device))
    if let seconds, seconds > voice.seconds + 0.05 {
      job.remark = String(format: "The sound ends after %.1f s, and the video with it.", voice.seconds)
    }
    (job.weights, job.pipeline) = (weights.options, pipeline)
    let stage = pipeline.map { (steps: $0.plan.steps(of: $0.group.rank), decodes: job.writes) }
    if stage?.steps.isEmpty != true, weights.layersPerDevice != nil {
      _ = try folder.layerDevices(job.weights, from: device)
    }
    let isQuiet = quiet || !job.writes
    let report = ProgressReport(isQuiet: isQuiet)
    var options = SessionOptions(folder.settings, policy: policy, positionLimit: positionLimit)
    (options.steps, options.seed, options.clipFrames) = (steps, seed, job.clip.latentFrames)
    options.sink.adaptive = sink ?? options.sink.adaptive
    options.sink.distance = sinkDistance
    // Where the sizes cannot be read, the checks of the weights say so better.
    let needs = try? folder.leastMemory(
      target, options,
      on: folder.layerDevices(stage?.steps.isEmpty == true ? WeightOptions() : job.weights, from: device),
      dtype: job.dtype, weights: job.weights, stage: stage)
    for need in needs ?? [] {
      let remedy =
        "a smaller --size" + (folder.family.kind == .liveTalk ? " or a shorter --policy" : "") + " takes less"
      let note = try need.device.requireMemory(
        need.bytes, for: "A video of \(target.height)x\(target.width)", remedy: remedy)
      if let note { report.note(note) }
    }
    let took = try job.run(options, report)
    if !isQuiet { printSummary(job, took) }
  }

  /// Refuses options that the checkpoint's family does not have.
  private func checkOptions(of family: ModelFamily) throws {
    let options: [(name: String, isGiven: Bool, kind: ModelFamily.Kind)] = [
      ("--policy", policy != nil, .liveTalk), ("--position-limit", positionLimit != nil, .liveTalk),
      ("--sink", sink != nil, .liveAvatar), ("--sink-distance", sinkDistance != nil, .liveAvatar),
      ("--fp8", weights.float8, .liveAvatar), ("--offload", weights.offload, .liveAvatar),
      ("--pipeline", pipeline, .liveAvatar),
    ]
    if let wrong = options.first(where: { $0.isGiven && $0.kind != family.kind }) {
      throw LiveTalkError("\(family.name) has no \(wrong.name); leave it out.")
    }
  }

  private func printSummary(_ job: GenerationJob, _ took: GenerationJob.Times) {
    let seconds = Double(job.clip.videoFrames) / Double(job.clip.geometry.framesPerSecond)
    let summary =
      String(
        format: "%@: %d frames, %.2f s, %d×%d; generated in %.1f s (%.3g frames a second, %.3g times real time)",
        output == "-" ? "standard output" : output, job.clip.videoFrames, seconds, job.size.width, job.size.height,
        took.generation, Double(job.clip.videoFrames) / max(took.generation, 1e-6), seconds / max(took.generation, 1e-6)
      )
      + String(format: ", %.1f s in all.", took.whole)
    if output == "-" { Terminal.error(summary) } else { Terminal.line(summary) }
  }
}

extension AdaptiveSink: ExpressibleByArgument {}
