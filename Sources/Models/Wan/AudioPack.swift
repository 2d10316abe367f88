package import NN
package import Torch

/// Packs patches of audio features into one vector each: patches flattened with channels fastest, a linear layer, and a layer
/// normalisation (eps 1e-5, unlike the rest of the model).
package struct AudioPack: Sendable {
  private let projection: Linear
  private let norm: LayerNorm?
  private let patch: [Int]

  /// - Parameter patch: time, height, width.
  package init(channels: Int, patch: [Int], width: Int, layerNorm: Bool, _ path: ParameterPath) {
    projection = Linear(channels * patch.reduce(1, *), width, path / "proj")
    norm = layerNorm ? LayerNorm(width, eps: 1e-5, path / "norm_out") : nil
    self.patch = patch
  }

  /// x `[B, C, T, H, W]` → `[B, T/t, H/h, W/w, width]`.
  package func callAsFunction(_ x: Tensor) -> Tensor {
    let (t, h, w) = (patch[0], patch[1], patch[2])
    let (b, c) = (x.size(0), x.size(1))
    let (frames, rows, columns) = (x.size(2) / t, x.size(3) / h, x.size(4) / w)
    let patches = x.reshape(b, c, frames, t, rows, h, columns, w).permute(0, 2, 4, 6, 3, 5, 7, 1)
    let packed = projection(patches.reshape(b, frames, rows, columns, c * t * h * w))
    return norm?(packed) ?? packed
  }
}
