import Basics
import Foundation
import Media
import Testing

@Suite struct GenerateTests {
  private func generate(_ folder: Folder, _ output: String, _ more: String...) async throws -> Tool.Result {
    let voice = try folder.file("voice.wav", Fixtures.wave(seconds: 6))
    return try await Tool.run(
      [
        "generate", "--checkpoint", try await Fixtures.checkpoint.value, "--image", Fixtures.picture, "--audio", voice,
        "--prompt", "A person speaks.", "-o", output,
      ] + more)
  }

  @Test(arguments: [1, 2, 2.3, 5])
  func `a video of any length has pictures and sound that agree`(seconds: Double) async throws {
    let folder = try Folder()
    let result = try await generate(folder, folder["out.mp4"].path, "--seconds", "\(seconds)")
    try #require(result.status == 0, "\(result.error)")
    let reader = try VideoReader(path: folder["out.mp4"].path)
    var frames = 0
    while let frame = try reader.next() {
      frames += 1
      #expect(frame.width == 128 && frame.height == 128)
    }
    #expect(frames == Int((seconds * 16).rounded()))
    let video = try #require(reader.videoSeconds)
    let sound = try #require(reader.soundSeconds)
    #expect(abs(video - sound) <= 0.5 / 16)
    #expect(abs(video - seconds) <= 0.5 / 16 + 1e-3)
    #expect(reader.metadata.values.contains { $0.contains("AI-generated") })
    // The sound is the one that was given, not silence, and ends where the clip ends.
    let heard = try reader.sound(sampleRate: 16_000).samples
    #expect(heard.prefix(Int(seconds * 16_000)).map { $0 * $0 }.reduce(0, +) / Float(seconds * 16_000) > 0.005)
    #expect(folder.content == ["out.mp4", "voice.wav"])
    #expect(result.text.contains("\(frames) frames"))
    // A log says that the weights are no trained ones.
    #expect(result.error.contains("random weights made by livetalk checkpoint init"))
  }

  @Test func `one seed gives one video, another one another`() async throws {
    let folder = try Folder()
    let first = try await generate(folder, "-", "--seconds", "0.4", "--seed", "5", "-q")
    let again = try await generate(folder, "-", "--seconds", "0.4", "--seed", "5", "-q")
    let other = try await generate(folder, "-", "--seconds", "0.4", "--seed", "6", "-q")
    #expect(first.output.count == 6 * 128 * 128 * 3)
    #expect(first.output == again.output)
    #expect(other.output.count == first.output.count && other.output != first.output)
    #expect(first.error.isEmpty)
  }

  @Test(arguments: [
    ("420.jpg", "tone-16.wav"), ("rgb.png", "tone.mp3"), ("lossy.webp", "tone.flac"), ("gray.png", "tone.m4a"),
    ("progressive.jpg", "tone.ogg"),
  ])
  func `every format of pictures and sound is taken`(picture: String, sound: String) async throws {
    let folder = try Folder()
    let result = try await Tool.run(
      "generate", "--checkpoint", try await Fixtures.checkpoint.value, "--image", Fixtures.media(picture), "--audio",
      Fixtures.media(sound), "--prompt", "A person.", "--seconds", "0.2", "-o", folder["out.mp4"].path)
    #expect(result.status == 0, "\(result.error)")
    #expect(folder.content == ["out.mp4"])
  }

  @Test func `options reach the model`() async throws {
    let folder = try Folder()
    let result = try await generate(
      folder, "\(folder["frames"].path)/", "--seconds", "0.9", "--size", "64x96", "--steps", "2", "--policy",
      "rolling:6",
      "--dtype", "fp32", "--device", "cpu", "--threads", "1", "--position-limit", "16")
    #expect(result.status == 0, "\(result.error)")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder["frames"].path)
    #expect(names.count == 14 + 1 && names.contains("sound.wav"))
    let frame = try Picture(contentsOf: folder["frames"].appendingPathComponent("frame_000013.png").path)
    #expect(frame.height == 64 && frame.width == 96)
  }

  @Test func `a stopped run leaves nothing behind`() async throws {
    let folder = try Folder()
    let voice = try folder.file("voice.wav", Fixtures.wave(seconds: 60))
    let arguments = [
      "generate", "--checkpoint", try await Fixtures.checkpoint.value, "--image", Fixtures.picture, "--audio", voice,
      "--prompt", "A person speaks.", "-o", folder["out.mp4"].path, "--steps", "100",
    ]
    for (number, status) in [(SIGINT, 130), (SIGTERM, 143)] as [(Int32, Int32)] {
      let result = try await Tool.run(try Tool.executable(), arguments) { process in
        let url = folder.url.path
        Thread.detachNewThread {
          for _ in 0..<600 {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: url)) ?? []
            if names.contains(where: { $0.contains("partial") }) { break }
            usleep(50_000)
          }
          usleep(300_000)
          kill(process.processIdentifier, number)
        }
      }
      #expect(result.status == status)
      #expect(result.complaints.last == "livetalk: Stopped; nothing was left behind.")
      #expect(folder.content == ["voice.wav"])
    }
  }
}
