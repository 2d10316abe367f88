import Torch

/// Which layers of a frozen base are trained by factors of low rank (LoRA), and which parameters as a whole.
///
/// An adapted layer computes `x·Wᵀ + b + alpha / rank · (x·Aᵀ)·Bᵀ`. A starts random, B at zero, so that training begins with the
/// base. The keys are those of the PEFT library, which `LowRankAdapter` merges: `<layer>.lora_A.default.weight`.
public struct LowRankAdaptation: Codable, Hashable, Sendable {
  public var rank: Int
  public var alpha: Double
  /// Ends of the keys of the layers that get factors, such as `self_attn.q` or `ffn.0`; they must be linear layers.
  public var targets: [String]
  /// Beginnings of the keys of parameters that are trained as a whole, such as `audio_proj` or `patch_embedding`.
  public var whole: [String]

  /// Figures of OmniAvatar: every projection of attention and feed-forward; the audio layers and the input layer as a whole.
  public static let omniAvatar = LowRankAdaptation(
    rank: 128, alpha: 64, targets: ["q", "k", "v", "o", "ffn.0", "ffn.2"],
    whole: ["patch_embedding", "audio_proj", "audio_cond_projs"])

  public init(rank: Int, alpha: Double, targets: [String], whole: [String] = []) {
    self.rank = rank
    self.alpha = alpha
    self.targets = targets
    self.whole = whole
  }

  /// Why no layer can be adapted like this, or nil.
  public var problem: String? {
    if rank <= 0 { return "a rank of \(rank) is no rank" }
    return targets.isEmpty && whole.isEmpty ? "it names no layer to train" : nil
  }

  func adapts(_ layer: String) -> Bool { targets.contains { layer == $0 || layer.hasSuffix(".\($0)") } }
  func trains(_ key: String) -> Bool { whole.contains { key == $0 || key.hasPrefix("\($0).") } }
}

/// The factors of one adapted layer.
struct LowRankFactors: Sendable {
  let a: Tensor  // [rank, in]
  let b: Tensor  // [out, rank]
  let scale: Double

  func add(to y: Tensor, _ x: Tensor) -> Tensor { y + x.linear(a).linear(b) * scale }
}
