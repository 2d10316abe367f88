import Distributed
import Generation
import NN
package import Torch

/// What a stage computes for a micro-batch.
package struct BatchLoss {
  /// A scalar with its graph.
  package let loss: Tensor
  /// More scalars to log.
  package let metrics: [(name: String, value: Tensor)]
  /// What remains of the backward pass after `loss.backward()`, where the loss's graph ends before the network.
  let remainingBackward: (() -> Void)?

  package init(
    _ loss: Tensor, _ metrics: [(name: String, value: Tensor)] = [], remainingBackward: (() -> Void)? = nil
  ) {
    (self.loss, self.metrics, self.remainingBackward) = (loss, metrics, remainingBackward)
  }
}

/// A network in training, with its optimizer and its share of the clips.
package final class TrainedNetwork {
  /// Its files are called by it: `student`, `critic`.
  package let name: String
  let optimizer: ShardedOptimizer
  private let settings: OptimizerSettings
  private let run: RunSettings
  private let group: ProcessGroup?
  private let interval: Int
  private var sampler: BatchSampler

  /// - Parameters:
  ///   - ema: nil for no EMA.
  ///   - clips: how many clips there are to sample from.
  ///   - stream: networks of one stage that sample different clips have different streams.
  ///   - interval: the network is updated in every so many steps.
  /// - Throws: `LiveTalkError`, `TorchError`.
  package init(
    _ name: String, _ parameters: [(name: String, tensor: Tensor)], _ settings: OptimizerSettings, ema: EMASettings?,
    _ run: RunSettings, _ processes: Processes = .alone, clips: Int, stream: Int = 0, updatedEvery interval: Int = 1
  ) throws {
    (self.name, self.settings, self.run, self.interval) = (name, settings, run, interval)
    group = processes.group
    sampler = BatchSampler(run, clips: clips, rank: processes.rank, ranks: processes.count, stream: stream)
    optimizer = try ShardedOptimizer(
      parameters, settings: settings.adamW, muon: settings.muon, averaging: ema?.averaging, group: group)
  }

  /// One step: forward and backward over its micro-batches, gradient clipping, the optimizer, the EMA.
  ///
  /// Losses and metrics stay on the device until the optimizer has stepped.
  /// - Returns: the mean loss and metrics over micro-batches and ranks, the global gradient norm before clipping, and the learning
  ///   rate; nothing in a step that does not update the network.
  package func step(_ step: Int, _ loss: (MicroBatch) throws -> BatchLoss) throws -> [(name: String, value: Double)] {
    // The EMA begins in the step its settings say, whether that one updates the network or not.
    defer { optimizer.startAverage(counter: step + 1) }
    guard step % interval == 0 else { return [] }
    var names: [String] = []
    var sums: Tensor?
    for batch in sampler.microBatches(of: step / interval) {
      let result = try loss(batch)
      result.loss.backward()
      result.remainingBackward?()
      optimizer.accumulate(scale: 1 / Double(run.accumulation))
      names = ["loss"] + result.metrics.map(\.name)
      let values = [result.loss] + result.metrics.map(\.value)
      let part = Tensor.stack(values.map { $0.detach().to(.float64) }, 0) / Double(run.accumulation)
      sums = sums.map { $0 + part } ?? part
    }
    let rate = settings.schedule(totalSteps: run.steps).rate(at: step)
    let norm = try optimizer.step(learningRate: rate, clippingTo: settings.clippingLimit)
    let means = try sums.map(meanOverRanks) ?? []
    return zip(names, means).map { (name: $0, value: $1) } + [("gradientNorm", norm), ("learningRate", rate)]
  }

  private func meanOverRanks(_ values: Tensor) throws -> [Double] {
    guard let group else { return values.array(Double.self) }
    let mean = values.to(.float32)
    try group.allReduce(mean, .mean)
    return mean.array(Double.self)
  }

  /// The weights to export, in the order of the parameters: the EMA where there is one.
  func exported() throws -> [(name: String, tensor: Tensor)] { saved(try optimizer.averages() ?? optimizer.values()) }

  func files() throws -> [TensorFile] {
    let format = ["format": "pt"]
    let weights = TensorFile(name, saved(try optimizer.values()), metadata: format)
    let state = TensorFile(
      "\(name)-optimizer", optimizer.state().sorted { $0.key < $1.key }.map { ($0.key, $0.value) },
      metadata: optimizer.stateMetadata, isShard: true)
    let ema = try optimizer.averages().map { TensorFile("\(name)-average", saved($0), metadata: format) }
    return [weights, state] + (ema.map { [$0] } ?? [])
  }

  func load(_ checkpoint: TrainingCheckpoint) throws { try optimizer.load(checkpoint.shards("\(name)-optimizer")) }

  private func saved(_ values: [(name: String, tensor: Tensor)]) -> [(name: String, tensor: Tensor)] {
    values.map { ($0.name, $0.tensor.to(run.precision.dtype)) }
  }
}
