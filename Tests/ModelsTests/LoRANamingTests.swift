import Foundation
import Models
import Testing
import Torch

/// An adapter of three layers in every naming that is in use.
@Suite struct LoRANamingTests {
  private static func normal(_ shape: [Int], _ seed: UInt64) -> Tensor { RandomGenerator(seed: seed).normal(shape) }

  private static let layers = ["blocks.0.self_attn.q", "blocks.1.cross_attn.o", "blocks.1.ffn.0"]
  private static let base: [String: Tensor] = layers.enumerated().reduce(into: ["head.head.weight": normal([3, 4], 90)])
  {
    $0["\($1.element).weight"] = normal([6, 4], UInt64($1.offset))
    $0["\($1.element).bias"] = normal([6], UInt64($1.offset) + 20)
  }
  private static let factors: [(a: Tensor, b: Tensor)] = layers.indices.map {
    (normal([2, 4], UInt64($0) + 40), normal([6, 2], UInt64($0) + 60))
  }
  private let file = URL(fileURLWithPath: "/a/adapter.safetensors")

  /// Every layer's A and B under names.
  private static func named(_ a: (String) -> String, _ b: (String) -> String) -> [String: Tensor] {
    zip(layers, factors).reduce(into: [:]) {
      $0[a($1.0)] = $1.1.a
      $0[b($1.0)] = $1.1.b
    }
  }

  /// What merging must give where every layer's product is multiplied with a number.
  private static func merged(_ scales: [Double], _ strength: Double = 1) -> [String: Tensor] {
    zip(layers, zip(factors, scales)).reduce(into: base) { result, entry in
      let (layer, ((a, b), scale)) = (entry.0, entry.1)
      result["\(layer).weight"] = result["\(layer).weight"].map { $0 + b.matmul(a) * (strength * scale) }
    }
  }

  private func expectSame(_ adapter: LoRAAdapter, _ expected: [String: Tensor], _ name: String = "") throws {
    let merging = try LoRAAdapter.Merging([adapter], into: Self.base)
    #expect(merging.layout.map(\.name) == expected.keys.sorted())
    for (key, tensor) in expected { #expect(try merging.tensor(key).equals(tensor), "\(name) \(key)") }
  }

  static let namings: [(String, [String: Tensor])] = [
    ("peft", named({ "base_model.model.\($0).lora_A.weight" }, { "base_model.model.\($0).lora_B.weight" })),
    ("peft in memory", named({ "\($0).lora_A.default.weight" }, { "\($0).lora_B.default.weight" })),
    ("another adapter's name", named({ "\($0).lora_A.style.weight" }, { "\($0).lora_B.style.weight" })),
    (
      "diffusers",
      named(
        { "transformer.\(Diffusers.transformer($0)).lora_A.weight" },
        { "transformer.\(Diffusers.transformer($0)).lora_B.weight" })
    ),
    ("older diffusers", named({ "transformer.\($0).lora.down.weight" }, { "transformer.\($0).lora.up.weight" })),
    ("ComfyUI", named({ "diffusion_model.\($0).lora_A.weight" }, { "diffusion_model.\($0).lora_B.weight" })),
    ("down and up", named({ "diffusion_model.\($0).lora_down.weight" }, { "diffusion_model.\($0).lora_up.weight" })),
    (
      "kohya",
      named(
        { "lora_unet_\($0.replacing(".", with: "_")).lora_down.weight" },
        { "lora_unet_\($0.replacing(".", with: "_")).lora_up.weight" })
    ),
    (
      "kohya with diffusers' layers",
      named(
        { "lora_transformer_\(Diffusers.transformer($0).replacing(".", with: "_")).lora_down.weight" },
        { "lora_transformer_\(Diffusers.transformer($0).replacing(".", with: "_")).lora_up.weight" })
    ),
    (
      "FSDP",
      named(
        { "module._fsdp_wrapped_module.\($0).lora_A.default.weight" },
        { "module._fsdp_wrapped_module.\($0).lora_B.default.weight" })
    ),
    ("the model", named({ "pipe.dit.\($0).lora_A.default.weight" }, { "pipe.dit.\($0).lora_B.default.weight" })),
  ]

  @Test(arguments: namings.indices)
  func `every naming gives the same numbers`(index: Int) throws {
    let (name, tensors) = Self.namings[index]
    try expectSame(LoRAAdapter(tensors, file: file, alpha: 3), Self.merged([1.5, 1.5, 1.5]), name)
    try expectSame(
      LoRAAdapter(tensors, file: file, alpha: 3, strength: -0.5), Self.merged([1.5, 1.5, 1.5], -0.5), name)
    // Each layer's own alpha, as kohya's tools write it beside the factors.
    var own = tensors
    for (number, key) in tensors.keys.sorted().filter({ $0.contains("lora_A") || $0.contains("down") }).enumerated() {
      let layer = key.components(separatedBy: ".lora")[0]
      own["\(layer).alpha"] = Tensor(Float(number + 1))
    }
    let order = tensors.keys.sorted().filter { $0.contains("lora_A") || $0.contains("down") }
    let scales = Self.factors.map { factor in
      Double((order.firstIndex { tensors[$0]?.equals(factor.a) == true } ?? 0) + 1) / 2
    }
    try expectSame(LoRAAdapter(own, file: file), Self.merged(scales), name)
  }

  @Test func `without any alpha the scale is 1, but not in PEFT's files, which leave it to their settings`() throws {
    for (name, tensors) in Self.namings {
      let isPEFT = name.hasPrefix("peft") || ["another adapter's name", "FSDP", "the model"].contains(name)
      guard isPEFT else {
        try expectSame(LoRAAdapter(tensors, file: file), Self.merged([1, 1, 1]), name)
        continue
      }
      let error = #expect(throws: FileErrorText.self) { try text { try LoRAAdapter(tensors, file: file) } }
      #expect(error?.text.contains("scale is not known") == true, "\(name)")
    }
  }

  private struct FileErrorText: Error { let text: String }
  private func text<Result>(_ body: () throws -> Result) throws -> Result {
    do { return try body() } catch { throw FileErrorText(text: "\(error)") }
  }

  // MARK: Settings

  private func adapter(_ settings: String, _ naming: Int = 0) throws -> LoRAAdapter {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("lora-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try writeSafetensors(Self.namings[naming].1, to: folder.appendingPathComponent("adapter_model.safetensors"))
    try Data(settings.utf8).write(to: folder.appendingPathComponent("adapter_config.json"))
    return try LoRAAdapter(contentsOf: folder)
  }

  @Test func `the scale is what PEFT's settings say of a layer`() throws {
    try expectSame(adapter(#"{"peft_type": "LORA", "r": 2, "lora_alpha": 8}"#), Self.merged([4, 4, 4]))
    try expectSame(
      adapter(#"{"r": 2, "lora_alpha": 8, "use_rslora": true}"#),
      Self.merged([Double](repeating: 8 / 2.0.squareRoot(), count: 3)))
    try expectSame(
      adapter(#"{"r": 2, "lora_alpha": 8, "alpha_pattern": {"self_attn.q": 2, "blocks.1.ffn.[02]": 6}}"#),
      Self.merged([1, 4, 3]))
    try expectSame(
      adapter(#"{"r": 16, "lora_alpha": 8, "rank_pattern": {"q": 2, "o": 2, "ffn.0": 2}}"#), Self.merged([4, 4, 4]))
  }

  @Test func `diffusers' settings in a file's metadata count`() throws {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("lora-\(UUID().uuidString).safetensors")
    defer { try? FileManager.default.removeItem(at: file) }
    try writeSafetensors(
      Self.namings[3].1, metadata: ["lora_adapter_metadata": #"{"transformer.r": 2, "transformer.lora_alpha": 5}"#],
      to: file)
    try expectSame(LoRAAdapter(contentsOf: file), Self.merged([2.5, 2.5, 2.5]))
  }

  @Test(arguments: [
    (#"{"r": 2, "lora_alpha": 1e400}"#, "adapter_config.json"),
    (#"{"r": 2, "lora_alpha": "x"}"#, "'lora_alpha' is not a finite"),
    (#"{"r": 2, "lora_alpha": true}"#, "'lora_alpha' is not a finite"),
    (#"{"r": 0, "lora_alpha": 1}"#, "'r' is not a rank"),
    (#"{"r": -4, "lora_alpha": 1}"#, "'r' is not a rank"), (#"{"r": 1e18, "lora_alpha": 1}"#, "'r' is not a"),
    (#"{"r": 2.5, "lora_alpha": 1}"#, "'r' is not a rank"),
    (#"{"r": 3, "lora_alpha": 1}"#, "has rank 2, and the settings say 3"),
    (#"{"r": 2, "lora_alpha": 1, "use_dora": true}"#, "DoRA"),
    (#"{"r": 2, "lora_alpha": 1, "peft_type": "LOHA"}"#, "kind LOHA"),
    (#"{"r": 2, "lora_alpha": 1, "init_lora_weights": "pissa"}"#, "changed the base too"),
    (#"{"r": 2, "lora_alpha": 1, "alpha_pattern": {"(": 2}}"#, "no regular expression"),
    (#"{"r": 2, "lora_alpha": 1, "rank_pattern": {"q": -9223372036854775808}}"#, "'rank_pattern' is not a"),
    ("[", "holds no settings"),
  ])
  func `settings that cannot be are refused`(json: String, reason: String) {
    let error = #expect(throws: FileErrorText.self) {
      try text { _ = try LoRAAdapter.Merging([try adapter(json)], into: Self.base) }
    }
    #expect(error?.text.contains(reason) == true, "\(error?.text ?? "")")
  }

  // MARK: What is refused

  private func refusal(_ tensors: [String: Tensor], alpha: Double? = 1) -> String {
    do {
      _ = try LoRAAdapter.Merging([try LoRAAdapter(tensors, file: file, alpha: alpha)], into: Self.base)
      return ""
    } catch { return "\(error)" }
  }

  @Test func `values and scales that are not finite are refused before anything is made`() throws {
    let sound = Self.namings[5].1
    for value in [Double.nan, .infinity, -.infinity] {
      for key in sound.keys {
        var broken = sound
        broken[key] = broken[key].map { $0.maskedFill($0 .== $0.max(), value) }
        #expect(refusal(broken).contains("'\(key)' holds values that are not finite"))
      }
      var scaled = sound
      scaled["diffusion_model.blocks.0.self_attn.q.alpha"] = Tensor(Float(value))
      #expect(refusal(scaled, alpha: nil).contains("not finite"))
      #expect(refusal(sound, alpha: value).contains("not a finite number"))
    }
  }

  @Test func `an adapter of another model is refused with five of its keys and the number of the others`() {
    let foreign = (0..<40).reduce(into: [String: Tensor]()) {
      $0["transformer.layers.\($1).mlp.lora_A.weight"] = Tensor.ones([2, 4])
      $0["transformer.layers.\($1).mlp.lora_B.weight"] = Tensor.ones([4, 2])
    }
    let text = refusal(foreign)
    #expect(text.contains("/a/adapter.safetensors: it is an adapter of another model") && text.contains("and 35 more"))
    #expect(text.components(separatedBy: "the base has no").count == 6 && text.count < 500)
    let wide = Self.layers.reduce(into: [String: Tensor]()) {
      $0["\($1).lora_A.weight"] = Tensor.ones([2, 8])
      $0["\($1).lora_B.weight"] = Tensor.ones([12, 2])
    }
    #expect(
      refusal(wide).contains("another model")
        && refusal(wide).contains("do not fit 'blocks.0.self_attn.q.weight' [6, 4]"))
  }

  @Test(arguments: [
    ("x.dora_scale", "DoRA"), ("x.hada_w1_a", "LoHa"), ("x.lokr_w1", "LoKr"),
    ("x.lora_magnitude_vector.default.weight", "DoRA"),
    ("x.lora_embedding_A.default", "LoRA of an embedding"),
  ])
  func `other kinds of adapters are refused by their names`(key: String, kind: String) {
    var tensors = Self.namings[5].1
    tensors[key] = Tensor.ones([2, 2])
    #expect(refusal(tensors).contains("of the kind \(kind)"))
  }

  @Test func `halves, doubles and an alpha alone are refused`() {
    var half = Self.namings[5].1
    half["diffusion_model.blocks.0.self_attn.q.lora_B.weight"] = nil
    #expect(refusal(half).contains("'blocks.0.self_attn.q' has only one of its two factors"))
    var twice = Self.namings[5].1
    twice["blocks.0.self_attn.q.lora_down.weight"] = Tensor.ones([2, 4])
    #expect(refusal(twice).contains("factors of 'blocks.0.self_attn.q' twice"))
    #expect(
      refusal(["blocks.0.self_attn.q.alpha": Tensor(Float(1))]).contains(
        "alpha of 'blocks.0.self_attn.q' and no factors"))
  }

  @Test func `changes of whole weights and biases are added by strength`() throws {
    let (weight, bias) = (Self.normal([3, 4], 1), Self.normal([6], 2))
    let adapter = try LoRAAdapter(
      ["diffusion_model.head.head.diff": weight, "diffusion_model.blocks.1.ffn.0.diff_b": bias], file: file,
      strength: 0.5)
    var expected = Self.base
    expected["head.head.weight"] = expected["head.head.weight"].map { $0 + weight * 0.5 }
    expected["blocks.1.ffn.0.bias"] = expected["blocks.1.ffn.0.bias"].map { $0 + bias * 0.5 }
    try expectSame(adapter, expected)
  }

  @Test func `several adapters are one sum, rounded once`() throws {
    let base = Self.base.mapValues { $0.to(.bfloat16) }
    let (first, second) = (
      try LoRAAdapter(Self.namings[5].1, file: file, alpha: 3),
      try LoRAAdapter(Self.namings[7].1, file: file, alpha: 1, strength: 0.5)
    )
    let merging = try LoRAAdapter.Merging([first, second], into: base)
    for (layer, (a, b)) in zip(Self.layers, Self.factors) {
      let exact = try #require(base["\(layer).weight"]).to(.float32) + b.matmul(a) * 1.5 + b.matmul(a) * 0.25
      #expect(try merging.tensor("\(layer).weight").equals(exact.to(.bfloat16)))
    }
  }

  @Test func `an adapter without effect is known as one`() throws {
    #expect(try !LoRAAdapter(Self.namings[5].1, file: file).changesNothing)
    #expect(try LoRAAdapter(Self.namings[5].1, file: file, strength: 0).changesNothing)
    let zero = Self.namings[5].1.mapValues { $0.shape[0] == 6 ? Tensor.zeros($0.shape) : $0 }
    #expect(try LoRAAdapter(zero, file: file).changesNothing)
  }
}
