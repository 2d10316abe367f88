import ArgumentParser
import Basics
import ClipShards
import ComputeCommands
import Datasets
import Foundation
import Generation

/// `livetalk data inspect`.
struct InspectDataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Say what a dataset or a folder of shards holds, and what is wrong with it.",
    discussion: """
      Of a dataset (a folder with metadata.jsonl): each clip with its length, size, speed, sound and caption. Only what the \
      files say of themselves is read; with --decode every picture and sound is decoded.

      Of shards (a folder with index.json): what was prepared, from what, and what was rejected. Every shard is read whole.

      EXIT STATUS
        0 if nothing is wrong, else 1. Clips that were rejected when shards were
        made are no fault of the shards.
      """)

  @Argument(help: ArgumentHelp("The folder.", valueName: "dir"))
  var folder: String

  @Flag(help: "Decode every clip of a dataset.")
  var decode = false

  @Flag(help: "Print JSON instead of a table.")
  var json = false

  func run() throws {
    let url = URL(fileURLWithPath: folder)
    if DatasetFolder.exists(at: url) {
      try inspectDataset(url)
    } else if ShardIndex.exists(in: url) {
      try inspectShards(url)
    } else {
      let exists = FileManager.default.fileExists(atPath: folder)
      throw LiveTalkError(
        exists
          ? "The folder \(folder) is neither a dataset (metadata.jsonl) nor one of shards (index.json)."
          : "There is no folder \(folder).")
    }
  }

  // MARK: Datasets

  private func inspectDataset(_ url: URL) throws {
    let dataset = try DatasetFolder(url)
    let report = dataset.clips.count > 20 ? StepReport("Looking at \(dataset.clips.count) clips") : nil
    let inspection = DatasetInspection(of: dataset, decoding: decode) {
      report?.show(Double($0) / Double($1), "\($0) of \($1) clips")
    }
    report?.end()
    if json { Terminal.line(try inspection.jsonText(indented: true)) } else { show(inspection) }
    if inspection.problems > 0 { throw ExitCode(1) }
  }

  private func show(_ inspection: DatasetInspection) {
    let rows = inspection.clips.map { clip -> [String] in
      [
        clip.id, clip.seconds.map { String(format: "%.2f s", $0) } ?? "?",
        clip.width.flatMap { width in clip.height.map { "\(width)x\($0)" } } ?? "?",
        clip.fps.map { String(format: "%.4g fps", $0) } ?? "?",
        clip.sound.map { sound in "\(sound) \(clip.soundSeconds.map { String(format: "%.2f s", $0) } ?? "?")" }
          ?? "-",
        clip.caption.map { $0.count > 40 ? "\($0.prefix(39))…" : $0 } ?? "-",
      ]
    }
    let table = [["ID", "LENGTH", "SIZE", "SPEED", "SOUND", "CAPTION"]] + rows
    let widths = (0..<6).map { column in table.map { $0[column].count }.max() ?? 0 }
    for (number, row) in table.enumerated() {
      let line = row.enumerated().map { $1.padding(toLength: max(widths[$0], $1.count), withPad: " ", startingAt: 0) }
      Terminal.line(trimmed(line.joined(separator: "  ")))
      if number > 0, let problem = inspection.clips[number - 1].problem { Terminal.line("  PROBLEM  \(problem)") }
    }
    let total = "\(inspection.clips.count) clips, \(timeText(inspection.seconds)) that can be used"
    Terminal.line("\n\(total)\(inspection.problems > 0 ? ", \(inspection.problems) with a problem" : "").")
  }

  private func trimmed(_ line: String) -> String {
    String(line.reversed().drop { $0 == " " }.reversed())
  }

  // MARK: Shards

  /// What `--json` prints of shards.
  private struct ShardReport: Encodable {
    struct Tensors: Encodable {
      let dtype: String
      let shapes: [[Int]]
      let clips: Int
    }
    let folder: String
    let kind: String
    let fps: Int
    let sampleRate: Int
    let width: Int
    let height: Int
    let origin: [String: String]
    let clips: Int
    let shards: Int
    let bytes: Int
    let tensors: [String: Tensors]
    let shared: [String: TensorRecord]
    let rejected: [RejectedClip]
    let problems: [String: String]
  }

  private func inspectShards(_ url: URL) throws {
    let index = try ShardIndex(readingFrom: url)
    let report = index.files.count > 4 ? StepReport("Reading \(index.files.count) shards") : nil
    let problems = index.problems(in: url) { report?.show(Double($0) / Double($1), "\($0) of \($1) shards") }
    report?.end()
    var tensors: [String: ShardReport.Tensors] = [:]
    for name in Set(index.clips.flatMap(\.tensors.keys)) {
      let records = index.clips.compactMap { $0.tensors[name] }
      let types = Set(records.map(\.dtype)).sorted().joined(separator: ", ")
      let shapes = Set(records.map(\.shape)).sorted { $0.lexicographicallyPrecedes($1) }
      tensors[name] = ShardReport.Tensors(dtype: types, shapes: shapes, clips: records.count)
    }
    let bytes = index.files.map { name -> Int in
      let attributes = try? FileManager.default.attributesOfItem(atPath: url.appendingPathComponent(name).path)
      return (attributes?[.size] as? NSNumber)?.intValue ?? 0
    }
    let shared = problems.isEmpty ? try PreparedClips(url).sharedTensors : [:]
    let result = ShardReport(
      folder: folder, kind: index.kind.rawValue, fps: index.fps, sampleRate: index.sampleRate, width: index.width,
      height: index.height, origin: index.origin, clips: index.clips.count, shards: index.files.count,
      bytes: bytes.reduce(0, +), tensors: tensors, shared: shared, rejected: index.rejected, problems: problems)
    if json { Terminal.line(try result.jsonText(indented: true)) } else { show(result) }
    if !problems.isEmpty { throw ExitCode(1) }
  }

  private func show(_ report: ShardReport) {
    func text(_ shapes: [[Int]]) -> String {
      let shown = shapes.prefix(3).map { "\($0)" }.joined(separator: ", ")
      return shapes.count > 3 ? "\(shown), … (\(shapes.count) shapes)" : shown
    }
    Terminal.line("\(report.folder): \(report.clips) clips prepared as \(report.kind)")
    Terminal.line(
      "  video     \(report.width)x\(report.height) (width x height), \(report.fps) frames and \(grouped(report.sampleRate)) "
        + "samples a second")
    Terminal.line("  files     \(report.shards), \(byteText(report.bytes))")
    for (name, tensors) in report.tensors.sorted(by: { $0.key < $1.key }) {
      Terminal.line("  tensor    \(name): \(tensors.dtype) \(text(tensors.shapes)) of \(tensors.clips) clips")
    }
    for (name, record) in report.shared.sorted(by: { $0.key < $1.key }) {
      Terminal.line("  shared    \(name): \(record.dtype) \(record.shape)")
    }
    for (key, value) in report.origin.sorted(by: { $0.key < $1.key }) {
      Terminal.line("  origin    \(key): \(value.isEmpty ? "(empty)" : value)")
    }
    for clip in report.rejected { Terminal.line("  rejected  \(clip.id): \(clip.reason)") }
    for (name, problem) in report.problems.sorted(by: { $0.key < $1.key }) {
      Terminal.line("  PROBLEM   \(name): \(problem)")
    }
    Terminal.line(report.problems.isEmpty ? "Every file is whole." : "\(report.problems.count) files cannot be used.")
  }
}
