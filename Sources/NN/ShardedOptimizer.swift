import Basics
package import Distributed
import Foundation
package import Torch

/// AdamW with fp32 master weights, sharded over the ranks of a process group (ZeRO stage 2, Rajbhandari et al. 2020).
///
/// After every micro-batch `accumulate` adds the parameters' gradients to one flat fp32 buffer. `step` reduce-scatters the buffers to
/// their mean, clips by the global gradient norm, updates this rank's shard of the master weights, and all-gathers them into the
/// parameters, rounded once to their type. Without a group the one shard is the whole. Parameters become views of a flat buffer where
/// their layout allows it.
///
/// As in PyTorch, a parameter without a gradient on any rank is left out of a step: no weight decay, no count.
///
/// Every rank passes the same parameters in the same order, and gets the values of rank 0. `step`, `load`, `values` and `averages` are
/// collective calls.
package final class ShardedOptimizer {
  package let settings: AdamW
  /// Updates the matrices in place of AdamW, or nil.
  package let muon: Muon?
  /// The EMA, or none.
  package let averaging: MovingAverage?
  let group: ProcessGroup?
  let parts: [FlatParameters]
  /// The parameters' names and shapes in the order given.
  let layout: [(name: String, shape: [Int])]
  /// Updates of each parameter so far, fp32 as libtorch wants them, and one view for each.
  let counts: Tensor
  private let countViews: [Tensor]
  /// Which parameters have had a gradient since the last step.
  private var present: [Bool]

  /// - Parameters:
  ///   - parameters: what to train, fp32 or bf16 on one device. They are made to require gradients.
  ///   - muon: updates the matrices in place of AdamW; single process only, as it needs whole matrices.
  ///   - group: the ranks that train together, on the parameters' device; nil for one process.
  /// - Throws: `LiveTalkError` for settings or parameters that cannot be trained, `TorchError` for exhausted memory.
  package init(
    _ parameters: [(name: String, tensor: Tensor)], settings: AdamW = AdamW(), muon: Muon? = nil,
    averaging: MovingAverage? = nil, group: ProcessGroup? = nil
  ) throws {
    try ShardedOptimizer.check(parameters, settings, averaging)
    guard muon == nil || (group?.size ?? 1) == 1 else {
      throw LiveTalkError("Muon needs whole matrices, which are shared out over several processes: use AdamW there.")
    }
    self.group = group
    self.settings = settings
    self.muon = muon
    self.averaging = averaging
    layout = parameters.map { ($0.name, $0.tensor.shape) }
    present = [Bool](repeating: false, count: parameters.count)
    let device = parameters[0].tensor.device
    let numbered = parameters.enumerated().map { (index: $0.offset, name: $0.element.name, tensor: $0.element.tensor) }
    (parts, counts) = try withTorchErrors {
      try withGradients(false) {
        let parts = try [DType.float32, .bfloat16].compactMap { dtype in
          let some = numbered.filter { $0.tensor.dtype == dtype }
          return some.isEmpty ? nil : try FlatParameters(some, dtype, group)
        }
        return (parts, Tensor.zeros([parameters.count], device: device))
      }
    }
    let counts = counts
    countViews = parameters.indices.map { counts.narrow(0, $0, 1) }
    for (_, tensor) in parameters { tensor.requiresGrad = true }
  }

  private static func check(
    _ parameters: [(name: String, tensor: Tensor)], _ settings: AdamW, _ averaging: MovingAverage?
  ) throws {
    guard let device = parameters.first?.tensor.device else {
      throw LiveTalkError("There is no parameter to train.")
    }
    var names: Set<String> = []
    for (name, tensor) in parameters {
      guard tensor.dtype == .float32 || tensor.dtype == .bfloat16 else {
        throw LiveTalkError(
          "The parameter \(name) has the type \(tensor.dtype); only float32 and bfloat16 are trained.")
      }
      guard tensor.isLeaf, tensor.count > 0 else {
        throw LiveTalkError("The parameter \(name) is \(tensor.isLeaf ? "empty" : "the result of an operation").")
      }
      guard tensor.device == device else {
        throw LiveTalkError("The parameter \(name) is on \(tensor.device), the first one on \(device).")
      }
      guard names.insert(name).inserted else { throw LiveTalkError("The parameter \(name) is there twice.") }
    }
    let betas = 0..<1.0
    guard betas.contains(settings.beta1), betas.contains(settings.beta2), settings.epsilon >= 0,
      settings.weightDecay >= 0
    else {
      throw LiveTalkError(
        "AdamW needs betas from 0 to below 1, and an epsilon and a weight decay that are not negative.")
    }
    guard averaging.map({ betas.contains($0.weight) }) ?? true else {
      throw LiveTalkError("The weight of the moving average is from 0 to below 1.")
    }
  }

  // MARK: - Training

  /// Adds the parameters' gradients, times `scale`, to the buffer and frees them; call it after every `backward`.
  package func accumulate(scale: Double = 1) {
    withGradients(false) {
      for part in parts { part.takeGradients(scale: scale, &present) }
    }
  }

  /// Zeroes the accumulated gradients.
  package func discardGradients() {
    withGradients(false) {
      for part in parts { part.gradients.fill_(0) }
    }
    present = present.map { _ in false }
  }

  /// One update with the accumulated gradients, and of the EMA.
  ///
  /// - Parameter limit: the maximum global gradient norm.
  /// - Returns: the global gradient norm before clipping. If it is not finite, the update is skipped and the gradients are zeroed.
  package func step(learningRate: Double, clippingTo limit: Double? = nil) throws -> Double {
    try withTorchErrors {
      try withGradients(false) {
        defer { discardGradients() }
        try addUpGradients()
        let updated = parts.flatMap { $0.pieces }.filter { present[$0.index] }
        let squares = Tensor.sumOfSquares(updated.map(\.gradient)).to(counts.device)
        try group?.allReduce(squares)
        let norm = squares.item.squareRoot()
        guard norm.isFinite else { return norm }
        if let limit {
          let factor = AdamW.clipping(norm: norm, limit: limit)
          if factor < 1 { for part in parts { part.gradientShare.mul_(factor) } }
        }
        counts.add_(Tensor(present.map { $0 ? Float(1) : 0 }, device: counts.device))
        move(updated, learningRate)
        moveAverages()
        try publish()
        return norm
      }
    }
  }

  private func move(_ updated: [FlatParameters.Piece], _ learningRate: Double) {
    func isMatrix(_ piece: FlatParameters.Piece) -> Bool {
      muon != nil && Muon.moves(layout[piece.index].name, layout[piece.index].shape)
    }
    let others = updated.filter { !isMatrix($0) }
    Tensor.stepAdamW(
      others.map(\.master), gradients: others.map(\.gradient), firstMoments: others.map(\.first),
      secondMoments: others.map(\.second), steps: others.map { countViews[$0.index] }, rate: learningRate,
      beta1: settings.beta1, beta2: settings.beta2, weightDecay: settings.weightDecay, epsilon: settings.epsilon)
    for (shape, pieces) in Dictionary(grouping: updated.filter(isMatrix), by: { layout[$0.index].shape }) {
      muon?.step(
        pieces.map { ($0.master, $0.gradient, $0.first) }, shape: shape, rate: learningRate,
        weightDecay: settings.weightDecay)
    }
  }

  /// Reduce-scatters the gradients to their mean; a rank without one adds zeros.
  private func addUpGradients() throws {
    guard let group else { return }
    let flags = Tensor(present.map { $0 ? Float(1) : 0 }, device: counts.device)
    try group.allReduce(flags, .max)
    present = flags.array().map { $0 > 0 }
    for part in parts { try group.reduceScatter(part.gradients, .mean) }
  }

  /// All-gathers the master weights into the parameters.
  func publish() throws {
    for part in parts { try part.publish(group) }
  }

  // MARK: - EMA

  /// Starts the EMA as a copy of the weights once `counter` has reached its start; call it after every step.
  package func startAverage(counter: Int) {
    guard let averaging, counter >= averaging.start else { return }
    withGradients(false) {
      for part in parts where part.average == nil { part.average = part.master.clone() }
    }
  }

  package var hasAverage: Bool { parts.allSatisfy { $0.average != nil } }

  private func moveAverages() {
    guard let averaging else { return }
    for part in parts {
      guard let average = part.average else { continue }
      average.mul_(averaging.weight)
      average.add_(part.master, alpha: 1 - averaging.weight)
    }
  }

  // MARK: - Whole values

  /// The fp32 master weights in the order of the parameters, gathered from all ranks; valid until the next step.
  package func values() throws -> [(name: String, tensor: Tensor)] {
    // fp32 parameters are their own master weights.
    try collected { $0.dtype == .float32 ? $0.working : try $0.collected($0.master, group) }
  }

  /// The EMA of all parameters in fp32, or nil before its start.
  package func averages() throws -> [(name: String, tensor: Tensor)]? {
    hasAverage ? try collected { part in try part.average.map { try part.collected($0, group) } } : nil
  }

  private func collected(_ whole: (FlatParameters) throws -> Tensor?) throws -> [(name: String, tensor: Tensor)] {
    try withTorchErrors {
      try withGradients(false) {
        let found = try parts.flatMap { part in try whole(part).map(part.views) ?? [] }
        return found.sorted { $0.index < $1.index }.map { ($0.name, $0.tensor) }
      }
    }
  }
}
