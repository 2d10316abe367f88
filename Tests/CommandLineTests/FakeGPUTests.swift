import ClipShards
import Foundation
import Generation
import Models
import Testing
import Torch

/// What programs do on a GPU, on one that is not there (Tests/FakeGPU): it refuses every operation on tensors of different devices.
@Suite(.enabled(if: Tool.fakeGPU != nil, "FakeGPU is built on Linux, for a libtorch without CUDA"))
struct FakeGPUTests {
  private let folder: Folder

  init() throws { folder = try Folder() }

  private func run(_ arguments: [String], program: String = "livetalk-compute", gpus: Int = 1) async throws
    -> Tool.Result
  {
    let environment = ["LD_PRELOAD": try #require(Tool.fakeGPU), "FAKE_GPUS": "\(gpus)", "LIVETALK_TRACE": "1"]
    let result = try await Tool.run(try Tool.executable(program), arguments, environment)
    #expect(result.status == 0, "\(arguments): \(result.error)")
    return result
  }

  @Test func `a video is generated`() async throws {
    let (voice, video) = (try folder.file("voice.wav", Fixtures.wave(seconds: 1)), folder["video.mp4"])
    _ = try await run(
      [
        "generate", "--checkpoint", try await Fixtures.checkpoint.value, "--image", Fixtures.picture, "--audio",
        voice, "--prompt", "A person speaks.", "--seconds", "1", "--device", "cuda", "-o",
        video.path,
      ], program: "livetalk")
    #expect(FileManager.default.fileExists(atPath: video.path))
  }

  @Test(arguments: [[], ["--fp8"], ["--offload"], ["--layers-per-device", "2"]])
  func `Live Avatar's sessions run`(options: [String]) async throws {
    let result = try await run(
      [
        "bench", "--preset", "liveavatar-tiny", "--device", "cuda", "--dtype", "bf16", "--blocks", "1", "--warm-up",
        "1",
      ] + options, gpus: 2)
    #expect(result.text.contains(#""device":"cuda:0"#))
  }

  @Test(arguments: ["float32", "bfloat16"])
  func `a teacher, its trajectories and its students are trained`(precision: String) async throws {
    let sizes = ModelPreset.tiny.transformer
    let writer = try ShardWriter(folder["latents"], ShardDescription(kind: .latents, width: 32, height: 32))
    let generator = RandomGenerator(seed: 5)
    try writer.writeShared(["negativeText": generator.normal([4, sizes.textDim])])
    for clip in 0..<2 {
      try writer.append(
        "clip-\(clip)", ClipMetadata(caption: "A person."),
        [
          "latents": generator.normal([16, 3, 4, 4]), "referenceLatent": generator.normal([16, 1, 4, 4]),
          "audioFeatures": generator.normal([9, sizes.audioInputDim]), "text": generator.normal([4, sizes.textDim]),
        ])
    }
    try writer.flush()
    let (checkpoint, latents) = (try await Fixtures.checkpoint.value, folder["latents"].path)
    func train(_ stage: String, data: String, _ more: String...) async throws {
      _ = try await run(
        [
          "train", stage, "--config", "tiny.\(stage)", "--data", data, "--checkpoint", checkpoint, "--out",
          folder[stage].path, "--set", "run.device=cuda", "--set", "run.precision=\(precision)", "--set", "run.steps=2",
          "--set", "run.report.sampleEvery=2",
        ] + more)
    }
    try await train("teacher", data: latents, "--set", "sampleSteps=1")
    _ = try await run([
      "trajectories", "--data", latents, "--teacher", checkpoint, "--out", folder["trajectories"].path, "--steps", "4",
      "--precision", precision, "--device", "cuda",
    ])
    try await train("ode", data: folder["trajectories"].path)
    try await train("dmd", data: latents, "--teacher", checkpoint)
  }
}

extension Tool {
  /// The library that makes a program see a GPU.
  static let fakeGPU = try? executable("libFakeGPU.so").path
}
