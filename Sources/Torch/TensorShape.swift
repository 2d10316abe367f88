import CTorch

// Views, permutations, joins and padding.

extension Tensor {
  package func reshape(_ shape: [Int]) -> Tensor { Tensor { ct_reshape(c, shape, Int32(shape.count), $0) } }
  package func reshape(_ shape: Int...) -> Tensor { reshape(shape) }
  package func permute(_ dims: Int...) -> Tensor { Tensor { ct_permute(c, dims, Int32(dims.count), $0) } }
  package func transpose(_ a: Int, _ b: Int) -> Tensor { Tensor { ct_transpose(c, a, b, $0) } }
  /// A view with any strides, from the first element on; they must stay within the storage.
  func asStrided(_ shape: [Int], _ strides: [Int]) -> Tensor {
    precondition(shape.count == strides.count)
    return Tensor { ct_as_strided(c, shape, strides, Int32(shape.count), $0) }
  }
  package func expand(_ shape: [Int]) -> Tensor { Tensor { ct_expand(c, shape, Int32(shape.count), $0) } }
  package func expand(_ shape: Int...) -> Tensor { expand(shape) }
  package func unsqueeze(_ dim: Int) -> Tensor { Tensor { ct_unsqueeze(c, dim, $0) } }
  package func squeeze(_ dim: Int) -> Tensor { Tensor { ct_squeeze(c, dim, $0) } }
  package func flatten(_ start: Int = 0, _ end: Int = -1) -> Tensor { Tensor { ct_flatten(c, start, end, $0) } }
  package func unflatten(_ dim: Int, _ shape: Int...) -> Tensor {
    Tensor { ct_unflatten(c, dim, shape, Int32(shape.count), $0) }
  }
  /// `length` entries of a dimension from `start`: a view.
  package func narrow(_ dim: Int, _ start: Int, _ length: Int) -> Tensor {
    Tensor { ct_narrow(c, dim, start, length, $0) }
  }
  package func slice(_ dim: Int, _ start: Int, _ end: Int, step: Int = 1) -> Tensor {
    Tensor { ct_slice(c, dim, start, end, step, $0) }
  }
  package func select(_ dim: Int, _ index: Int) -> Tensor { Tensor { ct_select(c, dim, index, $0) } }
  package func indexSelect(_ dim: Int, _ index: Tensor) -> Tensor { Tensor { ct_index_select(c, dim, index.c, $0) } }
  package func gather(_ dim: Int, _ index: Tensor) -> Tensor { Tensor { ct_gather(c, dim, index.c, $0) } }
  package func flip(_ dims: Int...) -> Tensor { Tensor { ct_flip(c, dims, Int32(dims.count), $0) } }
  package func roll(_ shift: Int, _ dim: Int) -> Tensor { Tensor { ct_roll(c, shift, dim, $0) } }

  /// Pads with a constant. Widths come in pairs (before, after), last dimension first; negative widths crop.
  package func pad(_ widths: Int..., value: Double = 0) -> Tensor {
    Tensor { ct_pad(c, widths, Int32(widths.count), value, $0) }
  }
  package func padReplicate(_ widths: Int...) -> Tensor {
    Tensor { ct_pad_replicate(c, widths, Int32(widths.count), $0) }
  }

  package static func cat(_ tensors: [Tensor], _ dim: Int) -> Tensor {
    withExtendedLifetime(tensors) {
      Tensor { ct_cat(tensors.map(\.c), Int32(tensors.count), dim, $0) }
    }
  }
  package static func stack(_ tensors: [Tensor], _ dim: Int) -> Tensor {
    withExtendedLifetime(tensors) {
      Tensor { ct_stack(tensors.map(\.c), Int32(tensors.count), dim, $0) }
    }
  }

  /// Equal parts of a dimension: views.
  package func chunks(_ count: Int, _ dim: Int) -> [Tensor] {
    let length = size(dim) / count
    return (0..<count).map { narrow(dim, $0 * length, length) }
  }
}
