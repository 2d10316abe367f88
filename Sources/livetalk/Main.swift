import ArgumentParser
import ComputeCommands

@main
struct LiveTalk: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "livetalk",
    abstract: "Turn a face picture, a voice and a prompt into a talking video.",
    discussion: """
      EXAMPLES
        Try it without any download, with random weights: the video is noise,
        but every part runs.
          livetalk checkpoint init --preset tiny --out /tmp/tiny
          livetalk generate --checkpoint /tmp/tiny --image face.jpg \\
            --audio speech.wav --prompt "A woman speaks." -o out.mp4

        See what a folder of downloaded weights holds, and what it lacks:
          livetalk checkpoint inspect pretrained_checkpoints

        See what this machine can do:
          livetalk doctor

      Mistakes are told in one sentence on standard error; the exit status is then 1, or 64 for a command line that \
      cannot be understood. No half-written file is left behind.
      """,
    version: toolVersion,
    subcommands: [
      GenerateCommand.self, ServeCommand.self, EvaluateCommand.self, DataCommand.self, TrainCommand.self,
      TrajectoriesCommand.self,
      CheckpointCommand.self,
      BenchCommand.self, ParityCommand.self,
      DoctorCommand.self,
    ])

  static func main() { runTool(LiveTalk.self) }
}
