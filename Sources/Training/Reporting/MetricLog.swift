import Basics
package import Foundation
import Synchronization
import Torch

/// The metrics of a run: `metrics.jsonl`, a line of JSON for each logged step, and TensorBoard events.
///
/// Lines are not buffered, so a crash loses none. A resumed run drops the lines after its checkpoint's step, and tells TensorBoard to.
package final class MetricLog {
  package static let fileName = "metrics.jsonl"

  private let lines: AppendedFile
  private let events: AppendedFile

  /// - Parameter resumedStep: the step of the checkpoint that the run resumes from; nil for a new run.
  /// - Throws: `FileError` for a folder that cannot be written, or holds the log of another run.
  package init(_ folder: URL, resumedStep: Int? = nil, now: Date = Date()) throws {
    do { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) } catch {
      throw FileError(folder, "the folder cannot be made")
    }
    let file = folder.appendingPathComponent(MetricLog.fileName)
    if let resumedStep {
      try MetricLog.cut(file, behind: resumedStep)
    } else if let size = try? Data(contentsOf: file).count, size > 0 {
      throw FileError(file, "it is the log of an earlier run; resume that one or choose another folder")
    }
    lines = try AppendedFile(file)
    events = try AppendedFile(folder.appendingPathComponent(MetricLog.eventFileName(now)))
    let time = now.timeIntervalSince1970
    try events.append(TensorBoardEvents.header(time: time))
    if let resumedStep { try events.append(TensorBoardEvents.start(step: resumedStep + 1, time: time)) }
  }

  /// TensorBoard reads files in the order of their names; the last number tells apart runs of the same second.
  private static func eventFileName(_ now: Date) -> String {
    let seconds = String(format: "%010d", Int(now.timeIntervalSince1970))
    let process = ProcessInfo.processInfo
    let number = opened.withLock { count in
      defer { count += 1 }
      return count
    }
    return "events.out.tfevents.\(seconds).\(process.hostName).\(process.processIdentifier).\(number)"
  }

  private static let opened = Mutex(0)

  /// Logs a step's metrics; NaN and infinities as text.
  package func write(step: Int, _ values: [(name: String, value: Double)], now: Date = Date()) throws {
    let time = now.timeIntervalSince1970
    var line = "{\"step\": \(step), \"time\": \(String(format: "%.3f", time))"
    for (name, value) in values { line += ", \(quoted(name)): \(value.isFinite ? "\(value)" : "\"\(value)\"")" }
    try lines.append(Array("\(line)}\n".utf8))
    try events.append(TensorBoardEvents.scalars(values, step: step, time: time))
  }

  /// Logs an image to TensorBoard.
  ///
  /// - Parameter png: a whole PNG file in RGB.
  package func image(step: Int, _ name: String, png: [UInt8], width: Int, height: Int, now: Date = Date()) throws {
    try events.append(
      TensorBoardEvents.image(
        name, png: png, width: width, height: height, step: step, time: now.timeIntervalSince1970))
  }

  private func quoted(_ text: String) -> String {
    let json = try? JSONSerialization.data(withJSONObject: text, options: [.fragmentsAllowed, .withoutEscapingSlashes])
    return json.map { String(decoding: $0, as: UTF8.self) } ?? "\"\""
  }

  /// Removes lines after a step, and an incomplete last one.
  private static func cut(_ file: URL, behind step: Int) throws {
    guard let data = try? Data(contentsOf: file) else { return }
    var kept = Data()
    for line in data.split(separator: UInt8(ascii: "\n")) {
      guard let entry = try? JSONDecoder().decode(StepOfLine.self, from: line), entry.step <= step else { continue }
      kept += line + [UInt8(ascii: "\n")]
    }
    if kept != data { try writeAtomically(kept, to: file) }
  }

  private struct StepOfLine: Decodable { let step: Int }
}
