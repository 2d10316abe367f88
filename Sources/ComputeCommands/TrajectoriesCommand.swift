package import ArgumentParser
import Basics
import Foundation
import Generation
import Torch
import Training

/// `trajectories`.
package struct TrajectoriesCommand: ParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "trajectories",
    abstract: "Solve the guided teacher's ODE for every prepared clip, for ODE initialisation.",
    discussion: """
      For each clip the teacher's ODE is solved from noise to the clean end, given the clip's picture, sound and text. The states \
      at the student's timesteps and the end are stored. A run that was stopped continues.

      EXAMPLE
        livetalk trajectories --data latents --teacher runs/teacher/final --out trajectories
      """)

  @Option(help: ArgumentHelp("The folder of clips prepared as latents.", valueName: "dir"))
  package var data: String

  @Option(help: ArgumentHelp("The teacher's checkpoint folder.", valueName: "dir"))
  package var teacher: String

  @Option(
    name: [.customShort("o"), .long], help: ArgumentHelp("The folder to write, or to continue.", valueName: "dir"))
  package var out: String

  @Option(help: ArgumentHelp("Guidance scale of the text; 1 is none.", valueName: "scale"))
  package var textGuidance = 6.0

  @Option(help: ArgumentHelp("Guidance scale of the sound; 1 is none.", valueName: "scale"))
  package var audioGuidance = 6.0

  @Option(help: ArgumentHelp("Steps of the solver.", valueName: "n"))
  package var steps = 48

  @Option(help: ArgumentHelp("The student's timesteps, noisiest first.", valueName: "list"))
  package var timesteps = "1000,936,832,624"

  @Option(help: ArgumentHelp("Shift of the schedule.", valueName: "number"))
  package var shift = 5.0

  @Option(help: ArgumentHelp("The first latent frames of each clip to solve; 0 for all.", valueName: "n"))
  package var latentFrames = 0

  @Option(help: ArgumentHelp("Only the first so many clips.", valueName: "n"))
  package var count: Int?

  @Option(help: ArgumentHelp("Clips solved at a time: more use a GPU better, and take more memory.", valueName: "n"))
  package var batch = 1

  @Option(help: ArgumentHelp("The random seed.", valueName: "number"))
  package var seed = 0

  @Option(help: ArgumentHelp("The type to compute in: float32 or bfloat16.", valueName: "type"))
  package var precision = "bfloat16"

  @OptionGroup package var compute: ComputeOptions

  @Flag(name: .shortAndLong, help: "Print nothing but errors.")
  package var quiet = false

  package init() {}

  package func validate() throws {
    if batch < 1 { throw ValidationError("--batch is at least 1, not \(batch)") }
    if let count, count < 1 { throw ValidationError("--count is at least 1, not \(count)") }
  }

  package func run() throws {
    var settings = TrajectorySettings()
    let numbers = timesteps.split(separator: ",").map { Double($0.trimmingCharacters(in: .whitespaces)) }
    guard numbers.allSatisfy({ $0 != nil }) else {
      throw LiveTalkError("'\(timesteps)' is no list of timesteps, such as 1000,936,832,624.")
    }
    settings.timesteps = numbers.compactMap(\.self)
    settings.guidance = Guidance(text: textGuidance, audio: audioGuidance)
    (settings.solverSteps, settings.shift, settings.seed) = (steps, shift, seed)
    settings.latentFrames = latentFrames
    guard let precision = RunSettings.Precision(rawValue: precision) else {
      throw LiveTalkError("The precision '\(precision)' is neither float32 nor bfloat16.")
    }
    let status = StatusLine(isQuiet: quiet)
    let device = try compute.resolve()
    let trajectories = try withTorchErrors {
      try Trajectories(settings, data: data, teacher: teacher, out: out, device: device, precision: precision)
    }
    Interruption.onStop(saying: "what was finished is saved; the same command goes on with it.") {
      try? trajectories.save()
    }
    let start = Date()
    try trajectories.make(first: count, batch: batch) { done, count in
      status.show {
        let left = Date().timeIntervalSince(start) / Double(done) * Double(count - done)
        return "clip \(done) of \(count), \(timeText(left)) left"
      }
    }
    Interruption.forget()
    status.showNow(
      "\(out) is complete: \(min(count ?? .max, trajectories.count)) trajectories in \(timeText(Date().timeIntervalSince(start)))"
    )
    status.end()
  }
}
