import Torch

/// `x·Wᵀ + b`.
public struct Linear: Sendable {
  public let weight: Tensor  // [out, in]
  public let bias: Tensor?  // [out]

  public init(_ inputs: Int, _ outputs: Int, bias: Bool = true, _ path: ParameterPath) {
    weight = path.parameter("weight", [outputs, inputs], .uniform(fanIn: inputs))
    self.bias = bias ? path.parameter("bias", [outputs], .uniform(fanIn: inputs)) : nil
  }

  public func callAsFunction(_ x: Tensor) -> Tensor { x.linear(weight, bias) }
}

/// Layer normalisation over the last dimension, with weights.
public struct LayerNorm: Sendable {
  public let weight: Tensor  // [C]
  public let bias: Tensor  // [C]
  public let eps: Double

  public init(_ width: Int, eps: Double, _ path: ParameterPath) {
    weight = path.parameter("weight", [width], .ones)
    bias = path.parameter("bias", [width], .zeros)
    self.eps = eps
  }

  public func callAsFunction(_ x: Tensor) -> Tensor { x.layerNorm(weight, bias, eps: eps) }
}

/// Root-mean-square normalisation over the last dimension: the quotient in fp32, then times the weight.
public struct RMSNorm: Sendable {
  public let weight: Tensor  // [C]
  public let eps: Double

  public init(_ width: Int, eps: Double, _ path: ParameterPath) {
    weight = path.parameter("weight", [width], .ones)
    self.eps = eps
  }

  public func callAsFunction(_ x: Tensor) -> Tensor { x.rmsNorm(weight, eps: eps) }
}

/// A table of vectors, one per id.
public struct Embedding: Sendable {
  public let weight: Tensor  // [N, C]

  public init(_ count: Int, _ width: Int, _ path: ParameterPath) {
    weight = path.parameter("weight", [count, width], .normal(deviation: 1))
  }

  public func callAsFunction(_ ids: Tensor) -> Tensor { weight.embedding(ids) }
}
