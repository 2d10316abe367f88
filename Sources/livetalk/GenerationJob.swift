import ComputeCommands
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
  let picture: RGBPixels
  let size: ReferencePicture.Size
  let clip: Clip
  let prompt: String
  /// Of `soundRate`.
  let sound: [Float]
  let output: String
  let device: Device
  let dtype: DType
  /// Whether most linear layers are computed in 8 bits.
  var float8 = false
  /// What the user should know before the work begins.
  var remark: String?

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
    let sink = GuardedSink(
      try makeVideoSink(
        path: output,
        format: VideoFormat(
          width: size.width, height: size.height, framesPerSecond: clip.geometry.framesPerSecond,
          soundSampleRate: Self.soundRate)))
    defer { sink.cancel() }
    Interruption.onStop { sink.cancelWithinLock() }
    let seconds = Double(clip.samples.count) / Double(clip.geometry.sampleRate)
    try withInferenceMode {
      let (models, text) = try load(report)
      try models.check(size)
      if let remark { report.note(remark) }
      report.status(String(format: "Encoding the picture and %.1f s of sound", seconds))
      let image = ReferencePicture.prepared(picture, size).to(device)
      let session = try models.session(image: image, textEmbedding: text, options: options, tap: nil)
      let features = try models.audioFeatures(of: clip, isLive: false)
      report.begin(frames: clip.videoFrames, blocks: clip.blocks)
      try generate(session, features, into: sink, report)
    }
    let generated = Date()
    report.end()
    try sink.finish()
    Interruption.forget()
    return Times(
      generation: generated.timeIntervalSince(report.started), whole: Date().timeIntervalSince(start))
  }

  /// The text encoder runs and goes before the other models come: they need not share the memory.
  private func load(_ report: ProgressReport) throws -> (any SessionModels, Tensor) {
    report.status("Checking the weights", isShort: true)
    try folder.verifyWeights()
    report.status("Reading the prompt")
    let text = try folder.encodeText(prompt, device: device, dtype: PromptEncoder.type(for: dtype))
    let models = try folder.loadModels(device: device, dtype: dtype, float8: float8) {
      report.status("Loading the \($0)")
    }
    if let provenance = models.settings.provenance { report.note("Weights: \(provenance)") }
    return (models, text)
  }

  private func generate(
    _ session: any BlockSession, _ features: () throws -> Tensor, into sink: GuardedSink, _ report: ProgressReport
  ) throws {
    let samplesPerFrame = Self.soundRate / clip.geometry.framesPerSecond
    var frame = 0
    try session.generate(
      clip, audioFeatures: features,
      deliver: { pixels in
        let start = frame * samplesPerFrame
        try sink.append(
          frame: pixels, sound: Array(sound.dropFirst(start).prefix(min(samplesPerFrame, soundLeft(start)))))
        frame += 1
        report.frame(frame)
      },
      progress: { report.block($0) })
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
