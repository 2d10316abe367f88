import Foundation
import NN
import Testing
import Torch

@testable import Models

/// Names as diffusers gives them: its conversion of the original files, step for step.
enum Diffusers {
  /// In this order; each replaces every occurrence.
  private static let transformerRenames = [
    ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    ("time_projection.1", "condition_embedder.time_proj"), ("head.modulation", "scale_shift_table"),
    ("head.head", "proj_out"), ("modulation", "scale_shift_table"), ("ffn.0", "ffn.net.0.proj"), ("ffn.2", "ffn.net.2"),
    ("norm2", "norm__placeholder"), ("norm3", "norm2"), ("norm__placeholder", "norm3"), ("self_attn.q", "attn1.to_q"),
    ("self_attn.k", "attn1.to_k"), ("self_attn.v", "attn1.to_v"), ("self_attn.o", "attn1.to_out.0"),
    ("self_attn.norm_q", "attn1.norm_q"), ("self_attn.norm_k", "attn1.norm_k"), ("cross_attn.q", "attn2.to_q"),
    ("cross_attn.k", "attn2.to_k"), ("cross_attn.v", "attn2.to_v"), ("cross_attn.o", "attn2.to_out.0"),
    ("cross_attn.norm_q", "attn2.norm_q"), ("cross_attn.norm_k", "attn2.norm_k"),
  ]

  static func transformer(_ key: String) -> String {
    transformerRenames.reduce(key) { $0.replacingOccurrences(of: $1.0, with: $1.1) }
  }

  private static let residual = [
    ("residual.0.", "norm1."), ("residual.2.", "conv1."), ("residual.3.", "norm2."), ("residual.6.", "conv2."),
    ("shortcut.", "conv_shortcut."),
  ]
  private static func inner(_ rest: String) -> String {
    residual.reduce(rest) { $0.hasPrefix($1.0) ? $1.1 + $0.dropFirst($1.0.count) : $0 }
  }

  /// - Parameter nested: whether it is that of Wan 2.2, whose levels have lists of their own.
  static func vae(_ key: String, nested: Bool) -> String {
    let parts = key.split(separator: ".").map(String.init)
    func rest(_ from: Int) -> String { parts[from...].joined(separator: ".") }
    switch (parts[0], parts.count > 1 ? parts[1] : "") {
    case ("conv1", _): return "quant_conv.\(rest(1))"
    case ("conv2", _): return "post_quant_conv.\(rest(1))"
    case (let side, "conv1"): return "\(side).conv_in.\(rest(2))"
    case (let side, "head"): return parts[2] == "0" ? "\(side).norm_out.\(rest(3))" : "\(side).conv_out.\(rest(3))"
    case (let side, "middle"):
      let place = parts[2] == "1" ? "attentions.0" : "resnets.\(parts[2] == "0" ? 0 : 1)"
      return "\(side).mid_block.\(place).\(inner(rest(3)))"
    case ("encoder", "downsamples") where nested:
      let isStep = parts[5] == "resample" || parts[5] == "time_conv"
      return "encoder.down_blocks.\(parts[2])."
        + (isStep ? "downsampler.\(rest(5))" : "resnets.\(parts[4]).\(inner(rest(5)))")
    case ("encoder", "downsamples"): return "encoder.down_blocks.\(parts[2]).\(inner(rest(3)))"
    case ("decoder", "upsamples") where nested:
      let isStep = parts[5] == "resample" || parts[5] == "time_conv"
      return "decoder.up_blocks.\(parts[2])."
        + (isStep ? "upsampler.\(rest(5))" : "resnets.\(parts[4]).\(inner(rest(5)))")
    case ("decoder", "upsamples"):
      // Three residual blocks of the published model and a step.
      let index = Int(parts[2]) ?? 0
      return "decoder.up_blocks.\(index / 4)."
        + (index % 4 == 3 ? "upsamplers.0.\(rest(3))" : "resnets.\(index % 4).\(inner(rest(3)))")
    default: return key
    }
  }
}

@Suite struct ModelKeysTests {
  private let file = URL(fileURLWithPath: "/w/model.safetensors")

  private func keys(_ build: (ParameterPath) throws -> Void) rethrows -> [String] {
    let store = ParameterStore.shapes()
    try build(store.root)
    return store.layout.map(\.name)
  }

  /// Weights that are told apart by their value.
  private func numbered(_ keys: [String]) -> [String: Tensor] {
    Dictionary(uniqueKeysWithValues: keys.enumerated().map { ($1, Tensor([Float($0)])) })
  }

  private func expectSame(_ read: [String: Tensor], _ original: [String: Tensor]) {
    #expect(read.keys.sorted() == original.keys.sorted())
    for (key, tensor) in original { #expect(read[key]?.equals(tensor) == true, "\(key)") }
  }

  @Test func `every key of the published transformer comes back from diffusers' name for it`() throws {
    let original = numbered(try keys { _ = try WanTransformer(.livetalk1_3B, $0) })
    #expect(original.count == 857)
    let theirs = Dictionary(uniqueKeysWithValues: original.map { (Diffusers.transformer($0), $1) })
    #expect(theirs["blocks.29.attn2.to_out.0.bias"] != nil && theirs["blocks.3.norm2.weight"] != nil)
    #expect(theirs["scale_shift_table"] != nil && theirs["proj_out.weight"] != nil)
    expectSame(try ModelKeys.transformer.ours(theirs, file), original)
    for key in original.keys { #expect(WanDiffusersKeys.theirs(ofTransformer: key) == Diffusers.transformer(key)) }
  }

  @Test(arguments: [false, true])
  func `every key of the published autoencoders comes back from diffusers' name for it`(nested: Bool) throws {
    let original = numbered(keys { _ = WanVAE(nested ? .wan22 : .wan21, $0) })
    let theirs = Dictionary(uniqueKeysWithValues: original.map { (Diffusers.vae($0, nested: nested), $1) })
    #expect(theirs.count == original.count && theirs["decoder.up_blocks.1.resnets.0.conv1.weight"] != nil)
    #expect(theirs["\(nested ? "encoder.down_blocks.1.downsampler" : "encoder.down_blocks.5").time_conv.weight"] != nil)
    expectSame(try ModelKeys.vae.ours(theirs, file), original)
  }

  @Test func `a text encoder comes back from the names of the transformers library`() throws {
    let sizes = UMT5Configuration(
      vocabulary: 8, width: 4, attentionWidth: 4, feedForwardWidth: 8, heads: 2, layers: 2, buckets: 8)
    let original = numbered(keys { _ = UMT5Encoder(sizes, $0) })
    let names = [
      "norm1": "layer.0.layer_norm", "attn.q": "layer.0.SelfAttention.q", "attn.k": "layer.0.SelfAttention.k",
      "attn.v": "layer.0.SelfAttention.v", "attn.o": "layer.0.SelfAttention.o",
      "pos_embedding.embedding": "layer.0.SelfAttention.relative_attention_bias", "norm2": "layer.1.layer_norm",
      "ffn.gate.0": "layer.1.DenseReluDense.wi_0", "ffn.fc1": "layer.1.DenseReluDense.wi_1",
      "ffn.fc2": "layer.1.DenseReluDense.wo",
    ]
    var theirs = [
      "shared.weight": original["token_embedding.weight"], "encoder.final_layer_norm.weight": original["norm.weight"],
    ]
    for layer in 0..<2 {
      for (ours, name) in names {
        theirs["encoder.block.\(layer).\(name).weight"] = original["blocks.\(layer).\(ours).weight"]
      }
    }
    theirs["encoder.embed_tokens.weight"] = theirs["shared.weight"]
    theirs["spiece_model"] = Tensor([1, 2] as [UInt8])
    expectSame(try ModelKeys.textEncoder.ours(theirs.compactMapValues { $0 }, file), original)
  }

  @Test(arguments: [
    "module.", "_fsdp_wrapped_module.", "_orig_mod.", "model.", "model.diffusion_model.", "diffusion_model.",
    "module._orig_mod.", "generator._fsdp_wrapped_module.model.", "pipe.dit.", "student.",
  ])
  func `what wrappers put before keys is taken away`(prefix: String) throws {
    let original = numbered(["patch_embedding.weight", "blocks.0.self_attn.q.weight", "blocks.0.modulation"])
    expectSame(
      try ModelKeys.transformer.ours(Dictionary(uniqueKeysWithValues: original.map { (prefix + $0, $1) }), file),
      original)
    let inside = original.map { ($0.replacingOccurrences(of: "blocks.0.", with: "blocks.0._fsdp_wrapped_module."), $1) }
    expectSame(try ModelKeys.transformer.ours(Dictionary(uniqueKeysWithValues: inside), file), original)
  }

  @Test func `of a whole checkpoint of ComfyUI the transformer is taken, of one of distillation the average`() throws {
    let original = numbered(["patch_embedding.weight", "blocks.0.modulation"])
    var whole = Dictionary(uniqueKeysWithValues: original.map { ("model.diffusion_model.\($0)", $1) })
    whole["first_stage_model.encoder.conv1.weight"] = Tensor([7])
    whole["cond_stage_model.token_embedding.weight"] = Tensor([8])
    expectSame(try ModelKeys.transformer.ours(whole, file), original)
    var several: [String: Tensor] = [:]
    for (key, tensor) in original {
      several["generator_ema.model.\(key)"] = tensor
      several["generator.model.\(key)"] = tensor + 1
      several["critic.model.\(key)"] = tensor + 2
    }
    expectSame(try ModelKeys.transformer.ours(several, file), original)
  }

  private func refusal(_ keys: ModelKeys, _ weights: [String: Tensor]) -> String {
    do {
      _ = try keys.ours(weights, file)
      return ""
    } catch { return "\(error)" }
  }

  @Test func `what is no such model is refused with what was found and what to do`() {
    let lora = refusal(.transformer, ["blocks.0.self_attn.q.lora_A.weight": Tensor([1])])
    #expect(lora.contains("/w/model.safetensors") && lora.contains("LoRA adapter") && lora.contains("checkpoint merge"))
    let other = refusal(.vae, Dictionary(uniqueKeysWithValues: (0..<900).map { ("layer.\($0).weight", Tensor([1])) }))
    #expect(
      other.contains("900 tensors ('layer.0.weight'") && other.contains("no Wan autoencoder") && other.count < 400)
    #expect(
      refusal(.transformer, ["a.patch_embedding.weight": Tensor([1]), "b.patch_embedding.weight": Tensor([1])])
        .contains("several models (a., b.)"))
    #expect(
      refusal(.transformer, ["patch_embedding.weight": Tensor([1]), "blocks.0.ffn.0.weight.absmax": Tensor([1])])
        .contains("quantised"))
    #expect(
      refusal(.transformer, ["patch_embedding.weight": Tensor([1]), "x": Tensor([1]), "_orig_mod.x": Tensor([1])])
        .contains("mean the parameter 'x'"))
  }

  @Test(arguments: ["scale_weight", "weight_scale"])
  func `scaled numbers of 8 bits are the product of both`(name: String) throws {
    let values = RandomGenerator(seed: 1).normal([4, 6])
    let bits = values.to(.float8E4M3)
    let read = try ModelKeys.transformer.ours(
      [
        "patch_embedding.weight": Tensor([1]), "scaled_fp8": Tensor.zeros([2], .float8E4M3), "blocks.0.q.weight": bits,
        "blocks.0.q.\(name)": Tensor([0.25]), "blocks.0.q.scale_input": Tensor([3]), "blocks.0.q.bias": Tensor([5]),
        "blocks.0.k.weight": bits, "blocks.0.k.\(name)": Tensor([1, 2, 3, 4] as [Float]),
      ], file)
    #expect(
      read.keys.sorted() == ["blocks.0.k.weight", "blocks.0.q.bias", "blocks.0.q.weight", "patch_embedding.weight"])
    #expect(try #require(read["blocks.0.q.weight"]).equals((bits.to(.float32) * 0.25).to(.bfloat16)))
    let rows = Tensor([1, 2, 3, 4] as [Float], [4, 1])
    #expect(try #require(read["blocks.0.k.weight"]).equals((bits.to(.float32) * rows).to(.bfloat16)))
    #expect(
      refusal(
        .transformer,
        ["patch_embedding.weight": Tensor([1]), "a.weight": bits, "a.\(name)": Tensor([1, 2] as [Float])]
      )
      .contains("the scale of 'a.weight' has the shape [2]"))
  }
}
