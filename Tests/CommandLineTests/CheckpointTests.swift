import Foundation
import Generation
import Models
import NN
import Testing
import Torch

@Suite struct CheckpointTests {
  private struct Manifest: Decodable {
    struct Entry: Decodable {
      let key: String
      let shape: [Int]
      let dtype: String?
    }
    let entries: [Entry]
  }

  @Test(arguments: [
    (CheckpointFolder.Part.transformer, "livetalk_1.3b"), (.vae, "wan2.1_vae"), (.textEncoder, "umt5_xxl_encoder"),
    (.audioEncoder, "wav2vec2_base_960h"),
  ])
  func `random checkpoints have the keys, shapes and types of the published ones`(
    part: CheckpointFolder.Part, manifest: String
  ) throws {
    let file = Fixtures.goldens.appendingPathComponent("manifests/\(manifest).json")
    let published = try JSONDecoder().decode(Manifest.self, from: Data(contentsOf: file))
    let layout = try #require(try RandomCheckpoint(.livetalk1_3B).layouts[part])
    let ours = Dictionary(uniqueKeysWithValues: layout.entries.map { ($0.name, $0.shape) })
    let theirs = Dictionary(uniqueKeysWithValues: published.entries.map { ($0.key, $0.shape) })
    #expect(ours == theirs)
    let type = published.entries.first?.dtype ?? "F32"
    #expect(layout.entries.allSatisfy { $0.dtype == (type == "BF16" ? .bfloat16 : .float32) })
  }

  @Test func `the autoencoder of Wan 2.2 has the keys and shapes of the published one`() throws {
    let file = Fixtures.goldens.appendingPathComponent("manifests/wan2.2_vae.json")
    let published = try JSONDecoder().decode(Manifest.self, from: Data(contentsOf: file))
    let store = ParameterStore.shapes()
    _ = WanVAE(.wan22, store.root)
    let ours = Dictionary(uniqueKeysWithValues: store.layout.map { ($0.name, $0.shape) })
    #expect(ours == Dictionary(uniqueKeysWithValues: published.entries.map { ($0.key, $0.shape) }))
  }

  @Test func `what init makes, inspect finds whole`() async throws {
    let result = try await Tool.run("checkpoint", "inspect", "--json", try await Fixtures.checkpoint.value)
    #expect(result.status == 0)
    let inspection = try JSONDecoder().decode(CheckpointInspection.self, from: result.output)
    #expect(inspection.complete && inspection.items.count == 6)
    #expect(inspection.provenance?.contains("random weights") == true)
    let layouts = try RandomCheckpoint(.tiny).layouts
    for item in inspection.items {
      guard let part = CheckpointFolder.Part(rawValue: item.part), let layout = layouts[part] else { continue }
      #expect(item.tensors == layout.entries.count && item.parameters == layout.parameterCount)
      #expect(item.format == (part == .vae || part == .textEncoder ? "PyTorch" : "safetensors"))
    }
    let table = try await Tool.run("checkpoint", "inspect", try await Fixtures.checkpoint.value)
    #expect(table.status == 0 && table.text.contains("813,952 parameters") && table.text.hasSuffix("Complete.\n"))
  }

  @Test func `convert copies all parts in another type, with their settings`() async throws {
    let folder = try Folder()
    let source = try await Fixtures.checkpoint.value
    let out = folder["half"].path
    let made = try await Tool.run(
      "checkpoint", "convert", source, "--out", out, "--provenance", "A test.", "--policy", "anchor:3/9",
      "--position-limit", "9")
    #expect(made.status == 0, "\(made.error)")
    let copy = try CheckpointFolder(URL(fileURLWithPath: out))
    try copy.requireAll()
    #expect(copy.settings.provenance == "A test." && copy.settings.policy == .anchorHeavy(sinks: 3, window: 9))
    #expect(copy.settings.positionLimit == 9)
    let original = try CheckpointFolder(URL(fileURLWithPath: source))
    for part in [CheckpointFolder.Part.transformer, .vae, .textEncoder, .audioEncoder] {
      let (ours, theirs) = (try copy.weights(part), try original.weights(part))
      #expect(Set(ours.keys) == Set(theirs.keys) && ours.values.allSatisfy { $0.dtype == .bfloat16 })
      for (name, tensor) in ours { #expect(tensor.array() == theirs[name]?.to(.bfloat16).array()) }
    }
    let again = try await Tool.run("checkpoint", "convert", source, "--out", out)
    #expect(again.status == 1 && again.error.contains("is there already"))
    let impossible = try await Tool.run(
      "checkpoint", "convert", source, "--out", folder["other"].path, "--policy", "anchor:3/9", "--position-limit", "4")
    #expect(impossible.status == 1 && impossible.error.contains("less than the window"))
    #expect(folder.content == ["half"])
  }

  @Test(arguments: [
    ("transformer", CheckpointFolder.Part.transformer, CheckpointFolder.Part.vae), ("vae", .vae, .transformer),
  ])
  func `average makes the mean of one part over the other parts of the first`(
    name: String, part: CheckpointFolder.Part, other: CheckpointFolder.Part
  ) async throws {
    let folder = try Folder()
    let first = try await Fixtures.checkpoint.value
    for (name, preset) in [("second", "tiny"), ("other", "laptop"), ("avatar", "liveavatar-tiny")] {
      let made = try await Tool.run(
        "checkpoint", "init", "--preset", preset, "--seed", "7", "--out", folder[name].path)
      try #require(made.status == 0, "\(made.error)")
    }
    let result = try await Tool.run(
      "checkpoint", "average", first, folder["second"].path, "--part", name, "--out", folder["mean"].path)
    #expect(result.status == 0, "\(result.error)")
    let parts = try [URL(fileURLWithPath: first), folder["second"], folder["mean"]].map { try CheckpointFolder($0) }
    try parts[2].requireAll()
    let weights = try parts.map { try $0.weights(part) }
    #expect(Set(weights[2].keys) == Set(weights[0].keys))
    for (name, tensor) in weights[2] {
      let (a, b) = (try #require(weights[0][name]), try #require(weights[1][name]))
      #expect(tensor.dtype == a.dtype && tensor.maxAbsDifference((a + b) / 2) == 0, "\(name)")
    }
    #expect(try fingerprint(of: parts[2].require(other)) == fingerprint(of: parts[0].require(other)))
    #expect(parts[2].settings.provenance?.contains("the mean of the \(part.title)s") == true)
    for (second, out, words) in [
      ("other", "none", "another size"), ("avatar", "none", "adapters"), ("second", "mean", "is there already"),
    ] {
      let refused = try await Tool.run(
        "checkpoint", "average", first, folder[second].path, "--part", name, "--out", folder[out].path)
      #expect(refused.status == 1 && refused.error.contains(words), "\(refused.error)")
    }
    let alone = try await Tool.run("checkpoint", "average", first, "--out", folder["none"].path)
    #expect(alone.status == 64 && alone.error.contains("two folders or more"))
    #expect(!folder.content.contains("none"))
  }

  @Test func `inspect lists what is missing and where to get it`() async throws {
    let folder = try Folder()
    let empty = try await Tool.run("checkpoint", "inspect", folder.url.path)
    #expect(empty.status == 1)
    for part in ModelFamily.liveTalk.parts where !part.isOptional {
      let file = ModelFamily.liveTalk.file(part)
      #expect(empty.text.contains(file.names[0]) && empty.text.contains(file.source))
    }
    #expect(empty.text.contains("hf download Wan-AI/Wan2.1-T2V-1.3B --local-dir \(folder.url.path)/Wan2.1-T2V-1.3B"))
  }

  @Test func `one seed makes one checkpoint, and weights are of a sane size`() async throws {
    let folder = try Folder()
    for (name, seed) in [("a", "3"), ("b", "3"), ("c", "4")] {
      let made = try await Tool.run(
        "checkpoint", "init", "--preset", "tiny", "-o", folder[name].path, "--seed", seed, "--dtype", "bf16")
      #expect(made.status == 0, "\(made.error)")
    }
    #expect(folder.content == ["a", "b", "c"])
    let file = "LiveTalk-1.3B-V0.1/model.safetensors"
    let bytes = try ["a", "b", "c"].map { try Data(contentsOf: folder[$0].appendingPathComponent(file)) }
    #expect(bytes[0] == bytes[1] && bytes[0] != bytes[2])
    for (name, tensor) in try readWeights(folder["a"].appendingPathComponent(file)) {
      #expect(tensor.dtype == .bfloat16)
      let largest = tensor.to(.float32).abs().max().item
      #expect(largest <= 6 && largest.isFinite, "\(name)")
    }
    let again = try await Tool.run("checkpoint", "init", "--preset", "tiny", "-o", folder["a"].path)
    #expect(again.status == 1 && again.error.contains("not empty"))
  }

  @Test func `one value that is not finite is named, and nothing is made of it`() async throws {
    let folder = try Folder()
    let made = try await Tool.run("checkpoint", "init", "--preset", "tiny", "-o", folder["tiny"].path)
    #expect(made.status == 0)
    let voice = try folder.file("voice.wav", Fixtures.wave(seconds: 1))
    let file = folder["tiny"].appendingPathComponent("LiveTalk-1.3B-V0.1/model.safetensors")
    let weights = try readWeights(file).mapValues { $0.clone() }
    weights["blocks.3.ffn.0.bias"]?.narrow(0, 7, 1).fill_(.nan)
    try writeSafetensors(weights, to: file)
    let inspected = try await Tool.run("checkpoint", "inspect", folder["tiny"].path)
    #expect(
      inspected.status == 1 && inspected.text.contains("model.safetensors")
        && inspected.text.contains("'blocks.3.ffn.0.bias'"))
    let generated = try await Tool.run(
      "generate", "--checkpoint", folder["tiny"].path, "--image", Fixtures.picture, "--audio", voice, "--prompt",
      "A person.",
      "--seconds", "0.5", "-o", folder["out.mp4"].path)
    #expect(
      generated.status == 1 && generated.error.contains("'blocks.3.ffn.0.bias'")
        && generated.error.contains("not finite"))
    try writeSafetensors(
      [
        "blocks.0.self_attn.q.lora_A.weight": Tensor.ones([2, 96]),
        "blocks.0.self_attn.q.lora_B.weight": Tensor.ones([96, 2]),
      ], to: folder["adapter.safetensors"])
    let merged = try await Tool.run(
      "checkpoint", "merge", "--base", file.path, "--adapter", folder["adapter.safetensors"].path, "--out",
      folder["merged.safetensors"].path)
    #expect(merged.status == 1 && merged.error.contains("'blocks.3.ffn.0.bias'"))
    #expect(folder.content == ["adapter.safetensors", "tiny", "voice.wav"])
  }

  @Test func `adapters given to generate make the video of the merged checkpoint`() async throws {
    let folder = try Folder()
    let made = try await Tool.run("checkpoint", "init", "--preset", "tiny", "-o", folder["tiny"].path)
    #expect(made.status == 0)
    let voice = try folder.file("voice.wav", Fixtures.wave(seconds: 1))
    let file = folder["tiny"].appendingPathComponent("LiveTalk-1.3B-V0.1/model.safetensors")
    let generator = RandomGenerator(seed: 5)
    try writeSafetensors(
      [
        "lora_unet_blocks_0_self_attn_q.lora_down.weight": generator.normal([2, 96]),
        "lora_unet_blocks_0_self_attn_q.lora_up.weight": generator.normal([96, 2]),
        "lora_unet_blocks_0_self_attn_q.alpha": Tensor(Float(4)),
      ], to: folder["kohya.safetensors"])
    func generate(_ name: String, _ more: [String]) async throws -> Data {
      let result = try await Tool.run(
        [
          "generate", "--checkpoint", folder["tiny"].path, "--image", Fixtures.picture, "--audio", voice, "--prompt",
          "A person.",
          "--seconds", "0.5", "--steps", "1", "-o", folder[name].path,
        ] + more)
      #expect(result.status == 0, "\(result.error)")
      return try Data(contentsOf: folder[name])
    }
    let plain = try await generate("plain.rgb", [])
    let adapted = try await generate("adapted.rgb", ["--lora", folder["kohya.safetensors"].path + ":0.5"])
    let merged = try await Tool.run(
      "checkpoint", "merge", "--base", file.path, "--adapter", folder["kohya.safetensors"].path + ":0.5", "--out",
      file.path)
    #expect(merged.status == 0, "\(merged.error)")
    let whole = try await generate("merged.rgb", [])
    // Where in memory a weight lies changes the order of sums, and with it how a colour is rounded.
    #expect(whole.count == adapted.count && zip(whole, adapted).allSatisfy { abs(Int($0) - Int($1)) <= 1 })
    #expect(plain != adapted)
    for (strength, reason) in [
      ("0", "changes nothing"), ("nan", "not a finite number"), ("1e400", "not a finite number"),
    ] {
      let refused = try await Tool.run(
        "checkpoint", "merge", "--base", file.path, "--adapter", folder["kohya.safetensors"].path + ":\(strength)",
        "--out",
        folder["no.safetensors"].path)
      #expect(refused.status == 1 && refused.error.contains(reason) && !folder.content.contains("no.safetensors"))
    }
  }

  @Test(arguments: ["nan", "inf", "-inf", "1e400"])
  func `a scale that is not finite is refused before anything is written`(alpha: String) async throws {
    let folder = try Folder()
    let result = try await Tool.run(
      "checkpoint", "merge", "--base", folder["b.safetensors"].path, "--adapter", folder["a.safetensors"].path,
      "--alpha=\(alpha)", "--out",
      folder["m.safetensors"].path)
    #expect(result.status != 0 && result.error.contains("--alpha") && result.error.contains("finite"))
    #expect(folder.content.isEmpty)
  }

  @Test func `merge adds what the factors say`() async throws {
    let folder = try Folder()
    let generator = RandomGenerator(seed: 1)
    let base = [
      "blocks.0.q.weight": generator.normal([6, 5]), "blocks.0.k.weight": generator.normal([4, 5]),
      "patch_embedding.weight": generator.normal([2, 2]),
    ]
    let (a, b) = (generator.normal([2, 5]), generator.normal([6, 2]))
    let adapter = [
      "blocks.0.q.lora_A.default.weight": a, "blocks.0.q.lora_B.default.weight": b,
      "patch_embedding.weight": generator.normal([2, 3]), "audio.weight": generator.normal([3]),
    ]
    try FileManager.default.createDirectory(at: folder["base"], withIntermediateDirectories: true)
    try writeSafetensors(base, to: folder["base"].appendingPathComponent("diffusion_pytorch_model.safetensors"))
    try writePickle(adapter, to: folder["adapter.pt"])
    func merge(_ more: String...) async throws -> Tool.Result {
      try await Tool.run(
        [
          "checkpoint", "merge", "--base", folder["base"].path, "--adapter", folder["adapter.pt"].path, "--out",
          folder["merged.safetensors"].path,
        ] + more)
    }
    let unknown = try await merge()
    #expect(unknown.status == 1 && unknown.error.contains("--alpha") && !folder.content.contains("merged.safetensors"))
    _ = try folder.file("config.json", Array(#"{"lora_alpha": 64, "lora_rank": 2}"#.utf8))
    for (alpha, options) in [(64.0, []), (3.0, ["--alpha", "3"])] as [(Double, [String])] {
      let result = options.isEmpty ? try await merge() : try await merge(options[0], options[1])
      #expect(result.status == 0, "\(result.error)")
      let merged = try readWeights(folder["merged.safetensors"])
      #expect(Set(merged.keys) == ["blocks.0.q.weight", "blocks.0.k.weight", "patch_embedding.weight", "audio.weight"])
      for (row, column) in [(0, 0), (3, 4), (5, 2)] {
        let product = (0..<2).map { b.array()[row * 2 + $0] * a.array()[$0 * 5 + column] }.reduce(0, +)
        let expected = (base["blocks.0.q.weight"]?.array()[row * 5 + column] ?? 0) + product * Float(alpha / 2)
        let actual = merged["blocks.0.q.weight"]?.array()[row * 5 + column] ?? .nan
        #expect(abs(actual - expected) <= 1e-4 * max(1, abs(expected)))
      }
      #expect(merged["blocks.0.k.weight"]?.array() == base["blocks.0.k.weight"]?.array())
      #expect(merged["patch_embedding.weight"]?.array() == adapter["patch_embedding.weight"]?.array())
    }
  }
}
