import Basics
import Foundation
import Media
import Testing

/// Files and settings as users really bring them: one sentence that calls them what they are, in words of ours.
@Suite struct BroughtFilesTests {
  private let folder: Folder

  init() throws { folder = try Folder() }

  private static let mistakes: [(name: String, bytes: [UInt8], words: String)] = [
    (
      "pointer", Array("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 507609880\n".utf8),
      "git-lfs pointer"
    ),
    ("page", Array("<!DOCTYPE html>\n<html><body>Sign in</body></html>\n".utf8), "web page (HTML)"),
    ("zeros", [UInt8](repeating: 0, count: 300_000), "nothing but zeros"), ("empty", [], "empty"),
  ]

  /// What no user is to read.
  private static let foreign = [
    "EncodingError", "DecodingError", "NSCocoa", "operation couldn", "PytorchStream", "miniz", "Exception raised",
    "CodingKeys",
  ]

  private func expectSentence(
    _ result: Tool.Result, _ words: String..., status: Int32 = 1, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(result.status == status, "\(result.error.prefix(2000))", sourceLocation: sourceLocation)
    #expect(result.complaints.count == 1, "\(result.error.prefix(2000))", sourceLocation: sourceLocation)
    #expect(result.error.count < 800, "\(result.error.count)", sourceLocation: sourceLocation)
    for word in words {
      #expect(result.error.contains(word), "\(result.error.prefix(2000))", sourceLocation: sourceLocation)
    }
    for word in Self.foreign { #expect(!result.error.contains(word), sourceLocation: sourceLocation) }
  }

  private func generate(
    image: String = Fixtures.picture, audio: String = Fixtures.media("tone-16.wav"), _ output: String, _ more: String...
  ) async throws -> [String] {
    [
      "generate", "--checkpoint", try await Fixtures.checkpoint.value, "--image", image, "--audio", audio, "--prompt",
      "A person.", "--seconds", "0.2", "-q", "-o", output,
    ] + more
  }

  @Test func `pointers, pages, zeros and empty files are called what they are by every reader`() async throws {
    let output = folder["out.mp4"].path
    for mistake in Self.mistakes {
      let file = try folder.file(mistake.name, mistake.bytes)
      expectSentence(try await Tool.run(try await generate(image: file, output)), file, mistake.words)
      expectSentence(try await Tool.run(try await generate(audio: file, output)), file, mistake.words)
      if mistake.name != "empty" {
        let yaml = try folder.file("\(mistake.name).yaml", mistake.bytes)
        expectSentence(try await Tool.run("train", "teacher", "--config", yaml, "--show-config"), yaml, mistake.words)
      }
      let parts = [
        "LiveTalk-1.3B-V0.1/model.safetensors", "Wan2.1-T2V-1.3B/Wan2.1_VAE.pth",
        "Wan2.1-T2V-1.3B/models_t5_umt5-xxl-enc-bf16.pth", "Wan2.1-T2V-1.3B/google/umt5-xxl/tokenizer.json",
        "wav2vec2/config.json",
      ]
      let weights = try await Fixtures.copy(in: folder)
      for part in parts { try Data(mistake.bytes).write(to: weights.appendingPathComponent(part)) }
      let inspected = try await Tool.run("checkpoint", "inspect", weights.path)
      #expect(inspected.status == 1)
      let problems = inspected.text.split(separator: "\n").filter { $0.contains("PROBLEM") }
      for part in parts {
        #expect(
          problems.contains { $0.contains(part) && $0.contains(mistake.words) },
          "\(part), \(mistake.name): \(inspected.text)")
      }
      for word in Self.foreign { #expect(!inspected.text.contains(word)) }
      let settings = weights.appendingPathComponent("livetalk.json")
      try Data(mistake.bytes).write(to: settings)
      expectSentence(try await Tool.run("checkpoint", "inspect", weights.path), settings.path, mistake.words)
      try FileManager.default.removeItem(at: weights)
    }
    #expect(!folder.content.contains { $0.hasPrefix("out") || $0.contains("partial") })
  }

  @Test func `a file of torch save that is cut off, and weights of other formats`() async throws {
    let weights = try await Fixtures.copy(in: folder)
    let vae = weights.appendingPathComponent("Wan2.1-T2V-1.3B/Wan2.1_VAE.pth")
    let whole = try Data(contentsOf: vae)
    let transformer = weights.appendingPathComponent("LiveTalk-1.3B-V0.1/model.safetensors")
    for (bytes, words) in [
      (whole.prefix(whole.count / 2), "it is cut off after"), (whole.prefix(whole.count - 30), "it is cut off after"),
      (Data("GGUF".utf8) + Data(repeating: 1, count: 99), "GGUF"),
      (try Data(contentsOf: transformer), "name it .safetensors"),
      (whole.prefix(100) + Data(repeating: 7, count: 1000) + whole.suffix(22), "damaged"),
    ] as [(Data, String)] {
      try bytes.write(to: vae)
      let inspected = try await Tool.run("checkpoint", "inspect", weights.path)
      let problem = inspected.text.split(separator: "\n").first { $0.contains("PROBLEM") && $0.contains(vae.path) }
      #expect(problem?.contains(words) == true, "\(inspected.text)")
      for word in Self.foreign { #expect(!inspected.text.contains(word)) }
    }
    try whole.write(to: transformer)
    let inspected = try await Tool.run("checkpoint", "inspect", weights.path)
    #expect(inspected.text.contains("name it") || inspected.text.contains("named .pth"), "\(inspected.text)")
  }

  @Test func `settings that are not finite are told by their key`() async throws {
    for value in [".nan", ".inf", "-.inf", "1e400"] {
      for key in ["optimizer.learningRate", "shift"] {
        let told = try await Tool.run(
          "train", "teacher", "--config", "tiny.teacher", "--show-config", "--set", "\(key)=\(value)")
        expectSentence(told, "'\(key)' must be a finite number")
      }
    }
    let file = try folder.file("c.yaml", "preset: tiny.teacher\nshift: .nan\n".utf8)
    expectSentence(
      try await Tool.run("train", "teacher", "--config", file, "--show-config"), file, "'shift' must be a finite number"
    )
    let json = try folder.file("c.json", #"{"optimizer": {"betas": [0.9, 1e999]}}"#.utf8)
    expectSentence(try await Tool.run("train", "teacher", "--config", json, "--show-config"), json, "must be")
  }

  @Test func `devices and threads that are not there are told by their key`() async throws {
    let output = folder["out.mp4"].path
    let processors = ProcessInfo.processInfo.activeProcessorCount
    expectSentence(
      try await Tool.run(try await generate(output, "--device", "abacus")), "--device is 'abacus'", "cuda:N")
    expectSentence(try await Tool.run(try await generate(output, "--device", "cuda:99")), "--device is 'cuda:99'")
    let threads = try await Tool.run(try await generate(output, "--threads", "\(processors + 1)"))
    expectSentence(threads, "--threads is a number from 1 to \(processors)", "\(processors + 1)", status: 64)
    let train = [
      "train", "teacher", "--config", "tiny.teacher", "--data", folder.url.path, "--checkpoint",
      try await Fixtures.checkpoint.value, "--out", folder["run"].path,
    ]
    expectSentence(try await Tool.run(train + ["--set", "run.device=abacus"]), "'run.device' must be", "'abacus'")
    expectSentence(try await Tool.run(train + ["--set", "run.device=cuda:99"]), "'run.device' is 'cuda:99'")
    expectSentence(try await Tool.run(train + ["--threads", "\(processors + 1)"]), "--threads", status: 64)
    expectSentence(
      try await Tool.run(train + ["--set", "run.batch=1000000000000000000"]), "'run.batch' must be at most")
  }

  @Test func `long values and keys are cut with their length`() async throws {
    let long = String(repeating: "x", count: 100_000)
    for text in [
      "preset: \(long)", "\(long): 3", "shift: \(long)", "run: {\(long): 3}", "run: {precision: \(long)}",
      "shift: [\(long)]",
      "run: {data: a, checkpoint: b, out: c, device: \(long)}", "\"\(long)", "a: *\(long)",
    ] {
      let file = try folder.file("c.yaml", "\(text)\n".utf8)
      expectSentence(try await Tool.run("train", "teacher", "--config", file), "c.yaml")
    }
    for words in [
      ["--set", long], ["--set", "\(long)=1"], ["--set", "shift=\(long)"], ["--config", long], ["--data", long],
    ] {
      let told = try await Tool.run(["train", "teacher"] + words)
      #expect(told.status == 1 && told.error.count < 800, "\(told.error.prefix(300))")
    }
    let told = try await Tool.run(["generate", "--\(long)"])
    #expect(told.status == 64 && told.error.count < 800)
  }
}
