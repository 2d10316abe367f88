import Foundation
import Models
import Testing
import Torch

@testable import Generation

/// One tiny model in every layout of files and keys that people have it in: the same numbers, or one sentence.
@Suite struct CheckpointLayoutTests {
  private typealias Layout = (name: String, write: @Sendable (_ weights: [String: Tensor], _ file: URL) throws -> Void)

  private static func prefixed(_ prefix: String, _ weights: [String: Tensor]) -> [String: Tensor] {
    Dictionary(uniqueKeysWithValues: weights.map { (prefix + $0, $1) })
  }
  private static func renamed(_ weights: [String: Tensor], _ name: (String) -> String) -> [String: Tensor] {
    Dictionary(uniqueKeysWithValues: weights.map { (name($0), $1) })
  }
  private static func safetensors(
    _ change: @escaping @Sendable ([String: Tensor]) -> [String: Tensor]
  ) -> @Sendable ([String: Tensor], URL) throws -> Void {
    { try writeSafetensors(change($0), to: $1) }
  }
  private static func other(_ weights: [String: Tensor]) -> [String: Tensor] { weights.mapValues { $0 + 1 } }

  private static let layouts: [(part: CheckpointFolder.Part, Layout)] = [
    (.transformer, ("LiveTalk-1.3B-V0.1/model.pt", { try writePickle($0, to: $1) })),
    (.transformer, ("LiveTalk-1.3B-V0.1/pytorch_model.bin", { try writePickle($0, ordered: false, to: $1) })),
    (.transformer, ("model.safetensors", safetensors { $0 })),
    (.transformer, ("diffusion_pytorch_model.safetensors", safetensors { prefixed("model.diffusion_model.", $0) })),
    (.transformer, ("transformer/model.safetensors", safetensors { prefixed("diffusion_model.", $0) })),
    (
      .transformer,
      (
        "transformer/diffusion_pytorch_model.safetensors",
        safetensors { renamed($0, WanDiffusersKeys.theirs(ofTransformer:)) }
      )
    ),
    (
      .transformer,
      (
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        { weights, file in
          let theirs = renamed(weights, WanDiffusersKeys.theirs(ofTransformer:))
          try writeShardedSafetensors(
            theirs.map { ($0, $1.dtype, $1.shape) }, shardBytes: 100_000, to: file
          ) { theirs[$0] ?? Tensor.zeros([1]) }
        }
      )
    ),
    (
      .transformer,
      ("model.pth", { try writeNestedPickle([("state_dict", prefixed("module._orig_mod.", $0))], to: $1) })
    ),
    (
      // A checkpoint of Self-Forcing.
      .transformer,
      (
        "model.pt",
        { weights, file in
          try writeNestedPickle(
            [
              ("critic", prefixed("model.", other(other(weights)))), ("generator", prefixed("model.", other(weights))),
              ("generator_ema", prefixed("model.", weights)),
            ], to: file)
        }
      )
    ),
    (
      .transformer,
      (
        "model.pt",
        { weights, file in
          let wrapped = renamed(weights) {
            "_fsdp_wrapped_module.model.\($0.replacing("blocks.1.", with: "blocks.1._fsdp_wrapped_module."))"
          }
          try writeNestedPickle([("generator", wrapped), ("critic", other(wrapped))], to: file)
        }
      )
    ),
    (.vae, ("Wan2.1_VAE.pth", { try writePickle($0, to: $1) })),
    (.vae, ("vae/diffusion_pytorch_model.safetensors", safetensors { prefixed("module.", $0) })),
    (.vae, ("Wan2.1-T2V-1.3B/Wan2.1_VAE.safetensors", safetensors { prefixed("first_stage_model.", $0) })),
    (.textEncoder, ("models_t5_umt5-xxl-enc-bf16.pth", { try writePickle($0, to: $1) })),
    (.textEncoder, ("text_encoders/umt5_xxl_fp16.safetensors", safetensors { prefixed("model.", $0) })),
    (
      .audioEncoder,
      (
        "wav2vec2-base-960h/model.safetensors",
        safetensors {
          renamed(prefixed("module.wav2vec2.", $0)) {
            $0.replacing("conv.weight_g", with: "conv.parametrizations.weight.original0")
              .replacing("conv.weight_v", with: "conv.parametrizations.weight.original1")
          }
        }
      )
    ),
    (.audioEncoder, ("wav2vec2/pytorch_model.bin", { try writePickle(prefixed("model.", $0), to: $1) })),
  ]

  @Test(arguments: layouts.indices)
  func `every layout gives the same numbers`(index: Int) throws {
    let (part, layout) = Self.layouts[index]
    let checkpoint = try TinyCheckpoint()
    let original = try checkpoint.weights(part)
    try checkpoint.replace(part, by: layout.name) { try layout.write(original, $0) }
    let folder = try checkpoint.open()
    #expect(try folder.require(part).path.hasSuffix(layout.name))
    let read = try folder.weights(part)
    #expect(read.keys.sorted() == original.keys.sorted())
    for (key, tensor) in original {
      let found = try #require(read[key])
      #expect(found.dtype == tensor.dtype && found.equals(tensor), "\(key)")
    }
    try folder.verifyWeights()
    let inspection = CheckpointInspection(of: folder)
    #expect(inspection.complete, "\(inspection.items.compactMap(\.problem))")
  }

  @Test func `inspection says which dictionary of a training's checkpoint is read`() throws {
    let checkpoint = try TinyCheckpoint()
    let weights = try checkpoint.weights(.transformer)
    try checkpoint.replace(.transformer, by: "model.pt") {
      try writeNestedPickle([("generator", weights), ("generator_ema", weights), ("critic", weights)], to: $0)
    }
    let items = CheckpointInspection(of: try checkpoint.open()).items
    #expect(items.first { $0.part == "transformer" }?.format == "PyTorch, its 'generator_ema'")
  }

  @Test func `dictionaries without a known name are refused by their names`() throws {
    let checkpoint = try TinyCheckpoint()
    let weights = try checkpoint.weights(.transformer)
    try checkpoint.replace(.transformer, by: "model.pt") {
      try writeNestedPickle((0..<7).map { ("net\($0)", weights) }, to: $0)
    }
    let text = refusal { _ = try checkpoint.open().weights(.transformer) }
    #expect(text.contains("'net0', 'net1'") && text.contains("and 2 more") && text.contains("save that of the model"))
  }

  @Test func `Live Avatar is known by its adapter where its files lie in one folder`() throws {
    let checkpoint = try TinyCheckpoint(liveAvatar: true)
    let weights = try checkpoint.weights(.transformer)
    let config = try Data(contentsOf: checkpoint.file(.transformerConfiguration))
    let adapter = try readWeights(checkpoint.file(.adapter)).mapValues { $0.clone() }
    let parts: [CheckpointFolder.Part] = [.vae, .textEncoder, .audioEncoder, .audioConfiguration, .tokenizer]
    let others = try parts.map { ($0, try Data(contentsOf: checkpoint.file($0))) }
    try FileManager.default.removeItem(at: checkpoint.root.appendingPathComponent("Wan2.2-S2V-14B"))
    try FileManager.default.removeItem(at: checkpoint.root.appendingPathComponent("LiveAvatar"))
    try writeSafetensors(weights, to: checkpoint.root.appendingPathComponent("diffusion_pytorch_model.safetensors"))
    try writeSafetensors(adapter, to: checkpoint.root.appendingPathComponent("liveavatar.safetensors"))
    try config.write(to: checkpoint.root.appendingPathComponent("config.json"))
    for (part, data) in others {
      let name = try #require(ModelFamily.liveAvatar.file(part).otherNames.last)
      let file = checkpoint.root.appendingPathComponent(
        part == .vae
          ? "Wan2.1_VAE.pth"
          : part == .textEncoder
            ? "models_t5_umt5-xxl-enc-bf16.pth"
            : part == .audioEncoder ? "wav2vec2-large-xlsr-53-english/model.safetensors" : name)
      try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try data.write(to: file)
    }
    let folder = try checkpoint.open()
    #expect(folder.family.kind == .liveAvatar)
    try folder.requireAll()
    try folder.verifyWeights()
  }

  @Test func `a transformer without layers for sound says what it is and what to do`() throws {
    let checkpoint = try TinyCheckpoint()
    let plain = try checkpoint.weights(.transformer).filter { !$0.key.hasPrefix("audio_") }
    try checkpoint.write(plain, to: .transformer)
    let text = refusal { try checkpoint.open().verifyWeights() }
    #expect(text.contains("model.safetensors: it is a Wan transformer without LiveTalk's layers for sound"))
    #expect(text.contains("checkpoint merge"))
  }

  // MARK: Adapters

  private func adapter(_ base: [String: Tensor], seed: UInt64) -> [String: Tensor] {
    let generator = RandomGenerator(seed: seed)
    var tensors: [String: Tensor] = [:]
    for (key, weight) in base.sorted(by: { $0.key < $1.key })
    where key.hasSuffix("attn.q.weight") || key.hasSuffix("ffn.2.weight") {
      let layer = WanDiffusersKeys.theirs(ofTransformer: String(key.dropLast(".weight".count)))
      tensors["transformer.\(layer).lora_A.weight"] = generator.normal([2, weight.size(1)])
      tensors["transformer.\(layer).lora_B.weight"] = generator.normal([weight.size(0), 2])
    }
    return tensors
  }

  @Test func `adapters at run time give the video of the merged weights`() throws {
    let checkpoint = try TinyCheckpoint()
    let base = try checkpoint.weights(.transformer)
    let file = URL(fileURLWithPath: "/a.safetensors")
    let adapters = [
      try LoRAAdapter(adapter(base, seed: 1), file: file, strength: 0.5),
      try LoRAAdapter(adapter(base, seed: 2), file: file),
    ]
    func latents(_ folder: CheckpointFolder) throws -> Tensor {
      try withInferenceMode {
        let models = try AvatarModels(loading: folder, device: .cpu, dtype: .float32)
        let generator = RandomGenerator(seed: 3)
        let session = try models.session(
          referenceLatent: generator.normal([1, 16, 1, 8, 8]), text: generator.normal([1, 4, 64]),
          options: SessionOptions(steps: 2))
        return session.denoise(audioFeatures: generator.normal([1, 9, 192]))
      }
    }
    let plain = try latents(checkpoint.open())
    var folder = try checkpoint.open()
    folder.adapters = adapters
    let atRunTime = try latents(folder)
    let merging = try LoRAAdapter.Merging(adapters, into: base)
    try checkpoint.write(
      try Dictionary(uniqueKeysWithValues: merging.layout.map { ($0.name, try merging.tensor($0.name)) }),
      to: .transformer)
    // Where in memory a weight lies changes the order of sums.
    #expect(try latents(checkpoint.open()).maxAbsDifference(atRunTime) < 1e-4)
    #expect(plain.maxAbsDifference(atRunTime) > 1e-2)
  }

  @Test func `an adapter that would change the model's shape is refused at run time`() throws {
    let checkpoint = try TinyCheckpoint()
    var tensors = adapter(try checkpoint.weights(.transformer), seed: 1)
    tensors["extra.weight"] = Tensor.zeros([2])
    var folder = try checkpoint.open()
    folder.adapters = [try LoRAAdapter(tensors, file: URL(fileURLWithPath: "/a.safetensors"))]
    let text = refusal { _ = try folder.loadTransformer() }
    #expect(
      text.contains("/a.safetensors: it holds 1 tensors that the base has not") && text.contains("'extra.weight'"))
  }
}
