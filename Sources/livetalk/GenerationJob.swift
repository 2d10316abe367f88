import Basics
import ComputeCommands
import Distributed
import Foundation
import Generation
import Media
import Models
import Torch

/// One clip from checked inputs to a finished output.
struct GenerationJob {
  /// Samples per second of the sound in the output.
  static let soundRate = 48_000

  let folder: CheckpointFolder
  let picture: Picture
  let size: ReferencePicture.Size
  let clip: Clip
  let prompt: String
  /// Of `soundRate`.
  let sound: [Float]
  let output: String
  let device: Device
  let dtype: DType
  /// How the transformer's weights are kept.
  var weights = WeightOptions()
  /// What the user should know before the work begins.
  var remark: String?
  /// The processes that share the work, this one among them; nil for one alone.
  var pipeline: Pipeline?

  typealias Pipeline = (plan: PipelinePlan, group: ProcessGroup)

  /// Whether the output is written by this process.
  var writes: Bool { pipeline.map { $0.group.rank == $0.plan.decoder } ?? true }

  /// Seconds that parts of the work took.
  struct Times {
    /// From the first block's start to the last frame.
    var generation: Double
    var whole: Double
  }

  /// A tensor operation that fails ends the program, as `runTool` has arranged.
  ///
  /// - Throws: what any part says; the output is then gone.
  func run(_ options: SessionOptions, _ report: ProgressReport) throws -> Times {
    let start = Date()
    // Made first: a place that cannot be written is found before gigabytes are read.
    let sink = writes ? GuardedSink(try makeVideoSink(path: output, format: format)) : nil
    defer { sink?.cancel() }
    Interruption.onStop { sink?.cancelWithinLock() }
    try withInferenceMode {
      report.status("Checking the weights", isShort: true)
      try folder.verifyWeights()
      let generate = try pipeline.map { try stage($0, options, report) } ?? session(options, report)
      if let provenance = folder.settings.provenance { report.note("Weights: \(provenance)") }
      if let remark { report.note(remark) }
      report.begin(frames: clip.videoFrames, blocks: clip.blocks)
      try deliver(generate, into: sink, report)
    }
    let generated = Date()
    report.end()
    try sink?.finish()
    Interruption.forget()
    return Times(
      generation: generated.timeIntervalSince(report.started), whole: Date().timeIntervalSince(start))
  }

  private var format: VideoFormat {
    VideoFormat(
      width: size.width, height: size.height, framesPerSecond: clip.geometry.framesPerSecond,
      soundSampleRate: Self.soundRate)
  }

  /// Makes the clip's frames and tells how many blocks are done.
  private typealias Generate = (_ deliver: ([UInt8]) throws -> Void, _ progress: (Int) -> Void) throws -> Void

  /// The whole work in this process. The text encoder runs and goes before the other models come: they need not share the memory.
  private func session(_ options: SessionOptions, _ report: ProgressReport) throws -> Generate {
    let text = try encodedText(report)
    let models = try folder.loadModels(device: device, dtype: dtype, weights: weights) {
      report.status("Loading the \($0)")
    }
    try models.check(size)
    let session = try models.session(image: image(report), textEmbedding: text, options: options, tap: nil)
    let features = try models.audioFeatures(of: clip, isLive: false)
    return { try session.generate(clip, audioFeatures: features, deliver: $0, progress: $1) }
  }

  /// This process's part of a pipeline. One that only decodes needs neither text nor transformer.
  private func stage(_ pipeline: Pipeline, _ options: SessionOptions, _ report: ProgressReport) throws -> Generate {
    let (plan, rank) = (pipeline.plan, pipeline.group.rank)
    let text = try plan.steps(of: rank).isEmpty ? nil : encodedText(report)
    let (models, vae) = try folder.loadStage(
      plan, rank: rank, device: device, dtype: dtype, weights: weights
    ) { report.status("Loading the \($0)") }
    try models?.check(size)
    let stage = try PipelineStage(
      plan, pipeline.group, models: models, vae: vae,
      conditions: LiveAvatarConditions(image(report), vae, encoding: options.sink.encoding), textEmbedding: text,
      options: LiveAvatarOptions(options))
    let features = try models?.audioFeatures(of: clip)
    return { try stage.generate(clip, audioFeatures: features, deliver: $0, progress: $1) }
  }

  private func encodedText(_ report: ProgressReport) throws -> Tensor {
    report.status("Reading the prompt")
    return try folder.encodeText(prompt, device: device, dtype: PromptEncoder.type(for: dtype))
  }

  private func image(_ report: ProgressReport) -> Tensor {
    let seconds = Double(clip.samples.count) / Double(clip.geometry.sampleRate)
    report.status(String(format: "Encoding the picture and %.1f s of sound", seconds))
    return ReferencePicture.prepared(picture, size).to(device)
  }

  private func deliver(_ generate: Generate, into sink: GuardedSink?, _ report: ProgressReport) throws {
    let samplesPerFrame = Self.soundRate / clip.geometry.framesPerSecond
    var frame = 0
    try generate(
      { pixels in
        let start = frame * samplesPerFrame
        try sink?.append(
          frame: pixels, sound: Array(sound.dropFirst(start).prefix(min(samplesPerFrame, soundLeft(start)))))
        frame += 1
        report.frame(frame)
      }, { report.block($0) })
  }

  /// Samples between `start` and the clip's end: a clip shorter than its sound ends in silence, not in the next word.
  private func soundLeft(_ start: Int) -> Int {
    max(0, clip.samples.count * (Self.soundRate / clip.geometry.sampleRate) - start)
  }
}

/// A sink that a signal may cancel from another thread.
// Unchecked for the sink: every use of it holds `Interruption.lock`.
private final class GuardedSink: @unchecked Sendable {
  private let sink: any VideoSink

  init(_ sink: any VideoSink) { self.sink = sink }

  func append(frame: [UInt8], sound: [Float]) throws {
    try Interruption.lock.withLock {
      try sink.append(frame: frame)
      if !sound.isEmpty { try sink.append(sound: sound) }
    }
  }

  func finish() throws { try Interruption.lock.withLock { try sink.finish() } }

  func cancel() { Interruption.lock.withLock { sink.cancel() } }

  func cancelWithinLock() { sink.cancel() }
}
