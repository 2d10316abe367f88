/// The keys that the transformers library gives umT5; ours are those of Wan's file.
enum UMT5Keys {
  private static let inLayer = [
    "layer.0.layer_norm": "norm1", "layer.0.SelfAttention.q": "attn.q", "layer.0.SelfAttention.k": "attn.k",
    "layer.0.SelfAttention.v": "attn.v", "layer.0.SelfAttention.o": "attn.o",
    "layer.0.SelfAttention.relative_attention_bias": "pos_embedding.embedding", "layer.1.layer_norm": "norm2",
    "layer.1.DenseReluDense.wi_0": "ffn.gate.0", "layer.1.DenseReluDense.wi_1": "ffn.fc1",
    "layer.1.DenseReluDense.wo": "ffn.fc2",
  ]
  private static let outside = [
    "shared.weight": "token_embedding.weight", "encoder.final_layer_norm.weight": "norm.weight",
  ]

  static func isTheirs(_ keys: some Sequence<String>) -> Bool { keys.contains("shared.weight") }

  /// Our key of theirs; nil for what encoding does not need: the table of words under its second name, the decoder, and the tokeniser
  /// that ComfyUI's files carry.
  static func ours(_ key: String) -> String? {
    if let name = outside[key] { return name }
    if key == "encoder.embed_tokens.weight" || key == "spiece_model" { return nil }
    if key.hasPrefix("decoder.") || key.hasPrefix("lm_head.") { return nil }
    let parts = key.split(separator: ".", maxSplits: 3)
    guard parts.count == 4, key.hasPrefix("encoder.block."), parts[3].hasSuffix(".weight"),
      let name = inLayer[String(parts[3].dropLast(".weight".count))]
    else { return key }
    return "blocks.\(parts[2]).\(name).weight"
  }
}
