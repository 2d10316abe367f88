import Basics
import Foundation
import Torch

/// One thing that `doctor` looked at.
package struct Finding: Sendable {
  package enum State: String, Sendable {
    case ok
    /// Something is slower or less without it.
    case note
    case missing
  }

  package let state: State
  package let subject: String
  package let text: String
  /// What to do about it.
  package let remedy: String?

  package init(_ state: State, _ subject: String, _ text: String, remedy: String? = nil) {
    (self.state, self.subject, self.text, self.remedy) = (state, subject, text, remedy)
  }

  /// Prints findings as a table with remedies below their lines.
  /// - Returns: whether nothing is missing.
  package static func report(_ findings: [Finding]) -> Bool {
    let width = findings.map(\.subject.count).max() ?? 0
    for finding in findings {
      let mark = finding.state.rawValue.padding(toLength: 8, withPad: " ", startingAt: 0)
      Terminal.line(
        "\(mark)\(finding.subject.padding(toLength: width + 2, withPad: " ", startingAt: 0))\(finding.text)")
      if let remedy = finding.remedy { Terminal.line(String(repeating: " ", count: 10 + width) + "→ \(remedy)") }
    }
    let missing = findings.filter { $0.state == .missing }
    Terminal.line(
      missing.isEmpty ? "\nEverything needed is here." : "\nMissing: \(missing.map(\.subject).joined(separator: ", "))."
    )
    return missing.isEmpty
  }

  /// What any program of ours computes with: libtorch, the processor, GPUs.
  package static func compute() -> [Finding] {
    var findings = [Finding(.ok, "libtorch", "version \(Torch.version)")]
    let cores = ProcessInfo.processInfo.activeProcessorCount
    findings.append(
      Torch.cpuHasBFloat16
        ? Finding(.ok, "processor", "\(cores) cores, \(Torch.threads) threads, bf16 kernels (AVX-512)")
        : Finding(
          .note, "processor", "\(cores) cores, \(Torch.threads) threads, no bf16 kernels for it",
          remedy: "fp32 is used; a processor with AVX-512 or a GPU is several times faster"))
    let memory = Int(ProcessInfo.processInfo.physicalMemory)
    findings.append(
      memory >= 15_000_000_000
        ? Finding(.ok, "memory", byteText(memory))
        : Finding(.note, "memory", byteText(memory), remedy: "the 1.3B model wants 16 GB; smaller ones run"))
    findings.append(contentsOf: gpus())
    return findings
  }

  private static func gpus() -> [Finding] {
    let count = Device.cudaCount
    if count > 0 { return [Finding(.ok, "CUDA", "\(count) GPU\(count == 1 ? "" : "s"), cuda:0 to cuda:\(count - 1)")] }
    if Device.hasMPS { return [Finding(.ok, "MPS", "Apple's GPU")] }
    let detail = Device.cudaLoadError.flatMap { $0.split(separator: "\n").first }.map { " (\($0))" } ?? ""
    return [
      Finding(
        .note, "GPU", "none: \(Device.cudaAbsence)\(detail)",
        remedy: Device.cudaLoadError == nil
          ? "check nvidia-smi; without a GPU everything runs on the processor"
          : "for an NVIDIA GPU set LIBTORCH to a libtorch with CUDA and build again; else nothing is to be done")
    ]
  }
}
