import ClipShards
import Foundation
import Generation
import Models
import Testing
import Torch

/// `train`, with both programs.
@Suite struct TrainTests {
  private let folder: Folder

  init() throws { folder = try Folder() }

  /// Clips of noise prepared as latents of the tiny checkpoint, 32 × 32 pixels.
  private func makeClips(_ count: Int = 4, in folder: Folder) throws -> String {
    let place = folder["latents"]
    let sizes = ModelPreset.tiny.transformer
    let writer = try ShardWriter(place, ShardDescription(kind: .latents, width: 32, height: 32))
    let generator = RandomGenerator(seed: 5)
    try writer.writeShared(["negativeText": generator.normal([4, sizes.textDim])])
    for clip in 0..<count {
      try writer.append(
        "clip-\(clip)", ClipMetadata(caption: "A person."),
        [
          "latents": generator.normal([16, 3, 4, 4]), "referenceLatent": generator.normal([16, 1, 4, 4]),
          "audioFeatures": generator.normal([9, sizes.audioInputDim]), "text": generator.normal([4, sizes.textDim]),
        ])
    }
    try writer.flush()
    return place.path
  }

  /// A run of the teacher that takes a step in a moment.
  private func arguments(_ out: String, steps: Int = 3, _ more: String...) async throws -> [String] {
    let data = folder["latents"].path
    if !folder.content.contains("latents") { _ = try makeClips(in: folder) }
    return [
      "train", "teacher", "--config", "tiny.teacher", "--data", data, "--checkpoint",
      try await Fixtures.checkpoint.value, "--out", folder[out].path, "--set", "run.steps=\(steps)", "--set",
      "sampleSteps=1", "--set", "run.report.sampleEvery=\(steps)",
    ] + more
  }

  /// The numbers of each step, without the times.
  private func metrics(_ out: String) throws -> [[String: Double]] {
    let file = folder[out].appendingPathComponent("metrics.jsonl")
    let lines = ((try? String(contentsOf: file, encoding: .utf8)) ?? "").split(separator: "\n")
    return try lines.map { line in
      let fields = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
      return fields.compactMapValues { $0 as? Double }.filter { !["time", "secondsPerStep"].contains($0.key) }
    }
  }

  private func weights(_ out: String) throws -> Data {
    try Data(contentsOf: folder[out].appendingPathComponent("final/LiveTalk-1.3B-V0.1/model.safetensors"))
  }

  private func expectSentence(
    _ result: Tool.Result, _ words: String..., status: Int32 = 1, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(result.status == status, sourceLocation: sourceLocation)
    #expect(result.complaints.first?.hasPrefix("livetalk") == true, "\(result.error)", sourceLocation: sourceLocation)
    let ends = [".\n", "?\n"].contains { result.error.hasSuffix($0) }
    #expect(ends, "\(result.error)", sourceLocation: sourceLocation)
    for word in words { #expect(result.error.contains(word), "\(result.error)", sourceLocation: sourceLocation) }
    #expect(!folder.content.contains("run"), sourceLocation: sourceLocation)
  }

  @Test(arguments: ["vae", "audio", "teacher", "ode", "dmd"])
  func `the whole configuration is shown, and can be read again`(stage: String) async throws {
    var words = ["train", stage, "--config", "tiny.\(stage)", "--data", "d", "--checkpoint", "c", "--out", "o"]
    if stage == "dmd" { words += ["--teacher", "t"] }
    let shown = try await Tool.run(words + ["--set", "optimizer.learningRate=3e-5", "--show-config"])
    #expect(shown.status == 0, "\(shown.error)")
    let fields = try #require(try JSONSerialization.jsonObject(with: shown.output) as? [String: Any])
    let run = try #require(fields["run"] as? [String: Any])
    #expect((fields["optimizer"] as? [String: Any])?["learningRate"] as? Double == 3e-5)
    #expect(run["data"] as? String == "d" && run["out"] as? String == "o" && run["checkpointLayers"] as? Bool == false)
    let file = try folder.file("shown.yaml", shown.output)
    let again = try await Tool.run("train", stage, "--config", file, "--show-config")
    #expect(again.status == 0 && again.text == shown.text, "\(again.error)\(again.text)")
  }

  @Test func `mistakes are told in a sentence`() async throws {
    let good = try await arguments("run")
    expectSentence(try await Tool.run(good + ["--set", "optimizer.learningrat=1"]), "learningrat", "learningRate")
    expectSentence(try await Tool.run(good + ["--set", "run.steps=0"]), "'run.steps' must be at least 1, not 0")
    expectSentence(try await Tool.run(good + ["--set", "run.steps=many"]), "run.steps")
    expectSentence(try await Tool.run(good + ["--data", folder["none"].path]), folder["none"].path)
    expectSentence(try await Tool.run(good + ["--checkpoint", folder["none"].path]), folder["none"].path)
    expectSentence(
      try await Tool.run(["train", "teacher", "--config", "tiny.techer"]), "'tiny.techer'", "tiny.teacher")
    expectSentence(
      try await Tool.run(["train", "teacher", "--config", "none.yaml"]), "no configuration file none.yaml")
    expectSentence(try await Tool.run(["train", "teacher"]), "'run.data' must be a folder")
    expectSentence(try await Tool.run(["train", "student"]), "student", "vae", "dmd", status: 64)
    expectSentence(
      try await Tool.run(["train", "dmd", "--data", "d", "--checkpoint", "c", "--out", "o"]), "'teacher' must be")
  }

  @Test(arguments: ["livetalk", "livetalk-compute"])
  func `a run leaves metrics, a sample, checkpoints and a whole checkpoint folder`(program: String) async throws {
    let result = try await Tool.run(try Tool.executable(program), try await arguments("run"))
    #expect(result.status == 0, "\(result.error)")
    let numbers = try metrics("run")
    #expect(numbers.map { $0["step"] } == [1, 2, 3])
    #expect(
      numbers.allSatisfy { $0.values.allSatisfy(\.isFinite) && Set($0.keys).isSuperset(of: ["loss", "gradientNorm"]) })
    let names = try FileManager.default.contentsOfDirectory(atPath: folder["run/samples"].path).sorted()
    #expect(
      names == (program == "livetalk" ? ["step-00000003.mp4", "step-00000003.png"] : ["step-00000003.safetensors"]))
    let inspected = try await Tool.run("checkpoint", "inspect", folder["run/final"].path)
    #expect(inspected.status == 0 && inspected.text.contains("trained with"), "\(inspected.text)")
    // What is there is not written over.
    let again = try await Tool.run(try Tool.executable(program), try await arguments("run"))
    #expect(again.status == 1 && again.error.contains("earlier run"), "\(again.error)")
  }

  /// Ends a run with a signal when so many steps are logged.
  private func end(_ words: [String], _ out: String, with number: Int32, afterSteps steps: Int) async throws
    -> Tool.Result
  {
    let file = folder[out].appendingPathComponent("metrics.jsonl")
    return try await Tool.run(try Tool.executable(), words) { process in
      Thread.detachNewThread {
        for _ in 0..<6000 {
          let lines = (try? Data(contentsOf: file))?.count { $0 == UInt8(ascii: "\n") } ?? 0
          if lines >= steps { break }
          usleep(10_000)
        }
        kill(process.processIdentifier, number)
      }
    }
  }

  @Test func `a run that is ended goes on to the numbers of an unbroken one`() async throws {
    let steps = 14
    let every = ["--set", "run.report.checkpointEvery=3", "--set", "run.batch=2"]
    let whole = try await Tool.run(try await arguments("whole", steps: steps) + every)
    #expect(whole.status == 0, "\(whole.error)")
    for (number, name) in [(SIGKILL, "killed"), (SIGINT, "interrupted"), (SIGTERM, "terminated")] as [(Int32, String)] {
      let words = try await arguments(name, steps: steps) + every
      let ended = try await end(words, name, with: number, afterSteps: 5)
      #expect(ended.status == 128 + number, "\(ended.error)")
      let done = try metrics(name).count
      #expect((5..<steps).contains(done))
      #expect(!FileManager.default.fileExists(atPath: folder["\(name)/final"].path))
      if number == SIGINT {
        #expect(ended.error.contains("a checkpoint is written after this step"), "\(ended.error)")
        #expect(ended.complaints.last == "livetalk: Stopped at step \(done); the same command with --resume goes on.")
        let checkpoint = "step-" + String(repeating: "0", count: 8 - "\(done)".count) + "\(done)"
        #expect(FileManager.default.fileExists(atPath: folder["\(name)/checkpoints/\(checkpoint)/state.json"].path))
      }
      let resumed = try await Tool.run(words + ["--resume"])
      #expect(resumed.status == 0 && resumed.error.contains("Going on from step"), "\(resumed.error)")
      #expect(try metrics(name) == metrics("whole") && metrics(name).count == steps)
      #expect(try weights(name) == weights("whole"))
    }
  }

  @Test func `a signal to one of two processes ends both with a checkpoint, and both go on`() async throws {
    let words = try await arguments("run", steps: 40)
    let file = folder["run/metrics.jsonl"]
    let ended = try await Tool.runTogether(try Tool.executable(), words, Fixtures.ranks(2)) { rank, process in
      guard rank == 1 else { return }
      Thread.detachNewThread {
        for _ in 0..<6000 {
          if (try? Data(contentsOf: file))?.isEmpty == false { break }
          usleep(10_000)
        }
        kill(process, SIGINT)
      }
    }
    for result in ended { #expect(result.status == 130, "\(result.error)") }
    let done = try metrics("run").count
    #expect((1..<40).contains(done))
    let resumed = try await Tool.runTogether(try Tool.executable(), words + ["--resume"], Fixtures.ranks(2))
    for result in resumed { #expect(result.status == 0, "\(result.error)") }
    #expect(resumed.contains { $0.error.contains("Going on from step \(done).") })
    #expect(try metrics("run").compactMap { $0["step"] } == (1...40).map(Double.init))
  }

  @Test(arguments: ["teacher", "dmd"])
  func `two processes train as one with the clips of both`(stage: String) async throws {
    var more = ["--set", "run.accumulation=2"]
    if stage == "dmd" {
      more = ["--teacher", try await Fixtures.checkpoint.value, "--set", "average.startStep=1"]
    }
    func words(_ out: String) async throws -> [String] {
      let words = try await arguments(out, steps: 4) + more
      guard stage == "dmd" else { return words }
      let own = words.map { $0 == "teacher" ? "dmd" : $0 == "tiny.teacher" ? "tiny.dmd" : $0 }
      let solver = own.firstIndex(of: "sampleSteps=1") ?? 1
      return Array(own[..<(solver - 1)] + own[(solver + 1)...])
    }
    let alone = try await Tool.run(try await words("alone") + ["--set", "run.batch=2"])
    #expect(alone.status == 0, "\(alone.error)")
    let shared = try await words("together")
    let results = try await Tool.runTogether(try Tool.executable(), shared, Fixtures.ranks(2))
    for result in results { #expect(result.status == 0, "\(result.error)") }
    let (one, two) = (try metrics("alone"), try metrics("together"))
    #expect(one.count == 4 && two.count == 4)
    for (a, b) in zip(one, two) {
      #expect(Set(a.keys) == Set(b.keys))
      for (key, value) in a {
        // A mean over the processes' own clips, and not of all together.
        if key == "student/klGradient" { continue }
        #expect(abs(value - (b[key] ?? .nan)) <= 1e-5 * max(1, abs(value)), "\(key): \(value), \(b[key] ?? .nan)")
      }
    }
    let (ours, theirs) = try (
      readWeights(folder["alone/final/LiveTalk-1.3B-V0.1/model.safetensors"]),
      readWeights(folder["together/final/LiveTalk-1.3B-V0.1/model.safetensors"])
    )
    for (name, tensor) in ours {
      #expect(tensor.maxAbsDifference(try #require(theirs[name])) < 1e-4, "\(name)")
    }
  }

  @Test func `trajectories are made, gone on with, and train a student`() async throws {
    _ = try await arguments("run")
    let words = [
      "trajectories", "--data", folder["latents"].path, "--teacher", try await Fixtures.checkpoint.value, "--out",
      folder["trajectories"].path, "--steps", "4", "--precision", "float32", "--device", "cpu",
    ]
    for (wrong, part) in [
      (["--timesteps", "1000,x"], "'1000,x' is no list"), (["--timesteps", "900,500"], "fall from 1000"),
      (["--precision", "half"], "'half'"), (["--data", folder["none"].path], folder["none"].path),
      (["--steps", "0"], "'solverSteps' must be at least 1"),
    ] {
      expectSentence(try await Tool.run(words + wrong), part)
    }
    #expect(!folder.content.contains("trajectories"))
    let made = try await Tool.run(words)
    #expect(made.status == 0 && made.error.contains("4 trajectories"), "\(made.error)")
    let first = try Data(contentsOf: folder["trajectories/shard-00000.safetensors"])
    #expect(try await Tool.run(words).status == 0)
    #expect(try Data(contentsOf: folder["trajectories/shard-00000.safetensors"]) == first)
    expectSentence(try await Tool.run(words + ["--seed", "1"]), "other settings")
    let trained = try await Tool.run(
      "train", "ode", "--config", "tiny.ode", "--data", folder["trajectories"].path, "--checkpoint",
      try await Fixtures.checkpoint.value, "-o", folder["student"].path, "--set", "run.steps=2")
    #expect(trained.status == 0, "\(trained.error)")
    #expect(try metrics("student").map { $0["step"] } == [1, 2])
    #expect(FileManager.default.fileExists(atPath: folder["student/final/livetalk.json"].path))
  }

  @Test func `a run goes on with the same data under another path, and with more steps`() async throws {
    let words = try await arguments("run", steps: 2)
    #expect(try await Tool.run(words).status == 0)
    try FileManager.default.moveItem(at: folder["latents"], to: folder["moved"])
    let moved = words.map { word in
      word == folder["latents"].path ? folder["moved"].path : word == "run.steps=2" ? "run.steps=4" : word
    }
    let resumed = try await Tool.run(moved + ["--resume"])
    #expect(resumed.status == 0, "\(resumed.error)")
    #expect(resumed.error.contains("with the same content") && resumed.error.contains("Going on from step 2."))
    #expect(try metrics("run").map { $0["step"] } == [1, 2, 3, 4])
    // Other clips are other data, wherever they are.
    try FileManager.default.removeItem(at: folder["moved"])
    _ = try makeClips(3, in: folder)
    let other = try await Tool.run(words.map { $0 == "run.steps=2" ? "run.steps=6" : $0 } + ["--resume"])
    #expect(other.status == 1 && other.error.contains("run.data was"), "\(other.error)")
  }
}
