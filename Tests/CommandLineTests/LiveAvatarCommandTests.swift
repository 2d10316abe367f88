import ClipShards
import Foundation
import Generation
import Media
import Models
import NN
import Testing
import Torch

/// The commands with a checkpoint of Live Avatar, which they know by its folder.
@Suite struct LiveAvatarCommandTests {
  private struct Manifest: Decodable {
    struct Entry: Decodable {
      let key: String
      let shape: [Int]
    }
    let entries: [Entry]
  }

  @Test(arguments: [
    (CheckpointFolder.Part.transformer, "wan2.2-s2v-14b-dit"), (.vae, "wan2.1_vae"), (.textEncoder, "umt5_xxl_encoder"),
  ])
  func `random checkpoints have the keys and shapes of the published ones`(
    part: CheckpointFolder.Part, manifest: String
  ) throws {
    let file = Fixtures.goldens.appendingPathComponent("manifests/\(manifest).json")
    let published = try JSONDecoder().decode(Manifest.self, from: Data(contentsOf: file))
    let layout = try #require(try RandomCheckpoint(LiveAvatarPreset.liveAvatar14B).layouts[part])
    let ours = Dictionary(uniqueKeysWithValues: layout.entries.map { ($0.name, $0.shape) })
    #expect(ours == Dictionary(uniqueKeysWithValues: published.entries.map { ($0.key, $0.shape) }))
  }

  @Test func `adapter and speech encoder have as many tensors and numbers as the published ones`() throws {
    let layouts = try RandomCheckpoint(LiveAvatarPreset.liveAvatar14B).layouts
    let (adapter, speech) = (try #require(layouts[.adapter]), try #require(layouts[.audioEncoder]))
    #expect(adapter.entries.count == 896 && adapter.parameterCount == 676_331_520)
    #expect(adapter.entries.contains { $0.name == "blocks.39.ffn.2.lora_B.default.weight" && $0.shape == [5120, 128] })
    // What stands in for masked features in training is not read, and not written.
    #expect(speech.entries.count == 424 - 1 && speech.parameterCount == 315_472_545 - 1024)
  }

  @Test func `init, inspect, generate and bench know the family`() async throws {
    let folder = try Folder()
    let path = folder["avatar"].path
    let made = try await Tool.run("checkpoint", "init", "--preset", "liveavatar-tiny", "--out", path)
    try #require(made.status == 0, "\(made.error)")
    let inspection = try await Tool.run("checkpoint", "inspect", path)
    #expect(inspection.status == 0 && inspection.text.hasSuffix("Complete.\n"), "\(inspection.text)")
    #expect(inspection.text.contains("sound after 3 layers"))

    let voice = try folder.file("voice.wav", Fixtures.wave(seconds: 2))
    func generate(_ more: String...) async throws -> Tool.Result {
      try await Tool.run(
        [
          "generate", "--checkpoint", path, "--image", Fixtures.picture, "--audio", voice, "--prompt",
          "A person speaks.", "--seconds", "1",
        ] + (more.contains("-o") ? [] : ["-o", folder["out.mp4"].path]) + more)
    }
    let result = try await generate()
    try #require(result.status == 0, "\(result.error)")
    let reader = try VideoReader(path: folder["out.mp4"].path)
    var frames = 0
    while try reader.next() != nil { frames += 1 }
    #expect(frames == 25 && result.text.contains("25 frames"))
    let sound = try #require(reader.soundSeconds)
    #expect(abs(sound - 1) <= 0.05)

    let wrong = try await generate("--policy", "rolling:9")
    #expect(wrong.status == 1 && wrong.error.contains("Live Avatar has no --policy"))
    let other = try await generate("--sink", "paper", "--sink-distance", "30")
    #expect(other.status == 0, "\(other.error)")
    let raw = (folder["plain.rgb"].path, folder["offloaded.rgb"].path)
    let (plain, offloaded) = (try await generate("-o", raw.0), try await generate("-o", raw.1, "--offload"))
    #expect(plain.status == 0 && offloaded.status == 0, "\(offloaded.error)")
    let same = try Data(contentsOf: URL(fileURLWithPath: raw.0)) == Data(contentsOf: URL(fileURLWithPath: raw.1))
    #expect(same)
    let size = try await generate("--size", "96x128")
    #expect(size.status == 1 && size.error.contains("multiples of 64×64"))

    let bench = try await Tool.run("bench", "--checkpoint", path, "--blocks", "1", "--warm-up", "0")
    #expect(bench.status == 0 && bench.text.contains("4 blocks for each step"), "\(bench.error)")
  }

  @Test func `memory is counted before anything is loaded, that of offloaded layers on the host`() async throws {
    let arguments = ["bench", "--preset", "liveavatar-14b", "--dry-run"]
    let (plain, offloaded) = (try await Tool.run(arguments), try await Tool.run(arguments + ["--offload"]))
    #expect(plain.status == 0 && !plain.text.contains("in host memory"))
    #expect(offloaded.status == 0 && offloaded.text.contains("in host memory beside the device"), "\(offloaded.error)")
    let divided = try await Tool.run(arguments + ["--fp8", "--layers-per-device", "20"])
    #expect(divided.status == 0 && divided.text.contains("each step's, 20-39"), "\(divided.error)")
    let tooMany = try await Tool.run(arguments + ["--layers-per-device", "41"])
    #expect(tooMany.status != 0 && tooMany.error.contains("a number from 1 to 40"), "\(tooMany.error)")
    let training = try await Tool.run("bench", "training", "--preset", "liveavatar-14b", "--dry-run", "--ranks", "8")
    #expect(training.status == 0 && training.text.contains("with run.shardWeights"), "\(training.error)")
    let wrong = try await Tool.run("bench", "--preset", "tiny", "--dry-run", "--offload")
    #expect(wrong.status != 0 && wrong.error.contains("Only Live Avatar's layers are offloaded"))
  }

  @Test func `processes that share out the base distil it as those that each have all of it`() async throws {
    let folder = try Folder()
    let (base, data) = (folder["base"], folder["latents"])
    let made = try await Tool.run("checkpoint", "init", "--preset", "liveavatar-tiny", "--out", base.path)
    try #require(made.status == 0, "\(made.error)")
    try FileManager.default.removeItem(at: base.appendingPathComponent("LiveAvatar"))
    let (sizes, generator) = (LiveAvatarPreset.liveAvatarTiny.transformer, RandomGenerator(seed: 5))
    let writer = try ShardWriter(data, ShardDescription(kind: .latents, fps: 25, width: 64, height: 64))
    try writer.writeShared(["negativeText": generator.normal([4, sizes.textDim])])
    for clip in 0..<2 {
      try writer.append(
        "clip-\(clip)", ClipMetadata(caption: "A person."),
        [
          "latents": generator.normal([16, 6, 8, 8]), "referenceLatent": generator.normal([16, 20, 8, 8]),
          "audioFeatures": generator.normal([21, sizes.audioInputDim]), "text": generator.normal([4, sizes.textDim]),
        ])
    }
    try writer.flush()
    func words(_ out: String, _ more: String) -> [String] {
      [
        "train", "dmd", "--config", "liveavatar-tiny.dmd", "--data", data.path, "--checkpoint", base.path, "--teacher",
        base.path, "--out", folder[out].path, "--set", "run.steps=4", "--set", "run.checkpointLayers=true", "--set",
        "run.report.sampleEvery=0",
        "--set", more,
      ]
    }
    func weights(_ out: String) throws -> [String: Tensor] {
      try readWeights(folder["\(out)/final/LiveAvatar/liveavatar.safetensors"])
    }
    for (out, sharded) in [("whole", false), ("sharded", true)] {
      let results = try await Tool.runTogether(
        try Tool.executable(), words(out, "run.shardWeights=\(sharded)"), Fixtures.ranks(2))
      for result in results { #expect(result.status == 0, "\(result.error)") }
    }
    let (whole, sharded) = (try weights("whole"), try weights("sharded"))
    #expect(Set(whole.keys) == Set(sharded.keys) && !whole.isEmpty)
    var moved = 0.0
    for (name, tensor) in whole {
      let difference = try #require(sharded[name]).maxAbsDifference(tensor)
      #expect(difference < 1e-5, "\(name)")
      if name.contains("lora_B") { moved = max(moved, tensor.abs().max().item) }
    }
    // B starts at zero.
    #expect(moved > 1e-4)
  }

  @Test func `LiveTalk refuses what only Live Avatar has`() async throws {
    let folder = try Folder()
    let voice = try folder.file("voice.wav", Fixtures.wave(seconds: 1))
    let result = try await Tool.run(
      "generate", "--checkpoint", try await Fixtures.checkpoint.value, "--image", Fixtures.picture, "--audio", voice,
      "--prompt", "A person speaks.", "-o", folder["out.mp4"].path, "--sink", "paper")
    #expect(result.status == 1 && result.error.contains("LiveTalk has no --sink"))
  }
}
