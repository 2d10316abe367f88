package import Torch

/// A tensor in 8-bit floating point (e4m3, no infinities) and the factor that undoes its scaling.
///
/// One scale for the whole tensor: its largest value becomes 448, the largest of the type, but no tensor is made more than 448 times
/// larger. Source: `fp8_linear.py` of Live Avatar.
package struct Float8Tensor: Sendable {
  package let values: Tensor  // float8E4M3
  /// What `values` are multiplied with, one number in fp32.
  package let factor: Tensor

  init(values: Tensor, factor: Tensor) { (self.values, self.factor) = (values, factor) }

  package init(quantizing x: Tensor) {
    (values, factor) = x.quantizedToFloat8()
  }

  /// `x · selfᵀ + bias` for x `[..., in]` and self `[out, in]`: x is quantized too, products are summed in fp32 and the result is
  /// rounded to bf16, then to the type of x. One scale for all of x: a row's result depends on the other rows.
  package func linear(_ x: Tensor, _ bias: Tensor?) -> Tensor {
    let input = Float8Tensor(quantizing: x.reshape(-1, x.size(-1)))
    let product = input.values.scaledProduct(
      values, factors: (input.factor, factor), bias: bias?.to(.bfloat16))
    return product.reshape(Array(x.shape.dropLast()) + [values.size(0)]).to(x.dtype)
  }
}

/// Which linear layers of a frozen model are computed in 8 bits.
package struct Float8Layers: Sendable, Hashable {
  /// Parts of the keys of layers that are not.
  package var excluded: [String]

  package init(excluding excluded: [String]) { self.excluded = excluded }

  /// - Parameter layer: the key of a layer, without the names of its tensors.
  package func contains(_ layer: String) -> Bool { !excluded.contains { layer.contains($0) } }
}
