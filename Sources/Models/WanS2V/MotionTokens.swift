import NN
import Torch

/// Turns the latent frames before a clip into few tokens: the nearest one in patches of the whole resolution, the two before it in
/// coarser ones, the sixteen before those in the coarsest.
///
/// Source: `FramePackMotioner` of Wan2.2-S2V (its buckets and their places in time).
struct MotionTokens: Sendable {
  /// Latent frames that are looked at.
  static let frames = 19

  private let near, middle, far: PatchEmbedding

  init(_ channels: Int, _ width: Int, _ path: ParameterPath) {
    near = PatchEmbedding(channels, width, patch: [1, 2, 2], path / "proj")
    middle = PatchEmbedding(channels, width, patch: [2, 4, 4], path / "proj_2x")
    far = PatchEmbedding(channels, width, patch: [4, 8, 8], path / "proj_4x")
  }

  /// Latent frames `[B, C, m, H, W]`, oldest first, as tokens `[B, M, width]`, nearest first; zeros stand for those that m lacks.
  func callAsFunction(_ latents: Tensor) -> Tensor {
    let given = min(latents.size(2), Self.frames)
    let newest = latents.narrow(2, latents.size(2) - given, given)
    let whole = newest.pad(0, 0, 0, 0, Self.frames - given, 0)
    return Tensor.cat([near(whole.narrow(2, 18, 1)), middle(whole.narrow(2, 16, 2)), far(whole.narrow(2, 0, 16))], 1)
  }

  /// The rotary factors of the tokens, `[M, D/2, 2]`: times before the clip's first frame.
  static func factors(_ rotary: Rotary) -> Tensor {
    let grid = rotary.grid
    return Tensor.cat(
      [
        rotary.factors(times: [-1], grid: grid),
        rotary.factors(times: [-3], grid: (grid.height / 2, grid.width / 2)),
        rotary.factors(times: [-19, -14, -9, -4], grid: (grid.height / 4, grid.width / 4)),
      ], 0)
  }
}
