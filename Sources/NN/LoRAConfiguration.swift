import Torch

/// LoRA (Hu et al. 2021): which layers of a frozen base get A and B, and which parameters are fully trained.
///
/// An adapted layer computes `x·Wᵀ + b + alpha / rank · (x·Aᵀ)·Bᵀ`. A starts random, B at zero, so that training starts at the
/// base. Keys are PEFT's, which `LoRAAdapter` merges: `<layer>.lora_A.default.weight`.
package struct LoRAConfiguration: Codable, Hashable, Sendable {
  package var rank: Int
  package var alpha: Double
  /// Suffixes of the keys of linear layers, such as `self_attn.q` or `ffn.0` (PEFT's `target_modules`).
  package var targets: [String]
  /// Prefixes of the keys of fully trained parameters, such as `audio_proj` or `patch_embedding` (PEFT's `modules_to_save`).
  package var whole: [String]

  /// OmniAvatar's: every projection of attention and feed-forward; the audio layers and the patch embedding fully trained.
  package static let omniAvatar = LoRAConfiguration(
    rank: 128, alpha: 64, targets: ["q", "k", "v", "o", "ffn.0", "ffn.2"],
    whole: ["patch_embedding", "audio_proj", "audio_cond_projs"])

  /// Live Avatar's: every projection of attention and feed-forward, those of the audio injectors too.
  package static let liveAvatar = LoRAConfiguration(
    rank: 128, alpha: 64, targets: ["q", "k", "v", "o", "ffn.0", "ffn.2"])

  package init(rank: Int, alpha: Double, targets: [String], whole: [String] = []) {
    self.rank = rank
    self.alpha = alpha
    self.targets = targets
    self.whole = whole
  }

  /// What is invalid, or nil.
  package var problem: String? {
    if !(1...65_536).contains(rank) { return "a rank of \(rank) is not one from 1 to 65536" }
    if !(abs(alpha) <= 1e6) { return "an alpha of \(alpha) is not a finite number up to a million" }
    return targets.isEmpty && whole.isEmpty ? "it names no layer to train" : nil
  }

  package func adapts(_ layer: String) -> Bool { targets.contains { layer == $0 || layer.hasSuffix(".\($0)") } }
  package func trains(_ key: String) -> Bool { whole.contains { key == $0 || key.hasPrefix("\($0).") } }
}

/// A and B of one layer.
struct LoRAFactors: Sendable {
  let a: Tensor  // [rank, in]
  let b: Tensor  // [out, rank]
  let scale: Double

  func add(to y: Tensor, _ x: Tensor) -> Tensor { y + x.linear(a).linear(b) * scale }
}
