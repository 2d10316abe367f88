/// The spellings of wav2vec2 checkpoints. Ours is that of the bare encoder with the older names of the weight norm.
package enum Wav2Vec2Keys {
  /// Before every key in files with a head for recognition.
  package static let prefix = "wav2vec2."

  /// Other spelling → ours, as the end of a key.
  private static let renames = [
    ("pos_conv_embed.conv.parametrizations.weight.original0", "pos_conv_embed.conv.weight_g"),
    ("pos_conv_embed.conv.parametrizations.weight.original1", "pos_conv_embed.conv.weight_v"),
  ]

  /// The head for recognition, and what training puts in place of masked features: neither takes part in encoding.
  package static let ignored = ["lm_head.", "masked_spec_embed"]

  static func ours(_ key: String) -> String {
    let key = key.hasPrefix(prefix) ? String(key.dropFirst(prefix.count)) : key
    for (other, name) in renames where key.hasSuffix(other) { return key.dropLast(other.count) + name }
    return key
  }
}
