import Foundation
import Media
import Testing

/// `livetalk data prepare` and `livetalk data inspect`, as their users run them.
@Suite struct DataTests {
  private let folder: Folder

  init() throws { folder = try Folder() }

  private var dataset: String { folder["data"].path }
  private var output: String { folder["out"].path }

  /// A dataset of so many clips of 9 frames, the second without sound.
  private func makeDataset(clips: Int = 3) throws {
    try FileManager.default.createDirectory(atPath: dataset, withIntermediateDirectories: true)
    var lines = ""
    for number in 0..<clips {
      let format = VideoFormat(width: 48, height: 32, soundSampleRate: number == 1 ? nil : 16_000)
      let writer = try VideoWriter(path: "\(dataset)/\(number).mp4", format: format)
      for frame in 0..<9 {
        try writer.append(
          frame: (0..<48 * 32 * 3).map { UInt8(truncatingIfNeeded: $0 / 3 % 48 * 3 + frame * 5 + number * 20) })
      }
      if number != 1 { try writer.append(sound: (0..<9000).map { Float(sin(Double($0) / 12)) * 0.3 }) }
      try writer.finish()
      lines += "{\"id\": \"c\(number)\", \"video\": \"\(number).mp4\"}\n"
    }
    try Data(lines.utf8).write(to: folder["data"].appendingPathComponent("metadata.jsonl"))
  }

  private func arguments(_ more: String...) -> [String] {
    ["data", "prepare", dataset, "-o", output, "--latent-frames", "3"] + more
  }

  private func media(_ more: String...) -> [String] {
    arguments("--kind", "media", "--size", "32x32") + more
  }

  private func contents() throws -> [String: Data] {
    let names = try FileManager.default.contentsOfDirectory(atPath: output)
    return try Dictionary(
      uniqueKeysWithValues: names.map { ($0, try Data(contentsOf: folder["out"].appendingPathComponent($0))) })
  }

  private func expectSentence(
    _ result: Tool.Result, _ words: String..., status: Int32 = 1, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(result.status == status, sourceLocation: sourceLocation)
    #expect(result.complaints.last?.hasPrefix("livetalk: ") == true, "\(result.error)", sourceLocation: sourceLocation)
    #expect(result.error.hasSuffix(".\n"), "\(result.error)", sourceLocation: sourceLocation)
    for word in words {
      #expect(result.complaints.last?.contains(word) == true, "\(result.error)", sourceLocation: sourceLocation)
    }
  }

  @Test func `latents are prepared with a checkpoint, and inspected`() async throws {
    try makeDataset()
    let made = try await Tool.run(
      arguments("--kind", "latents", "--checkpoint", try await Fixtures.checkpoint.value, "--size", "32x32"))
    #expect(made.status == 0, "\(made.error)")
    #expect(made.text.contains("2 clips of 9 frames") && made.text.contains("1 rejected"), "\(made.text)")
    #expect(made.error.contains("rejected c1: The video has no sound"), "\(made.error)")
    let shown = try await Tool.run("data", "inspect", output)
    #expect(shown.status == 0, "\(shown.error)")
    for words in ["latents: ", "[16, 3, 4, 4]", "referenceLatent", "[9, 192]", "negativeText", "rejected  c1", "whole"]
    {
      #expect(shown.text.contains(words), "\(words) in \(shown.text)")
    }
    let result = try await Tool.run("data", "inspect", output, "--json")
    let fields = try #require(try JSONSerialization.jsonObject(with: result.output) as? [String: Any])
    #expect(fields["kind"] as? String == "latents" && fields["clips"] as? Int == 2)
    #expect((fields["problems"] as? [String: String])?.isEmpty == true)
  }

  @Test func `a dataset is inspected, and a bad clip is an exit status`() async throws {
    try makeDataset()
    let result = try await Tool.run("data", "inspect", dataset, "--decode")
    #expect(result.status == 1)
    #expect(result.text.contains("48x32") && result.text.contains("PROBLEM  It has no sound."), "\(result.text)")
    let json = try await Tool.run("data", "inspect", dataset, "--json")
    let fields = try #require(try JSONSerialization.jsonObject(with: json.output) as? [String: Any])
    #expect((fields["clips"] as? [[String: Any]])?.count == 3)
  }

  @Test func `a damaged shard is told, and its folder is not gone on with`() async throws {
    try makeDataset()
    #expect(try await Tool.run(media()).status == 0)
    let shard = folder["out/shard-00000.safetensors"]
    let data = try Data(contentsOf: shard)
    try data.dropLast(100).write(to: shard)
    let result = try await Tool.run("data", "inspect", output)
    #expect(result.status == 1 && result.text.contains("PROBLEM   shard-00000.safetensors"), "\(result.text)")
    #expect(result.text.contains("truncated"))
    expectSentence(try await Tool.run(media()), "shard-00000.safetensors", "truncated")
  }

  @Test func `mistakes are told in a sentence`() async throws {
    expectSentence(try await Tool.run(media()), "no dataset folder", dataset)
    try makeDataset()
    let metadata = folder["data"].appendingPathComponent("metadata.jsonl")
    let good = try Data(contentsOf: metadata)
    for (text, words) in [
      ("", "is empty"), ("{\"id\": \"a\", \"film\": \"a.mp4\"}\n", "line 1: it has the unknown key 'film'"),
      (String(decoding: good, as: UTF8.self) + "{\"id\": \n", "line 4: it is not a JSON object"),
    ] {
      try Data(text.utf8).write(to: metadata)
      expectSentence(try await Tool.run(media()), words)
      expectSentence(try await Tool.run("data", "inspect", dataset), words)
    }
    try good.write(to: metadata)
    for wrong in [
      ["--kind", "trajectories"], ["--kind", "media"], ["--kind", "latents"], ["--kind", "media", "--size", "100x100"],
      ["--kind", "media", "--size", "32x32", "--latent-frames", "4"],
      ["--kind", "media", "--size", "32x32", "--tolerance", "nan"],
      ["--kind", "media", "--size", "32x32", "--checkpoint", "x"],
      ["--kind", "media", "--size", "32x32", "--consistency", "2"],
      ["--kind", "media", "--size", "32x32", "--readers", "0"],
    ] {
      expectSentence(try await Tool.run(["data", "prepare", dataset, "-o", output] + wrong), status: 64)
    }
    expectSentence(
      try await Tool.run(arguments("--kind", "latents", "--checkpoint", folder["none"].path)), folder["none"].path)
    expectSentence(try await Tool.run(media("--caption-command", "no-such-captioner")), "no-such-captioner")
    expectSentence(try await Tool.run("data", "inspect", folder["none"].path), "no folder")
    expectSentence(try await Tool.run("data", "inspect", folder.url.path), "neither a dataset")
    // Nothing of all that has made an output.
    #expect(!folder.content.contains("out"))
    expectSentence(try await Tool.run(media("--max-seconds", "0.3")), "None of the 3 clips")
    expectSentence(try await Tool.run(media()), "other settings", "longest clip")
    let place = try folder.file("file", [1])
    expectSentence(
      try await Tool.run(["data", "prepare", dataset, "--kind", "media", "--size", "32x32", "-o", place]), place)
  }

  @Test func `a full disk leaves what was whole, and the run goes on when there is room`() async throws {
    try makeDataset(clips: 6)
    let words = media("--save-every", "0", "-q").map { "'\($0)'" }.joined(separator: " ")
    // Two clips of 64 kB fit, six do not.
    let result = try await Tool.shell("ulimit -f 320; exec \"$0\" \(words)")
    expectSentence(result, "shard-00000.safetensors", "File too large")
    #expect(!(try contents()).keys.contains { $0.contains("partial") })
    let kept = try await Tool.run("data", "inspect", output)
    #expect(kept.status == 0 && kept.text.contains("prepared as media"), "\(kept.text)")
    #expect(try await Tool.run(media()).status == 0)
    let stopped = try contents()
    try FileManager.default.removeItem(atPath: output)
    #expect(try await Tool.run(media()).status == 0)
    #expect(try contents() == stopped)
  }

  @Test(arguments: [SIGKILL, SIGINT])
  func `a run that is ended goes on to the very same files`(signal: Int32) async throws {
    try makeDataset(clips: 8)
    // The captioner ends the program that called it, once, when five clips are behind it.
    let name = signal == SIGKILL ? "KILL" : "INT"
    let text = """
      #!/bin/sh
      case "$1" in
      *5.mp4) if mkdir '\(folder["ended"].path)' 2>/dev/null; then sleep 0.5; kill -\(name) $PPID; exec sleep 3; fi ;;
      esac
      echo "A caption for $1."
      """
    let script = try folder.file("caption.sh", Array((text + "\n").utf8))
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: script)
    let words = media("--caption-command", script, "--save-every", "0", "--readers", "1")
    let ended = try await Tool.run(words)
    #expect(ended.status == (signal == SIGKILL ? 128 + 9 : 130), "\(ended.error)")
    if signal == SIGINT { #expect(ended.error.contains("goes on with it"), "\(ended.error)") }
    let kept = try await Tool.run("data", "inspect", output, "--json")
    let fields = try #require(try JSONSerialization.jsonObject(with: kept.output) as? [String: Any])
    let count = try #require(fields["clips"] as? Int)
    #expect(kept.status == 0 && (3...4).contains(count), "\(count)")
    let again = try await Tool.run(words)
    #expect(again.status == 0 && again.text.contains("were done before"), "\(again.error)\(again.text)")
    let resumed = try contents()
    try FileManager.default.removeItem(atPath: output)
    #expect(try await Tool.run(words).status == 0)
    #expect(try contents() == resumed)
  }
}
