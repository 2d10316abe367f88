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
  /// What the same work would give in other divisions, calculated from the measured times of its parts.
  var alternatives: [Alternative]

  var efficiency: Double { framesPerSecond / idealFramesPerSecond }

  /// The rows of Live Avatar's comparison of techniques (table 3 of arXiv 2512.04677).
  struct Alternative: Codable {
    var name: String
    var processes: Int
    /// Passes of the transformer for a block.
    var passes: Int
    var framesPerSecond: Double
    var timeToFirstFrameMs: Double
  }

  /// Passes of an undistilled model for a block: 40 steps, with guidance.
  private static let undistilledPasses = 80

  /// - Parameters:
  ///   - steps: milliseconds of each step of a block.
  ///   - decode: of its decoding, `sound`: of its sound.
  static func alternatives(steps: [Double], decode: Double, sound: Double, framesPerBlock: Double) -> [Alternative] {
    let all = steps.reduce(0, +) + decode + sound
    let many = steps.reduce(0, +) / Double(steps.count) * Double(undistilledPasses) + decode + sound
    func row(_ name: String, _ processes: Int, _ passes: Int, slowest: Double, first: Double) -> Alternative {
      Alternative(
        name: name, processes: processes, passes: passes, framesPerSecond: framesPerBlock / max(slowest, 1e-9) * 1000,
        timeToFirstFrameMs: first)
    }
    let slowestStep = steps.max() ?? 0
    return [
      row(
        "a process for each step, one for decoding", steps.count + 1, steps.count, slowest: max(slowestStep, decode),
        first: all),
      row(
        "the decoder beside the last step", steps.count, steps.count,
        slowest: max(slowestStep, (steps.last ?? 0) + decode), first: all),
      row("no pipeline", 1, steps.count, slowest: all, first: all),
      row("no pipeline, not distilled", 1, undistilledPasses, slowest: many, first: many),
    ]
  }
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
    // One after the other, the decoder's last.
    let parts = stages.flatMap(\.partsMs)
    let report = PipelineReport(
      name: plan.name, device: "\(device)", dtype: "\(models.dtype)", torch: Torch.version, threads: Torch.threads,
      height: plan.size.height, width: plan.size.width, steps: pipeline.steps, blocks: plan.blocks, stages: stages,
      timeToFirstFrameMs: decodes[0].end * 1000, framesPerSecond: framesPerBlock * Double(plan.blocks) / seconds,
      idealFramesPerSecond: rate(stages.map(\.busyMs).max() ?? 0),
      alternatives: PipelineReport.alternatives(
        steps: parts.dropLast(), decode: parts.last ?? 0, sound: stages.map(\.soundMs).max() ?? 0,
        framesPerBlock: framesPerBlock))
    return (report, spans)
  }
}

extension PipelineReport {
  /// The figures for people.
  var table: String {
    func row(_ name: String, _ value: String) -> String {
      "  \(name.padding(toLength: 46, withPad: " ", startingAt: 0))\(value)"
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
        row("calculated from the parts", "processes, passes, frames per second, first frame"),
      ]
      + alternatives.map {
        row(
          "  \($0.name)",
          String(format: "%d, %d, %.2f, %.0f ms", $0.processes, $0.passes, $0.framesPerSecond, $0.timeToFirstFrameMs))
      }).joined(separator: "\n")
  }
}
