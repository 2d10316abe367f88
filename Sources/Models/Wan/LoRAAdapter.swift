package import Torch

/// Merges LoRA weights into their base, as OmniAvatar ships its models.
///
/// The file holds `<layer>.lora_A.default.weight` `[rank, in]` and `<layer>.lora_B.default.weight` `[out, rank]` (the
/// layout of the PEFT library; `.default` may be absent), and whole tensors that replace or extend the base: the wider patch
/// embedding, the audio layers. A merged weight is `W + alpha / rank · B·A`, product and sum in fp32, rounded once.
package enum LoRAAdapter {
  /// The scale of OmniAvatar's adapters and of Live Avatar's, whose file does not tell it; their rank is 128.
  package static let publishedAlpha = 64.0

  /// - Parameters:
  ///   - alpha: OmniAvatar's is 64 at rank 128.
  /// - Throws: `TorchError` that lists what does not fit.
  package static func merge(_ adapter: [String: Tensor], into base: [String: Tensor], alpha: Double) throws -> [String:
    Tensor]
  {
    let merging = try Merging(adapter, into: base, alpha: alpha)
    return try Dictionary(uniqueKeysWithValues: merging.layout.map { ($0.name, try merging.tensor($0.name)) })
  }

  /// A merge whose tensors are made one at a time, so that a large model need not fit into memory.
  package struct Merging {
    /// Every tensor of the result, by name.
    package let layout: [(name: String, dtype: DType, shape: [Int])]
    private let whole: [String: Tensor]
    private let factors: [String: (a: Tensor, b: Tensor)]
    private let alpha: Double

    /// Layers with LoRA.
    package var layers: Int { factors.count }

    /// - Throws: `TorchError` that lists what does not fit.
    package init(_ adapter: [String: Tensor], into base: [String: Tensor], alpha: Double) throws {
      var whole = base
      var problems: [String] = []
      var pairs: [String: (a: Tensor?, b: Tensor?)] = [:]
      for (key, tensor) in adapter {
        let name = key.hasPrefix(modulePrefix) ? String(key.dropFirst(modulePrefix.count)) : key
        if let layer = layer(of: name, "lora_A") {
          pairs[layer, default: (nil, nil)].a = tensor
        } else if let layer = layer(of: name, "lora_B") {
          pairs[layer, default: (nil, nil)].b = tensor
        } else {
          whole[name] = tensor
        }
      }
      var factors: [String: (a: Tensor, b: Tensor)] = [:]
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
        factors["\(layer).weight"] = (a, b)
        whole["\(layer).weight"] = weight
      }
      guard problems.isEmpty else {
        let more = problems.count > 8 ? " and \(problems.count - 8) more" : ""
        throw TorchError("The adapter does not fit its base: \(problems.prefix(8).joined(separator: "; "))\(more).")
      }
      layout = whole.sorted { $0.key < $1.key }.map { ($0.key, $0.value.dtype, $0.value.shape) }
      (self.whole, self.factors, self.alpha) = (whole, factors, alpha)
    }

    /// The merged tensor of a name in `layout`.
    ///
    /// - Throws: `TorchError` for another name.
    package func tensor(_ name: String) throws -> Tensor {
      guard let weight = whole[name] else { throw TorchError("The merged model has no '\(name)'.") }
      return try tensor(name, on: weight.device) ?? weight
    }

    /// The same on a device, computed there; nil for a tensor that stays as the base has it.
    ///
    /// - Throws: as `tensor`.
    package func tensor(_ name: String, on device: Device) throws -> Tensor? {
      guard let weight = whole[name] else { throw TorchError("The merged model has no '\(name)'.") }
      guard let (a, b) = factors[name] else { return nil }
      let change = b.to(device, .float32).matmul(a.to(device, .float32)) * (alpha / Double(a.size(0)))
      return (weight.to(device, .float32) + change).to(weight.dtype)
    }
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
