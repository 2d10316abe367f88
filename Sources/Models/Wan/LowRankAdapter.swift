import Torch

/// Merges a low-rank adapter into the weights of its base, as OmniAvatar ships its models.
///
/// The adapter's file holds `<layer>.lora_A.default.weight` `[rank, in]` and `<layer>.lora_B.default.weight` `[out, rank]` (the
/// layout of the PEFT library; `.default` may be absent), and whole tensors that replace or extend the base: the wider patch
/// embedding, the audio layers. A merged weight is `W + alpha / rank · B·A`, product and sum in fp32, rounded once.
public enum LowRankAdapter {
  /// - Parameters:
  ///   - alpha: the adapter's scale; OmniAvatar's is 64 at rank 128.
  /// - Throws: `TorchError` that lists what does not fit.
  public static func merge(_ adapter: [String: Tensor], into base: [String: Tensor], alpha: Double) throws -> [String:
    Tensor]
  {
    var merged = base
    var problems: [String] = []
    var pairs: [String: (a: Tensor?, b: Tensor?)] = [:]
    for (key, tensor) in adapter {
      let name = key.hasPrefix(modulePrefix) ? String(key.dropFirst(modulePrefix.count)) : key
      if let layer = layer(of: name, "lora_A") {
        pairs[layer, default: (nil, nil)].a = tensor
      } else if let layer = layer(of: name, "lora_B") {
        pairs[layer, default: (nil, nil)].b = tensor
      } else {
        merged[name] = tensor
      }
    }
    for (layer, pair) in pairs.sorted(by: { $0.key < $1.key }) {
      guard let a = pair.a, let b = pair.b else {
        problems.append("'\(layer)' has only one of its two factors")
        continue
      }
      guard let weight = base["\(layer).weight"] else {
        problems.append("the base has no '\(layer).weight'")
        continue
      }
      guard a.rank == 2, b.rank == 2, a.size(0) == b.size(1), weight.shape == [b.size(0), a.size(1)] else {
        problems.append("factors \(b.shape)·\(a.shape) do not fit '\(layer).weight' \(weight.shape)")
        continue
      }
      let change = b.to(.float32).matmul(a.to(.float32)) * (alpha / Double(a.size(0)))
      merged["\(layer).weight"] = (weight.to(.float32) + change).to(weight.dtype)
    }
    guard problems.isEmpty else {
      throw TorchError("The adapter does not fit its base: \(problems.joined(separator: "; ")).")
    }
    return merged
  }

  /// What PEFT puts in front of the keys of a whole model.
  private static let modulePrefix = "base_model.model."

  private static func layer(of key: String, _ factor: String) -> String? {
    for ending in [".\(factor).default.weight", ".\(factor).weight"] where key.hasSuffix(ending) {
      return String(key.dropLast(ending.count))
    }
    return nil
  }
}
