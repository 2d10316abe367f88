package import Torch

/// Bytes that a `ShardedOptimizer` keeps on each rank, by arithmetic.
package struct OptimizerMemory: Sendable, Equatable {
  /// The parameters themselves.
  package private(set) var weights = 0
  package private(set) var gradients = 0
  /// This rank's shard of master weights, where they are not the parameters, and of both moments.
  package private(set) var state = 0
  /// This rank's shard of the EMA.
  package private(set) var average = 0

  /// - Parameter parameters: number of values and type of each, in order.
  package init(_ parameters: [(count: Int, dtype: DType)], ranks: Int, averages: Bool) {
    for dtype in [DType.float32, .bfloat16] {
      let length = parameters.filter { $0.dtype == dtype }.reduce(0) { FlatParameters.end(of: $1.count, after: $0) }
      let share = FlatParameters.shareLength(of: length, ranks: ranks)
      weights += share * ranks * dtype.size
      gradients += share * ranks * DType.float32.size
      state += share * DType.float32.size * (dtype == .float32 ? 2 : 3)
      if averages { average += share * DType.float32.size }
    }
  }
}
