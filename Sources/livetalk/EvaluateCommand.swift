import ArgumentParser
import Basics
import ComputeCommands
import Evaluation
import Foundation
import Generation
import Media
import Models
import Torch
import Training

/// `livetalk evaluate`.
struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Measure what a checkpoint generates, or videos that are there.",
    discussion: """
      Generates a video of every clip and reads the faces off its frames with a small network ('livetalk train reader'). Clips \
      of 'data synthesize' come with the truth: then the mouth is compared with the sounds that drove it, and the same is \
      measured of the true videos. For a folder of pictures and sounds of the same names the mouth is compared with the \
      loudness.

      MEASURES
        lip sync   correlation of the mouth's opening and width with those the
                   sounds ask for; the lag in milliseconds (positive: the mouth
                   is late); the same with another clip's sound
        loudness   correlation of the opening with the level of the sound, 0 at
                   40 dB under loud speech; opening in silence over that in speech
        identity   cosine of every frame with the reference picture
        pictures   drift of the mean colour against the first second; second
                   differences over time; black and flat frames
        acting     smile, gaze, pose, eyes
        Fréchet    distance of the reader's features from those of true frames,
                   and of windows of 8 frames; between figures of this program
                   only, and of equal numbers of frames

      EXAMPLES
        livetalk evaluate --checkpoint weights --clips clips --count 20 \\
          --json student.json
        livetalk evaluate --checkpoint teacher --clips clips --seconds 5 \\
          --teacher-steps 24 --text-guidance 1 --audio-guidance 3
        livetalk evaluate --videos out --clips clips --reader weights
      """)

  @Option(help: ArgumentHelp("The folder with the weights to measure.", valueName: "dir"))
  var checkpoint: String?

  @Option(
    help: ArgumentHelp(
      "Clips to generate from: of 'data synthesize', or pictures and sounds of the same names, with prompts as .txt.",
      valueName: "dir"))
  var clips: String?

  @Option(help: ArgumentHelp("Videos to measure, in place of generating any.", valueName: "dir"))
  var videos: String?

  @Option(
    help: ArgumentHelp("The checkpoint folder with the face reader; by default that of --checkpoint.", valueName: "dir")
  )
  var reader: String?

  @Option(help: ArgumentHelp("How many clips, from the first.", valueName: "n"))
  var count: Int?

  @Option(help: ArgumentHelp("Length of each video, if less than that of its sound.", valueName: "s"))
  var seconds: Double?

  @Option(help: ArgumentHelp("Denoising steps of a block.", valueName: "n"))
  var steps = 4

  @Option(
    help: ArgumentHelp("What the model remembers: full, rolling:W or anchor:S/W.", valueName: "policy"),
    transform: GenerationArguments.policy)
  var policy: KVCachePolicy?

  @Option(help: ArgumentHelp("The random choice among possible videos.", valueName: "n"))
  var seed: UInt64 = 0

  @Option(
    help: ArgumentHelp("Height and width of the videos in pixels; see 'generate'.", valueName: "HxW"),
    transform: GenerationArguments.size)
  var size: ReferencePicture.Size?

  @Flag(help: "Drive each person by the sound of the next clip.")
  var swapSound = false

  @Flag(help: "Encode the sound as it would be heard live: in windows with 0.4 s of look-ahead.")
  var liveSound = false

  @Option(
    help: ArgumentHelp(
      "The checkpoint is a bidirectional teacher: solve whole clips in so many steps.", valueName: "n"))
  var teacherSteps: Int?

  @Option(help: ArgumentHelp("Guidance of the teacher by the text; 1 is none.", valueName: "scale"))
  var textGuidance = 6.0

  @Option(help: ArgumentHelp("Guidance of the teacher by the sound; 1 is none.", valueName: "scale"))
  var audioGuidance = 6.0

  @OptionGroup var compute: ComputeOptions

  @Option(help: "Number type of the models: auto, fp32, bf16 or fp16.")
  var dtype = ComputeType.auto

  @Option(help: ArgumentHelp("Writes all figures of all clips.", valueName: "file"))
  var json: String?

  @Flag(name: .shortAndLong, help: "Print nothing but the table and errors.")
  var quiet = false

  func validate() throws {
    if videos == nil {
      guard checkpoint != nil, clips != nil else {
        throw ValidationError("give --checkpoint and --clips, or --videos")
      }
    } else if reader == nil {
      throw ValidationError("--videos takes the face reader of --reader DIR")
    }
    if let count, count < 1 { throw ValidationError("--count is at least 1, not \(count)") }
    if let seconds, !(seconds > 0 && seconds <= 3600) {
      throw ValidationError("--seconds is a length above 0 and up to 3600, not \(seconds)")
    }
    guard (1...1000).contains(steps), (1...1000).contains(teacherSteps ?? 1) else {
      throw ValidationError("steps are a number from 1 to 1000")
    }
  }

  func run() throws {
    let device = try compute.resolve()
    let status = StatusLine(isQuiet: quiet)
    let faces = try CheckpointFolder(URL(fileURLWithPath: reader ?? checkpoint ?? "")).loadFaceReader(device: device)
    let known = try clips.map { try EvaluationClip.all(in: URL(fileURLWithPath: $0)) } ?? []
    let wanted = try videos.map { try EvaluationClip.videos(in: URL(fileURLWithPath: $0), known: known) } ?? known
    let chosen = Array(wanted.prefix(count ?? wanted.count))
    let generator = try videos == nil ? generator(device) : nil
    let measuring = Measuring(
      reader: faces, device: device, size: try pictureSize(), seconds: seconds, clips: chosen, swapsSound: swapSound)
    var (made, real) = (Gathered(), Gathered())
    var trueColumns: [[Float]] = []
    for (index, clip) in chosen.enumerated() {
      status.show(atMostEvery: 0) { "clip \(index + 1) of \(chosen.count): \(clip.id)" }
      let video = try generator.map { try generated(by: $0, index, measuring) } ?? measuring.frames(of: clip.video)
      guard let video else { continue }
      made.add(video, try measuring.measures(video, index, drivenBy: measuring.driver(of: index)))
      let original = known.first { $0.id == clip.id }
      guard let truth = try original.flatMap({ try measuring.frames(of: $0.video, upTo: video.frames) }) else {
        continue
      }
      real.add(truth, try measuring.measures(truth, index, drivenBy: index))
      if let columns = try original?.columns() { trueColumns += columns.prefix(truth.frames) }
    }
    var report = EvaluationReport(subject: subject, clips: made.measures, truth: real.measures)
    report.frechetDistance = distance(made.features, real.features)
    report.frechetVideoDistance = distance(made.windows, real.windows)
    report.reader = ReaderAccuracy(read: real.columns, truth: trueColumns)
    report.generatedFramesPerSecond = generator?.framesPerSecond
    status.end(clearing: true)
    if let json {
      try writeAtomically(Data("\(report.jsonText(indented: true))\n".utf8), to: URL(fileURLWithPath: json))
    }
    Terminal.line("\(subject)\n\(report.table)")
  }

  /// What comes of all videos of a kind.
  private struct Gathered {
    var measures: [ClipMeasures] = []
    var columns: [[Float]] = []
    var features: [[Float]] = []
    var windows: [[Float]] = []

    mutating func add(_ reading: VideoReading, _ clip: ClipMeasures) {
      measures.append(clip)
      columns += reading.columns
      features += reading.features
      windows += windowFeatures(reading.features)
    }
  }

  private var subject: String {
    if let videos { return "videos of \(videos)" }
    let way =
      teacherSteps.map { "teacher, \($0) steps, guidance \(textGuidance) by text and \(audioGuidance) by sound" }
      ?? "\(steps) steps\(policy.map { ", \($0)" } ?? "")"
    return
      "\(checkpoint ?? ""): \(way)\(liveSound ? ", live sound" : "")\(swapSound ? ", each with the next clip's sound" : "")"
  }

  private func generator(_ device: Device) throws -> ClipGenerator {
    let teacher = teacherSteps.map {
      ClipGenerator.Teacher(steps: $0, guidance: Guidance(text: textGuidance, audio: audioGuidance))
    }
    return try ClipGenerator(
      loading: try CheckpointFolder(URL(fileURLWithPath: checkpoint ?? "")), device: device,
      dtype: dtype.resolve(on: device), teacher: teacher, isLive: liveSound)
  }

  /// The size of the videos: what is asked for, or what the checkpoint was trained for; nil to take videos as they are.
  private func pictureSize() throws -> ReferencePicture.Size? {
    if let size { return size }
    guard videos == nil, let checkpoint else { return nil }
    return try CheckpointFolder(URL(fileURLWithPath: checkpoint)).settings.imageSizes.first
  }

  /// A clip's video, read while it is made.
  private func generated(by generator: ClipGenerator, _ index: Int, _ measuring: Measuring) throws -> VideoReading? {
    let clip = measuring.clips[index]
    let driver = measuring.clips[measuring.driver(of: index)]
    let picture = try clip.reference()
    let size = measuring.size ?? ReferencePicture.Size(height: picture.height, width: picture.width)
    let length = try Clip(samples: try driver.samples(), seconds: seconds)
    var options = SessionOptions(generator.settings, policy: policy)
    (options.steps, options.seed, options.clipFrames) = (steps, seed, length.latentFrames)
    var reading = VideoReading(
      width: size.width, height: size.height, reader: measuring.reader, device: measuring.device)
    try generator.generate(length, picture, size: size, prompt: clip.caption, options) { reading.append($0) }
    reading.finish()
    return reading
  }

  private func distance(_ features: [[Float]], _ others: [[Float]]) -> Double? {
    guard let one = FeatureStatistics(features), let other = FeatureStatistics(others) else { return nil }
    return one.distance(to: other)
  }
}
