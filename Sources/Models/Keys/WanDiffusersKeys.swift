/// The keys that the diffusers library gives Wan's models, and the original ones, which are ours.
///
/// Source: scripts/convert_wan_to_diffusers.py, which renames the original files for it; this is the way back.
package enum WanDiffusersKeys {
  private typealias Name = (ours: String, theirs: String)

  /// In a transformer, behind `blocks.N.`.
  private static let layer: [Name] =
    [("self_attn", "attn1"), ("cross_attn", "attn2")].flatMap { ours, theirs in
      [("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"), ("norm_q", "norm_q"), ("norm_k", "norm_k")].map {
        (ours: "\(ours).\($0.0)", theirs: "\(theirs).\($0.1)")
      }
    } + [
      ("ffn.0", "ffn.net.0.proj"), ("ffn.2", "ffn.net.2"), ("modulation", "scale_shift_table"),
      // Of the three norms of a layer only this one has weights; diffusers numbers them in the order in which they are called.
      ("norm3", "norm2"),
    ]

  /// In a transformer, outside its layers.
  private static let outside: [Name] = [
    ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    ("time_projection.1", "condition_embedder.time_proj"), ("head.modulation", "scale_shift_table"),
    ("head.head", "proj_out"),
  ]

  private static func renamed(_ key: String, _ from: KeyPath<Name, String>, _ to: KeyPath<Name, String>) -> String {
    var (head, rest, names) = ("", key[...], outside)
    let parts = key.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
    if parts.count == 3, parts[0] == "blocks" { (head, rest, names) = ("blocks.\(parts[1]).", parts[2], layer) }
    for name in names where rest == name[keyPath: from] || rest.hasPrefix(name[keyPath: from] + ".") {
      return head + name[keyPath: to] + rest.dropFirst(name[keyPath: from].count)
    }
    return key
  }

  /// Our key of a transformer's; those that only we have, the audio layers', stay.
  package static func ours(ofTransformer key: String) -> String { renamed(key, \.theirs, \.ours) }

  /// Diffusers' key of one of ours.
  package static func theirs(ofTransformer key: String) -> String { renamed(key, \.ours, \.theirs) }

  /// Whether a transformer has diffusers' keys.
  static func isTransformer(_ keys: some Sequence<String>) -> Bool {
    keys.contains { $0.hasPrefix("condition_embedder.") || $0.hasPrefix("blocks.0.attn1.") }
  }

  /// Whether an autoencoder has diffusers' keys.
  static func isVAE(_ keys: some Sequence<String>) -> Bool { keys.contains { $0.hasPrefix("encoder.conv_in.") } }

  /// Our keys of an autoencoder's.
  ///
  /// The original numbers the layers of all levels in one list, or in Wan 2.2 those of a level in a list with the step to the next level
  /// at its end; diffusers has residual blocks ("resnets") and that step apart.
  struct VAE {
    /// Whether the encoder has a list for each level, as in Wan 2.2.
    private let isNested: Bool
    /// Residual blocks of a level in the encoder, where it is nested, and in the decoder.
    private let encoderBlocks: Int
    private let decoderBlocks: Int

    init(_ keys: some Sequence<String>) {
      func blocks(_ list: String) -> Int {
        let numbers = keys.filter { $0.hasPrefix(list) }
          .compactMap { VAE.number($0.dropFirst(list.count).prefix { $0 != "." }) }
        return (numbers.max() ?? -1) + 1
      }
      encoderBlocks = blocks("encoder.down_blocks.0.resnets.")
      decoderBlocks = blocks("decoder.up_blocks.0.resnets.")
      isNested = encoderBlocks > 0
    }

    /// A place in a list; nil for what no model has.
    private static func number(_ text: some StringProtocol) -> Int? {
      Int(text).flatMap { (0..<1000).contains($0) ? $0 : nil }
    }

    private static let inner = [
      "norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6",
      "conv_shortcut": "shortcut",
    ]
    private static let outer = ["conv_in": "conv1", "norm_out": "head.0", "conv_out": "head.2"]

    /// A key that is none of diffusers' stays.
    func ours(_ key: String) -> String {
      let parts = key.split(separator: ".").map(String.init)
      guard parts.count > 1 else { return key }
      if let name = ["quant_conv": "conv1", "post_quant_conv": "conv2"][parts[0]] {
        return ([name] + parts[1...]).joined(separator: ".")
      }
      if let name = VAE.outer[parts[1]] { return ([parts[0], name] + parts[2...]).joined(separator: ".") }
      guard let place = place(parts), parts.count > place.used else { return key }
      let first = parts[place.used]
      let rest = [VAE.inner[first] ?? first] + parts[(place.used + 1)...]
      return ([parts[0], place.name] + rest).joined(separator: ".")
    }

    /// Where a layer is in the original, and how many parts of the key say so.
    private func place(_ parts: [String]) -> (name: String, used: Int)? {
      guard parts.count > 4 else { return nil }
      let last = VAE.number(parts[3]) ?? VAE.number(parts[4])
      switch (parts[1], parts[2], parts[3]) {
      case ("mid_block", "resnets", _): return last.map { ("middle.\(2 * $0)", 4) }
      case ("mid_block", "attentions", _): return last.map { ("middle.\(2 * $0 + 1)", 4) }
      default: break
      }
      guard let level = VAE.number(parts[2]) else { return nil }
      switch (parts[1], parts[3]) {
      case ("down_blocks", "resnets"):
        return VAE.number(parts[4]).map { ("downsamples.\(level).downsamples.\($0)", 5) }
      case ("down_blocks", "downsampler"): return ("downsamples.\(level).downsamples.\(encoderBlocks)", 4)
      case ("down_blocks", _): return isNested ? nil : ("downsamples.\(level)", 3)
      case ("up_blocks", "resnets"):
        return VAE.number(parts[4]).map {
          (isNested ? "upsamples.\(level).upsamples.\($0)" : "upsamples.\(level * (decoderBlocks + 1) + $0)", 5)
        }
      case ("up_blocks", "upsamplers"): return ("upsamples.\(level * (decoderBlocks + 1) + decoderBlocks)", 5)
      case ("up_blocks", "upsampler"): return ("upsamples.\(level).upsamples.\(decoderBlocks)", 4)
      default: return nil
      }
    }
  }
}
