import CTorch

// What an optimiser does to lists of tensors. None of it records gradients.

extension Tensor {
  /// Makes this tensor a view of `data`, which has its type and shape: everything that holds the tensor sees the new storage.
  package func share(_ data: Tensor) { check(ct_set_data(c, data.c)) }

  /// The sum of the squares of all elements of all tensors: one fp64 value on their device; zero for none.
  ///
  /// Each tensor's norm is taken in its own type, as PyTorch does.
  package static func sumOfSquares(_ tensors: [Tensor]) -> Tensor {
    withExtendedLifetime(tensors) {
      Tensor { ct_sum_of_squares(tensors.map(\.c), Int32(tensors.count), $0) }
    }
  }

  /// One AdamW step of all `parameters` in place, by libtorch's fused operation. All tensors are fp32 and on one device.
  ///
  /// - Parameter steps: for every parameter the number of its updates, this one included: one fp32 value each.
  package static func stepAdamW(
    _ parameters: [Tensor], gradients: [Tensor], firstMoments: [Tensor], secondMoments: [Tensor], steps: [Tensor],
    rate: Double, beta1: Double, beta2: Double, weightDecay: Double, epsilon: Double
  ) {
    let lists = [parameters, gradients, firstMoments, secondMoments, steps]
    let fits = lists.allSatisfy { $0.count == parameters.count }
    require(fits, "AdamW needs a gradient, two moments and a count for each of \(parameters.count) parameters")
    guard fits, !parameters.isEmpty else { return }
    withExtendedLifetime(lists) {
      let handles = lists.map { $0.map(\.c) }
      check(
        ct_adamw_(
          Int32(parameters.count), handles[0], handles[1], handles[2], handles[3], handles[4], rate, beta1, beta2,
          weightDecay, epsilon))
    }
  }
}
