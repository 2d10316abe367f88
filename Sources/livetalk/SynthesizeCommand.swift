import ArgumentParser
import Basics
import ComputeCommands
import Foundation
import SyntheticSpeaker

/// `livetalk data synthesize`.
struct SynthesizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "synthesize",
    abstract: "Make clips of drawn people who speak, with the truth about them.",
    discussion: """
      Every clip shows a drawn person who speaks a few sentences with a voice of espeak-ng or flite, moves the head, looks about, \
      blinks and has an expression; the mouth follows the sounds. The truth is written beside each clip: sounds and when \
      they are heard, and for every picture the mouth's opening and width, pose, gaze and blink. Nothing is downloaded. In some clips there are pauses, and in a few nobody speaks.

      The same seed and settings give the same clips, each by its number alone: a run that was stopped is continued by the \
      same command, and a larger --clips adds to the folder. Clips have 16 pictures a second and sound of 16 kHz.

      OUTPUT
        metadata.jsonl        one line a clip, for 'livetalk data prepare'
        synthesis.json        the settings of all clips
        clips/clip-00000.mp4  the video (or, with --frames, a folder of PNG)
        clips/clip-00000.wav  the sound
        clips/clip-00000.png  the person at rest
        clips/clip-00000.json the truth

      EXAMPLES
        Twenty clips to try things with:
          livetalk data synthesize --out clips --clips 20 --seconds 3 \\
            --size 128

        A larger set in English and German, without loss by video coding:
          livetalk data synthesize --out speakers --clips 2000 --size 256 \\
            --seed 7 --languages en,de --frames

        Clean sound, ten people with 50 clips each:
          livetalk data synthesize --out ten --clips 500 --speakers 10 \\
            --no-augment
      """)

  @Option(
    name: [.customShort("o"), .long], help: ArgumentHelp("The folder to make or to go on with.", valueName: "dir"))
  var out: String

  @Option(help: ArgumentHelp("How many clips the folder is to hold.", valueName: "n"))
  var clips: Int

  @Option(
    help: ArgumentHelp(
      "Length of a clip, from 0.25 to 60.", discussion: "5.0625 are 81 pictures, 21 latent frames.", valueName: "s"))
  var seconds = 5.0625

  @Option(help: ArgumentHelp("Side of the pictures, a multiple of 16 from 64 to 512; or HxW.", valueName: "pixels"))
  var size = "256"

  @Option(help: ArgumentHelp("The random choice of everything.", valueName: "n"))
  var seed: UInt64 = 0

  @Option(help: ArgumentHelp("Languages to speak, of en, de, fr, es and it.", valueName: "list"))
  var languages = "en,de,fr,es,it"

  @Option(
    help: ArgumentHelp(
      "What speaks, of espeak-ng and flite.", discussion: "flite speaks English alone, about half of it.",
      valueName: "list"))
  var voices = "espeak-ng,flite"

  @Option(help: ArgumentHelp("How many people there are; else everyone is seen once.", valueName: "n"))
  var speakers: Int?

  @Flag(help: "Leave the sounds as spoken: no noise, room, filter or gain.")
  var noAugment = false

  @Flag(help: "Keep the pictures as PNG files, without loss, in place of videos.")
  var frames = false

  @Option(help: ArgumentHelp("Clips made at a time; by default as many as there are cores.", valueName: "n"))
  var threads = ProcessInfo.processInfo.activeProcessorCount

  @Flag(name: .shortAndLong, help: "Say nothing but errors.")
  var quiet = false

  func validate() throws {
    _ = try settings()
    guard (1...1_000_000).contains(clips) else {
      throw ValidationError("--clips is a number from 1 to 1000000, not \(clips)")
    }
    try ComputeOptions.check(threads: threads)
  }

  private func settings() throws -> ClipSettings {
    let sides = size.lowercased().split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    guard (1...2).contains(sides.count), let height = sides[0], let width = sides[sides.count - 1] else {
      throw ValidationError("--size is a number of pixels, or HxW, not '\(size)'")
    }
    let chosen = try languages.split(separator: ",", omittingEmptySubsequences: false).map { code in
      guard let language = Language(rawValue: code.trimmingCharacters(in: .whitespaces)) else {
        let known = Language.allCases.map(\.rawValue).joined(separator: ", ")
        throw ValidationError("--languages is a list of \(known) with commas between, not '\(languages)'")
      }
      return language
    }
    guard Set(chosen).count == chosen.count else {
      throw ValidationError("--languages names one twice: '\(languages)'")
    }
    let engines = try voices.split(separator: ",", omittingEmptySubsequences: false).map { name in
      guard let engine = VoiceEngine(rawValue: name.trimmingCharacters(in: .whitespaces)) else {
        let known = VoiceEngine.allCases.map(\.rawValue).joined(separator: " and ")
        throw ValidationError("--voices is a list of \(known) with commas between, not '\(voices)'")
      }
      return engine
    }
    guard Set(engines).count == engines.count else { throw ValidationError("--voices names one twice: '\(voices)'") }
    do {
      return try ClipSettings(
        seed: seed, width: width, height: height, seconds: seconds, languages: chosen, voices: engines,
        augments: !noAugment,
        speakers: speakers)
    } catch let error as LiveTalkError {
      throw ValidationError(error.description)
    }
  }

  func run() throws {
    let settings = try settings()
    let folder = try ClipFolder(URL(fileURLWithPath: out), settings, format: frames ? .frames : .video)
    let report = quiet ? nil : StepReport("Making clips of \(settings.frames) pictures in \(out)")
    Interruption.onStop(saying: "the clips that are whole stay, and the same command goes on.") {
      folder.stop()
    }
    let progress: ClipFolder.Progress
    do {
      progress = try folder.fill(clips, threads: threads) { now in
        guard now.clips > 0 else { return }
        let rate = String(format: "%.0f pictures a second", Double(now.frames) / max(now.seconds, 1e-6))
        report?.show(Double(now.made) / Double(now.clips), "\(now.made) of \(now.clips) clips, \(rate)")
      }
    } catch is CancellationError {
      // The process is about to end with its own words.
      while true { sleep(1) }
    }
    Interruption.forget()
    report?.end()
    if !quiet { Terminal.line(summary(folder, progress)) }
  }

  private func summary(_ folder: ClipFolder, _ progress: ClipFolder.Progress) -> String {
    guard progress.made > 0 else { return "\(out): all \(clips) clips are there." }
    let kept = folder.count > progress.made ? ", \(folder.count) in all" : ""
    return "\(out): \(progress.made) clip\(progress.made == 1 ? "" : "s") made\(kept); "
      + String(
        format: "%d pictures in %.1f s: %.0f a second with sound and encoding, %.0f a second drawing (one thread).",
        progress.frames, progress.seconds, Double(progress.frames) / max(progress.seconds, 1e-6),
        Double(progress.frames) / max(progress.drawing, 1e-6))
  }
}
