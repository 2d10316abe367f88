import Foundation
import Generation
import NN
import Torch

/// One network that a stage trains.
package struct TrainedNetwork {
  /// Under which its files go: `student`, `critic`.
  package let name: String
  package let optimizer: ShardedOptimizer
  /// The type that its weights are saved in.
  package let dtype: DType
  /// Checks a key of a saved file against how the network calls it; for files.
  package init(_ name: String, _ optimizer: ShardedOptimizer, _ dtype: DType) {
    (self.name, self.optimizer, self.dtype) = (name, optimizer, dtype)
  }
}

/// A video that shows what the run can do by now.
package struct SampleVideo {
  /// 8-bit RGB `[T, H, W, 3]`.
  package let pixels: Tensor
  package let step: Int
  package let fps: Int
}

/// What one kind of training does in a step; the trainer does all that they share.
package protocol TrainingStage: AnyObject {
  var run: RunSettings { get }
  var networks: [TrainedNetwork] { get }

  /// One step of every optimiser whose turn it is; returns the numbers to log, the loss first.
  func step(_ step: Int) throws -> [(name: String, value: Double)]

  /// A video in [-1, 1], `[3, T, H, W]`, or nil for a stage that makes none.
  func sample() throws -> Tensor?

  /// Writes the result into a checkpoint folder that has all other parts already.
  func export(to folder: URL) throws
  /// The parts of a checkpoint that `export` writes.
  var exported: [CheckpointFolder.Part] { get }
}

extension TrainingStage {
  package func sample() throws -> Tensor? { nil }
}

extension TrainedNetwork {
  /// The values to serve, in the order of the parameters: the moving average where there is one, in the saved type.
  func served() throws -> [(name: String, tensor: Tensor)] {
    let values = try optimizer.averages() ?? optimizer.values()
    return values.map { ($0.name, $0.tensor.to(dtype)) }
  }

  func files() throws -> [TensorFile] {
    let state = optimizer.state()
    var files = [
      TensorFile(name, try optimizer.values().map { ($0.name, $0.tensor.to(dtype)) }, metadata: ["format": "pt"]),
      TensorFile(
        "\(name)-optimizer", state.sorted { $0.key < $1.key }.map { ($0.key, $0.value) },
        metadata: optimizer.stateMetadata, isShard: true),
    ]
    if let averages = try optimizer.averages() {
      files.append(
        TensorFile("\(name)-average", averages.map { ($0.name, $0.tensor.to(dtype)) }, metadata: ["format": "pt"]))
    }
    return files
  }
}
