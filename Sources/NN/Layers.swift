package import Torch

/// `x·Wᵀ + b`.
package struct Linear: Sendable {
  private enum Weight {
    case plain(Tensor)  // [out, in]
    /// In the order that the processor's own product reads.
    case packed(Tensor, outputs: Int)
    case float8(Float8Tensor, DType)
  }

  private let weight: Weight
  private let bias: Tensor?  // [out]
  /// What training adds to the weight where the store adapts this layer.
  private let factors: LoRAFactors?

  private init(_ weight: Weight, _ bias: Tensor?) {
    self.weight = weight
    self.bias = bias
    factors = nil
  }

  /// The layer with other tensors in place of its own, which `change` is given in an order that never changes.
  ///
  /// - Precondition: it has no factors to train.
  package func mapped(_ change: (Tensor) -> Tensor) -> Linear {
    precondition(factors == nil, "a layer that is trained stays where it is")
    let weight: Weight =
      switch weight {
      case .plain(let tensor): .plain(change(tensor))
      case .packed(let tensor, let outputs): .packed(change(tensor), outputs: outputs)
      case .float8(let tensor, let dtype):
        .float8(Float8Tensor(values: change(tensor.values), factor: change(tensor.factor)), dtype)
      }
    return Linear(weight, bias.map(change))
  }

  /// - Parameter dtype: of its weights; nil for that of the store.
  package init(_ inputs: Int, _ outputs: Int, bias: Bool = true, dtype: DType? = nil, _ path: ParameterPath) {
    let weight = path.parameter(
      "weight", [outputs, inputs], .uniform(fanIn: inputs), dtype: dtype, kept: path.quantizes ? .float8E4M3 : nil)
    self.bias = bias ? path.parameter("bias", [outputs], .uniform(fanIn: inputs), dtype: dtype) : nil
    // A weight that a checkpoint lacks is empty here, and reported when the loading ends.
    if path.quantizes, weight.count > 0 {
      self.weight = .float8(Float8Tensor(quantizing: weight), weight.dtype)
      factors = nil
      return
    }
    let packs = path.store.isFrozen && Tensor.prefersPackedLinear && weight.device.isCPU && weight.dtype == .bfloat16
    self.weight =
      packs && inputs % 2 == 0 && weight.count > 0
      ? .packed(weight.packedForLinear(), outputs: outputs) : .plain(weight)
    factors = path.loraFactors(inputs, outputs)
  }

  /// Every tensor that may take part in a gradient.
  package var tensors: [Tensor] { [tensor] + [bias, factors?.a, factors?.b].compactMap(\.self) }

  /// The type of the weights.
  package var dtype: DType { if case .float8(_, let dtype) = weight { dtype } else { tensor.dtype } }
  package var device: Device { tensor.device }

  private var tensor: Tensor {
    switch weight {
    case .plain(let tensor), .packed(let tensor, _): tensor
    case .float8(let tensor, _): tensor.values
    }
  }

  /// One layer that gives the outputs of several, one after the other, and the several as views of it; nil where that is not
  /// possible. Fewer, larger products are faster; the weights are copied once.
  package static func joined(_ layers: [Linear]) -> (whole: Linear, parts: [Linear])? {
    // In 8 bits each has a scale of its own.
    if layers.contains(where: { if case .float8 = $0.weight { true } else { false } }) { return nil }
    let biases = layers.compactMap(\.bias)
    guard let first = layers.first, biases.count == layers.count else { return nil }
    let bias = Tensor.cat(biases, 0)
    let weights = layers.map(\.tensor)
    let weight = Tensor.cat(weights, 0)
    var parts: [Linear] = []
    var (row, output) = (0, 0)
    for (layer, old) in zip(layers, weights) {
      let part = weight.narrow(0, row, old.size(0))
      row += old.size(0)
      switch layer.weight {
      case .plain: parts.append(Linear(.plain(part), bias.narrow(0, output, old.size(0))))
      case .packed(_, let outputs):
        // Panels of the packed order that are not full would leave gaps between the layers.
        guard outputs % 64 == 0 else { return nil }
        parts.append(Linear(.packed(part, outputs: outputs), bias.narrow(0, output, outputs)))
      case .float8: return nil
      }
      output += layer.outputs
    }
    switch first.weight {
    case .plain: return (Linear(.plain(weight), bias), parts)
    case .packed: return (Linear(.packed(weight, outputs: output), bias), parts)
    case .float8: return nil
    }
  }

  private var outputs: Int {
    switch weight {
    case .plain(let tensor): tensor.size(0)
    case .packed(_, let outputs): outputs
    case .float8(let tensor, _): tensor.values.size(0)
    }
  }

  package func callAsFunction(_ x: Tensor) -> Tensor {
    switch weight {
    case .plain(let weight): factors?.add(to: x.linear(weight, bias), x) ?? x.linear(weight, bias)
    case .packed(let weight, let outputs): x.linearPacked(weight, outputs: outputs, bias)
    case .float8(let weight, _): weight.linear(x, bias)
    }
  }

  /// The layer, then GELU in its tanh form.
  package func geluTanh(_ x: Tensor) -> Tensor {
    switch weight {
    case .plain, .float8: self(x).geluTanhInPlace()
    case .packed(let weight, let outputs): x.linearPacked(weight, outputs: outputs, bias, geluTanh: true)
    }
  }
}

/// Layer normalisation over the last dimension, with weights.
package struct LayerNorm: Sendable {
  package let weight: Tensor  // [C]
  package let bias: Tensor  // [C]
  package let eps: Double

  package init(_ width: Int, eps: Double, _ path: ParameterPath) {
    weight = path.parameter("weight", [width], .ones)
    bias = path.parameter("bias", [width], .zeros)
    self.eps = eps
  }

  private init(weight: Tensor, bias: Tensor, eps: Double) { (self.weight, self.bias, self.eps) = (weight, bias, eps) }

  /// See `Linear`.
  package func mapped(_ change: (Tensor) -> Tensor) -> LayerNorm {
    LayerNorm(weight: change(weight), bias: change(bias), eps: eps)
  }

  package func callAsFunction(_ x: Tensor) -> Tensor { x.layerNorm(weight, bias, eps: eps) }
}

/// Root-mean-square normalisation over the last dimension: the quotient in fp32, then times the weight.
package struct RMSNorm: Sendable {
  package let weight: Tensor  // [C]
  package let eps: Double

  package init(_ width: Int, eps: Double, _ path: ParameterPath) {
    weight = path.parameter("weight", [width], .ones)
    self.eps = eps
  }

  private init(weight: Tensor, eps: Double) { (self.weight, self.eps) = (weight, eps) }

  /// See `Linear`.
  package func mapped(_ change: (Tensor) -> Tensor) -> RMSNorm { RMSNorm(weight: change(weight), eps: eps) }

  package func callAsFunction(_ x: Tensor) -> Tensor { x.rmsNorm(weight, eps: eps) }
}

/// A table of vectors, one per id.
package struct Embedding: Sendable {
  package let weight: Tensor  // [N, C]

  package init(_ count: Int, _ width: Int, _ path: ParameterPath) {
    weight = path.parameter("weight", [count, width], .normal(deviation: 1))
  }

  package func callAsFunction(_ ids: Tensor) -> Tensor { weight.embedding(ids) }
}
