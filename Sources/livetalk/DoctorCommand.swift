import ArgumentParser
import Basics
import ComputeCommands
import Foundation
import Generation
import Media

/// `livetalk doctor`.
struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Say what this machine has, what it lacks, and what to do about it.",
    discussion: """
      Looks at libtorch, the processor, GPUs, FFmpeg's libraries and encoders, and with --checkpoint at the weights.

      EXIT STATUS
        0 if nothing that is needed is missing, else 1.
      """)

  @Option(help: ArgumentHelp("A folder with weights to look at too.", valueName: "dir"))
  var checkpoint: String?

  func run() throws {
    let findings = Finding.compute() + media() + weights()
    if !Finding.report(findings) { throw ExitCode(1) }
  }

  private func media() -> [Finding] {
    let media = MediaLibraries.linked()
    let versions = media.versions.map { "\($0.name) \($0.version)" }.joined(separator: ", ")
    let reinstall = "install an FFmpeg with it (Debian, Ubuntu: apt-get install libavcodec-extra)"
    return [
      Finding(.ok, "FFmpeg", "\(media.ffmpeg): \(versions)"),
      media.h264Encoders.isEmpty
        ? Finding(.missing, "H.264", "no encoder", remedy: reinstall)
        : Finding(.ok, "H.264", "encoders \(media.h264Encoders.joined(separator: ", "))"),
      media.hasAAC
        ? Finding(.ok, "AAC", "has an encoder") : Finding(.missing, "AAC", "no encoder", remedy: reinstall),
      media.hasSoxr
        ? Finding(.ok, "resampling", "soxr, as the reference")
        : Finding(.note, "resampling", "FFmpeg's own, without soxr: sounds of other rates differ a little"),
    ]
  }

  private func weights() -> [Finding] {
    guard let checkpoint else {
      return [
        Finding(
          .note, "weights", "none asked for", remedy: "livetalk doctor --checkpoint DIR looks at a folder of weights")
      ]
    }
    do {
      let inspection = CheckpointInspection(of: try CheckpointFolder(URL(fileURLWithPath: checkpoint)), values: false)
      var findings = inspection.items.map { item in
        guard let problem = item.problem else {
          return Finding(
            .ok, item.title, [item.model, item.bytes.map(byteText)].compactMap { $0 }.joined(separator: ", "))
        }
        return problem == "missing"
          ? Finding(
            .missing, item.title, "no \(item.path)", remedy: "get it from https://huggingface.co/\(item.source)")
          : Finding(.missing, item.title, problem, remedy: "get it again from https://huggingface.co/\(item.source)")
      }
      if let provenance = inspection.provenance { findings.append(Finding(.note, "weights", provenance)) }
      return findings
    } catch {
      return [
        Finding(.missing, "weights", userSentence(error), remedy: "livetalk checkpoint --help says what belongs there")
      ]
    }
  }
}
