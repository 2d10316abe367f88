import NN
import Torch

// A speakers, N video frames, n latent frames, S hidden states, E their width, K tokens of a frame, C width.

/// Turns hidden states of the speech encoder into tokens of latent frames: causal convolutions over time, four video frames to one.
///
/// The local branch gives K tokens of a frame and a learned one, the global branch one vector. Computed in fp32, whatever the type of
/// the model. Source: `CausalAudioEncoder` and `MotionEncoder_tc` of Wan2.2-S2V.
struct CausalAudioEncoder: Sendable {
  private let states, tokens: Int
  private let stateWeights: Tensor  // [1, S, 1, 1]
  private let local, global, second, third: Convolution
  private let globalProjection: Linear
  private let padding: Tensor  // [1, 1, 1, C]

  /// - Parameter dtype: fp32, but for a model that shall only be checked.
  init(_ config: WanS2VConfiguration, dtype: DType?, _ path: ParameterPath) {
    let dim = config.dim
    func convolution(_ inputs: Int, _ outputs: Int, stride: Int, _ name: String) -> Convolution {
      Convolution(inputs, outputs, stride: stride, dtype: dtype, path / "encoder" / name / "conv")
    }
    (states, tokens) = (config.audioStates, config.audioTokens)
    stateWeights = path.parameter("weights", [1, config.audioStates, 1, 1], .ones, dtype: dtype)
    let encoder = path / "encoder"
    local = convolution(config.audioDim, dim / 4 * config.audioTokens, stride: 1, "conv1_local")
    global = convolution(config.audioDim, dim / 4, stride: 1, "conv1_global")
    second = convolution(dim / 4, dim / 2, stride: 2, "conv2")
    third = convolution(dim / 2, dim, stride: 2, "conv3")
    globalProjection = Linear(dim, dim, dtype: dtype, encoder / "final_linear")
    padding = encoder.parameter("padding_tokens", [1, 1, 1, dim], .zeros, dtype: dtype)
  }

  /// Features `[A, N, S·E]` → local `[A, n, K + 1, C]` and global `[A, n, 1, C]`, n = ⌈⌈N/2⌉/2⌉.
  func callAsFunction(_ features: Tensor) -> (local: Tensor, global: Tensor) {
    let weights = stateWeights.silu()
    // Divided by the sum of the weights, which may be of either sign.
    let rows = features.to(.float32).unflatten(-1, states, -1)  // [A, N, S, E]
    let mixed = (rows * weights.reshape(1, 1, states, 1) / weights.sum()).sum(2).transpose(1, 2)  // [A, E, N]
    let groups = local(mixed).unflatten(1, tokens, -1).flatten(0, 1)  // [A·K, C/4, N]
    let branch = encoded(groups).unflatten(0, -1, tokens).transpose(1, 2)  // [A, n, K, C]
    let learned = padding.expand(branch.size(0), branch.size(1), 1, branch.size(3))
    return (Tensor.cat([branch, learned], 2), globalProjection(encoded(global(mixed))).unsqueeze(2))
  }

  /// What both branches share: `[A, C/4, N]` → `[A, n, C]`.
  private func encoded(_ x: Tensor) -> Tensor {
    let first = activated(x).transpose(1, 2)
    let half = activated(second(first)).transpose(1, 2)
    return activated(third(half))
  }

  /// Normalised over channels, then SiLU: `[A, C, N]` → `[A, N, C]`.
  private func activated(_ x: Tensor) -> Tensor { x.transpose(1, 2).layerNorm(eps: 1e-6).silu() }

  /// A convolution that sees three steps, none of them later; before the first one stands that one again.
  private struct Convolution: Sendable {
    let weight: Tensor  // [out, in, 3]
    let bias: Tensor
    let stride: Int

    init(_ inputs: Int, _ outputs: Int, stride: Int, dtype: DType?, _ path: ParameterPath) {
      weight = path.parameter("weight", [outputs, inputs, 3], .uniform(fanIn: inputs * 3), dtype: dtype)
      bias = path.parameter("bias", [outputs], .uniform(fanIn: inputs * 3), dtype: dtype)
      self.stride = stride
    }

    /// x `[A, in, N]`.
    func callAsFunction(_ x: Tensor) -> Tensor { x.padReplicate(2, 0).conv1d(weight, bias, stride: stride) }
  }
}
