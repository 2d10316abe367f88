package import Torch

extension Tensor {
  /// Sets each value to 0 with probability `share` and makes the others larger by as much, so that the mean stays.
  ///
  /// - Parameter generator: decides which, on this tensor's device: one seed gives one course of training.
  package func dropout(_ share: Double, _ generator: RandomGenerator) -> Tensor {
    guard share > 0 else { return self }
    let stays = generator.uniform(shape) .>= share
    return self * stays.to(dtype) * (1 / (1 - share))
  }
}
