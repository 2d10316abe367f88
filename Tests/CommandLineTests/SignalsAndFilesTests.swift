import Foundation
import Media
import Testing

/// Signals, what killed runs leave, links, pipes, and more than the machine has.
@Suite struct SignalsAndFilesTests {
  private let folder: Folder

  init() throws { folder = try Folder() }

  private func arguments(_ output: String, seconds: Double = 0.2, _ more: String...) async throws -> [String] {
    let voice = try folder.file("voice.wav", Fixtures.wave(seconds: seconds))
    return [
      "generate", "--checkpoint", try await Fixtures.checkpoint.value, "--image", Fixtures.picture, "--audio", voice,
      "--prompt", "A person speaks.", "-o", output, "-q",
    ] + more
  }

  /// Runs until something is half written, then sends a signal.
  private func stopped(_ words: [String], in url: URL, with number: Int32) async throws -> Tool.Result {
    try await Tool.run(try Tool.executable(), words) { process in
      Thread.detachNewThread {
        for _ in 0..<1200 {
          let names = (try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? []
          if names.contains(where: { $0.contains("partial") }) { break }
          usleep(50_000)
        }
        usleep(300_000)
        kill(process.processIdentifier, number)
      }
    }
  }

  @Test(arguments: ["out.mp4", "frames/"]) func `a closed terminal leaves as little as Ctrl-C`(name: String)
    async throws
  {
    let words = try await arguments("\(folder.url.path)/\(name)", seconds: 60, "--steps", "100")
    let result = try await stopped(words, in: folder.url, with: SIGHUP)
    #expect(result.status == 128 + SIGHUP, "\(result.error)")
    #expect(folder.content == ["voice.wav"])
  }

  @Test func `what a killed run left goes with the next one`() async throws {
    for name in ["out.mp4", "frames/"] {
      let words = try await arguments("\(folder.url.path)/\(name)", seconds: 60, "--steps", "100")
      let killed = try await stopped(words, in: folder.url, with: SIGKILL)
      #expect(killed.status == 128 + SIGKILL)
    }
    #expect(folder.content.count { $0.contains("partial") } >= 1)
    let next = try await Tool.run(try await arguments(folder["next.mp4"].path))
    #expect(next.status == 0, "\(next.error)")
    #expect(folder.content == ["next.mp4", "voice.wav"])
  }

  @Test func `what a link points to is written`() async throws {
    let real = try folder.file("real.mp4", [1, 2, 3])
    try FileManager.default.createSymbolicLink(atPath: folder["link.mp4"].path, withDestinationPath: "real.mp4")
    try FileManager.default.createSymbolicLink(
      atPath: folder["new.mp4"].path, withDestinationPath: folder["later.mp4"].path)
    for (link, target) in [("link.mp4", real), ("new.mp4", folder["later.mp4"].path)] {
      let result = try await Tool.run(try await arguments(folder[link].path))
      #expect(result.status == 0, "\(result.error)")
      #expect((try? FileManager.default.destinationOfSymbolicLink(atPath: folder[link].path)) != nil)
      #expect(try VideoReader(path: target).next() != nil)
    }
    #expect(!folder.content.contains { $0.contains("partial") })
  }

  @Test func `pipes are read where a format allows, and refused by name elsewhere`() async throws {
    let words = try await arguments(folder["out.mp4"].path)
    let voice = folder["voice.wav"].path
    let line = """
      exec bash -c '"$0" generate --checkpoint "$1" --image <(cat "$2") --audio <(cat "$3") --prompt x -q -o "$4"' \
      "$0" '\(words[2])' '\(Fixtures.picture)' '\(voice)' '\(folder["out.mp4"].path)'
      """
    let made = try await Tool.shell(line)
    #expect(made.status == 0, "\(made.error)")
    #expect(try VideoReader(path: folder["out.mp4"].path).next() != nil)
    let config = try await Tool.shell(
      "exec bash -c '\"$0\" train teacher --config <(echo \"shift: 7\") --show-config' \"$0\"")
    #expect(config.status == 0 && config.text.contains("\"shift\" : 7"), "\(config.error)")
    let merged = try await Tool.shell(
      "exec bash -c '\"$0\" checkpoint merge --base <(cat \"$1\") --adapter x.safetensors --alpha 1 -o \"$2\"' \"$0\" "
        + "'\(words[2])/LiveTalk-1.3B-V0.1/model.safetensors' '\(folder["o.safetensors"].path)'")
    #expect(merged.status == 1 && merged.complaints.count == 1, "\(merged.error)")
  }

  @Test func `a video that no memory holds is refused before it starts`() async throws {
    let result = try await Tool.run(
      try await arguments(folder["out.mp4"].path, "--size", "8192x8192", "--policy", "rolling:600", "--device", "cpu"))
    #expect(result.status == 1)
    #expect(result.complaints.count == 1 && result.error.contains("takes at least"), "\(result.error)")
    #expect(result.error.contains("8192x8192") && result.error.contains("--size"), "\(result.error)")
    #expect(folder.content == ["voice.wav"])
  }
}
