import ArgumentParser
import Basics
import Distributed
import Foundation
import Generation
import Torch
import Training

extension BenchSessionCommand {
  /// This process's part of `bench --pipeline`; the one that decodes prints the report and writes the drawing.
  func runPipeline() throws {
    _ = try compute.resolve()
    let processes = try Processes.launched(device: compute.device, devicesPerProcess: devicesPerProcess())
    do {
      let plan = try PipelinePlan(steps: steps, ranks: processes.count)
      guard let group = processes.group else { return }
      let isLast = group.rank == plan.decoder
      let note: (String) -> Void = { if isLast { Self.note($0) } }
      let found = try withTorchErrors {
        try withInferenceMode {
          let system = try system(on: group.device, note: note)
          guard let models = system.models as? LiveAvatarModels else {
            throw ValidationError("Only Live Avatar's steps make a pipeline: LiveTalk's share one cache.")
          }
          return try PipelineBenchmark.run(
            PipelineBenchmark.Plan(
              models: models, name: system.name, size: system.size, options: system.options,
              textTokens: system.textTokens, blocks: blocks), group, progress: note)
        }
      }
      if let (report, spans) = found {
        try BenchCommand.print(report, table: report.table)
        if let timeline {
          let title = String(
            format: "%@, %d×%d, %@ on %@: %.1f frames a second in %d processes", report.name, report.width,
            report.height, report.dtype, report.device, report.framesPerSecond, plan.ranks)
          let drawing = PipelineTimeline(plan: plan, spans: spans, title: title)
          let place = URL(fileURLWithPath: timeline)
          do { try Data(drawing.svg().utf8).write(to: place) } catch {
            throw FileError(place, "it cannot be written")
          }
          note("the drawing is in \(timeline)")
        }
      }
      processes.leave()
    } catch {
      processes.leave(failure: "\(error)")
      throw error
    }
  }
}
