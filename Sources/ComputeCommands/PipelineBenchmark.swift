import Distributed
import Foundation
import Generation
import Models
import Torch

/// The figures of one pipeline: the last line of its output, as JSON.
struct PipelineReport: Codable {
  /// What one process does.
  struct Stage: Codable {
    var rank: Int
    /// What it computes, in words.
    var parts: String
    /// Milliseconds of a block for each part, on average, and for its sound, which is encoded while the process would wait.
    var partsMs: [Double]
    var soundMs: Double
    /// Milliseconds of a block in which it works.
    var busyMs: Double
  }

  var name: String
  var device: String
  var dtype: String
  var torch: String
  var threads: Int
  var height: Int
  var width: Int
  var steps: Int
  var blocks: Int
  var stages: [Stage]
  /// Milliseconds from the first block's sound to its frames, over a pipeline that has run before.
  var timeToFirstFrameMs: Double
  var framesPerSecond: Double
  /// As fast as the process with the most work alone would be.
  var idealFramesPerSecond: Double
  /// As fast as one process that does all of it would be.
  var sequentialFramesPerSecond: Double

  var efficiency: Double { framesPerSecond / idealFramesPerSecond }
}

/// Runs a pipeline of processes block by block, and measures in each when it works.
enum PipelineBenchmark {
  struct Plan {
    var models: LiveAvatarModels
    var name: String
    var size: ReferencePicture.Size
    var options: SessionOptions
    var textTokens: Int
    /// Measured blocks, after those that fill the caches and the pipeline.
    var blocks: Int
  }

  /// - Returns: the report and all spans in the process that decodes, nil in the others.
  static func run(_ plan: Plan, _ group: ProcessGroup, progress: (String) -> Void) throws -> (
    report: PipelineReport, spans: [PipelineSpan]
  )? {
    let (models, device) = (plan.models, plan.models.device)
    let pipeline = try PipelinePlan(steps: plan.options.steps, ranks: group.size)
    let options = LiveAvatarOptions(plan.options)
    let generator = RandomGenerator(seed: 1, device: device)
    let text = generator.normal([1, plan.textTokens, models.textWidth], models.dtype)
    let picture = generator.normal([1, 3, 1, plan.size.height, plan.size.width], models.dtype).clamp(-1, 1)
    progress("the picture")
    let conditions = LiveAvatarConditions(picture, models.vae, encoding: plan.options.sink.encoding)
    let clock = PipelineClock(device, rank: group.rank)

    func run(_ blocks: Int) throws -> PipelineStage {
      let stage = try PipelineStage(
        pipeline, group, models: models, vae: models.vae, conditions: conditions, textEmbedding: text,
        options: options, clock: clock)
      var sound = try LiveSound(models, plan.options)
      try group.barrier()
      let start = Tensor([Date().timeIntervalSince1970], device: device)
      try group.broadcast(start)
      clock.start(at: start.item)
      for _ in 0..<blocks {
        let latents = try stage.next(audioFeatures: { try sound.features() })
        if stage.decodes { _ = try stage.decode(latents).read() }
      }
      try stage.finish()
      return stage
    }

    progress("what is made on first use")
    _ = try run(1)
    // Until the caches are full, the sink has changed and every process has a block.
    let lead = max(options.windowBlocks, options.blocksPerClip) + group.size
    progress("\(lead) blocks to fill the pipeline and \(plan.blocks) to measure")
    guard let spans = try run(lead + plan.blocks).gatherSpans() else { return nil }

    let decodes = spans.filter { $0.part == plan.options.steps }.sorted { $0.block < $1.block }
    let measured = spans.filter { $0.block >= lead }
    // What a pipeline gives in the long run is a matter of means.
    func milliseconds(_ rank: Int, _ part: Int) -> Double {
      let times = measured.filter { $0.rank == rank && $0.part == part }.map(\.seconds)
      return times.reduce(0, +) / Double(max(times.count, 1)) * 1000
    }
    let stages = (0..<group.size).map { rank in
      let parts = pipeline.parts(of: rank).map { milliseconds(rank, $0) }
      let sound = milliseconds(rank, PipelineSpan.sound)
      return PipelineReport.Stage(
        rank: rank, parts: PipelineTimeline.words(pipeline.parts(of: rank), steps: pipeline.steps), partsMs: parts,
        soundMs: sound, busyMs: parts.reduce(sound, +))
    }
    let framesPerBlock = Double(options.framesPerBlock * models.geometry.temporalStride)
    func rate(_ ms: Double) -> Double { framesPerBlock / max(ms, 1e-9) * 1000 }
    let seconds = decodes[decodes.count - 1].end - decodes[lead - 1].end
    // One process encodes a block's sound once.
    let sounds = stages.map(\.soundMs)
    let report = PipelineReport(
      name: plan.name, device: "\(device)", dtype: "\(models.dtype)", torch: Torch.version, threads: Torch.threads,
      height: plan.size.height, width: plan.size.width, steps: pipeline.steps, blocks: plan.blocks, stages: stages,
      timeToFirstFrameMs: decodes[0].end * 1000, framesPerSecond: framesPerBlock * Double(plan.blocks) / seconds,
      idealFramesPerSecond: rate(stages.map(\.busyMs).max() ?? 0),
      sequentialFramesPerSecond: rate(
        stages.map(\.busyMs).reduce(0, +) - sounds.reduce(0, +) + (sounds.max() ?? 0)))
    return (report, spans)
  }
}

extension PipelineReport {
  /// The figures for people.
  var table: String {
    func row(_ name: String, _ value: String) -> String {
      "  \(name.padding(toLength: 34, withPad: " ", startingAt: 0))\(value)"
    }
    func ms(_ value: Double) -> String { String(format: "%.1f ms", value) }
    var rows = [
      "\(name), \(height)×\(width), \(dtype), \(device), \(threads) threads, torch \(torch), \(steps) steps, "
        + "\(stages.count) processes, \(blocks) blocks"
    ]
    rows += stages.map { stage in
      let parts = stage.partsMs.map(ms).joined(separator: " + ")
      return row("process \(stage.rank): \(stage.parts)", "\(ms(stage.busyMs)) = \(parts), sound \(ms(stage.soundMs))")
    }
    return
      (rows + [
        row("time to first frame", ms(timeToFirstFrameMs)),
        row("video frames per second", String(format: "%.2f", framesPerSecond)),
        row(
          "  as its slowest process alone",
          String(format: "%.2f, of which %.0f %%", idealFramesPerSecond, efficiency * 100)),
        row("  as one process for all", String(format: "%.2f", sequentialFramesPerSecond)),
      ]).joined(separator: "\n")
  }
}
