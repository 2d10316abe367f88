import Basics
package import Foundation
package import Torch

/// The result of one case.
package struct ParityResult: Sendable {
  package let component: String
  package let name: String
  package let comparisons: [ParityRecorder.Comparison]
  /// Intermediate results that the case does not hold.
  package var notHeld: [String] = []
  /// Why the case could not run, or nil.
  package let failure: String?

  package var passed: Bool { failure == nil && !comparisons.isEmpty && comparisons.allSatisfy(\.passed) }

  /// `component/case: max abs diff D, tolerance T`, with what failed.
  package var line: String {
    if let failure { return "\(component)/\(name): FAILED, \(failure)" }
    guard let worst = comparisons.max(by: { $0.maxDifference < $1.maxDifference }) else {
      return "\(component)/\(name): FAILED, nothing was compared"
    }
    let failed = comparisons.filter { !$0.passed }
    let tolerance = worst.tolerance
    let stated =
      "max abs diff \(format(worst.maxDifference)), tolerance \(format(tolerance.atol))"
      + (tolerance.rtol > 0 ? " + \(format(tolerance.rtol))·|x|" : "")
    let verdict =
      failed.isEmpty
      ? "(\(comparisons.count) compared\(notHeld.isEmpty ? "" : ", \(notHeld.count) not held"))"
      : "FAILED: "
        + failed.prefix(8).map { "\($0.name) \(format($0.maxDifference)) > \(format($0.tolerance.atol))" }
        .joined(separator: ", ")
        + (failed.count > 8 ? " and \(failed.count - 8) more" : "")
    return "\(component)/\(name): \(stated) \(verdict)"
  }

  /// A line for each comparison, and for each that could not be made.
  package var details: [String] {
    comparisons.map {
      "\($0.passed ? "ok" : "FAILED") \($0.name): \(format($0.maxDifference)), tolerance \(format($0.tolerance.atol))"
    } + notHeld.map { "not held \($0)" }
  }

  private func format(_ value: Double) -> String { value == 0 ? "0" : String(format: "%.1e", value) }
}

/// Runs goldens by what their `case.json` says, whichever they are.
package enum ParitySuite {
  package typealias Runner = @Sendable (ParityCase, ParityRecorder) throws -> Void

  /// What compares each component. A component without one fails its case.
  package static let runners: [String: Runner] = [
    "distill": DistillCases.run,
    "dit": TransformerCases.run,
    "image": ImageCases.run,
    "liveavatar": LiveAvatarCases.run,
    "pipeline": PipelineCases.run,
    "schedule": ScheduleCases.run,
    "silero_vad": SileroVADCases.run,
    "umt5": UMT5Cases.run,
    "vae": VAECases.run,
    "wav2vec2": Wav2Vec2Cases.run,
  ]

  /// Every directory with a `case.json` under the given ones, in order of path. Links to directories are followed, each once.
  package static func directories(under roots: [URL]) -> [URL] {
    var (found, seen) = ([URL](), Set<String>())
    func search(_ directory: URL) {
      guard seen.insert(directory.resolvingSymlinksInPath().path).inserted,
        let names = try? FileManager.default.contentsOfDirectory(atPath: directory.path)
      else { return }
      if names.contains("case.json") { found.append(directory) }
      for name in names { search(directory.appendingPathComponent(name)) }
    }
    for root in roots { search(root) }
    return found.sorted { $0.path < $1.path }
  }

  /// Runs the case in one directory. What it throws becomes its failure.
  package static func run(_ directory: URL, device: Device, media: MediaReader? = nil) -> ParityResult {
    let recorder = ParityRecorder()
    var component = directory.deletingLastPathComponent().lastPathComponent
    var name = directory.lastPathComponent
    func result(_ failure: String?) -> ParityResult {
      ParityResult(
        component: component, name: name, comparisons: recorder.comparisons, notHeld: recorder.notHeld, failure: failure
      )
    }
    do {
      let golden = try ParityCase(directory: directory, device: device, media: media)
      (component, name) = (golden.component, golden.name)
      guard let runner = runners[component] else { throw LiveTalkError("no runner for the component '\(component)'") }
      try withTorchErrors {
        component == "distill" ? try runner(golden, recorder) : try withInferenceMode { try runner(golden, recorder) }
      }
      return result(nil)
    } catch {
      return result("\(error)")
    }
  }
}
