package import Models
package import Torch

/// Which process of a pipeline does what: consecutive denoising steps, and after the last of them the decoder.
///
/// With one process more than steps, each does one thing, as published (timestep-forcing pipeline parallelism of Live Avatar,
/// arXiv 2512.04677). With fewer, some do several, and those near the decoder more than the others: it is often the quickest part.
package struct PipelinePlan: Hashable, Sendable {
  /// Denoising steps of a block.
  package let steps: Int
  /// Processes.
  package let ranks: Int

  /// - Throws: `TorchError` for more processes than steps and a decoder, or fewer than two.
  package init(steps: Int, ranks: Int) throws {
    guard steps > 0, (2...steps + 1).contains(ranks) else {
      let least = ranks < 2 ? "start them with torchrun or the like, or leave --pipeline out" : "start fewer"
      let fitting = steps > 1 ? "2 to \(steps + 1)" : "2"
      throw TorchError(
        "A pipeline of \(steps) denoising steps and a decoder has \(fitting) processes, not \(ranks): \(least).")
    }
    (self.steps, self.ranks) = (steps, ranks)
  }

  /// The parts of a process: its steps, and `steps` for the decoder.
  package func parts(of rank: Int) -> Range<Int> {
    let parts = steps + 1
    return rank * parts / ranks..<(rank + 1) * parts / ranks
  }

  /// The steps of a process, none for one that only decodes.
  package func steps(of rank: Int) -> Range<Int> { parts(of: rank).clamped(to: 0..<steps) }

  /// The process that decodes.
  package var decoder: Int { ranks - 1 }
  /// The process that computes the last step.
  package var lastStep: Int { steps(of: decoder).isEmpty ? decoder - 1 : decoder }
}

extension CheckpointFolder {
  /// What a process of a pipeline computes with: only the autoencoder where it only decodes.
  ///
  /// - Parameters: see `LiveAvatarModels`.
  /// - Throws: as that.
  package func loadStage(
    _ plan: PipelinePlan, rank: Int, device: Device, dtype: DType, weights: WeightOptions,
    report: (String) -> Void = { _ in }
  ) throws -> (models: LiveAvatarModels?, vae: WanVAE) {
    guard !plan.steps(of: rank).isEmpty else {
      report("video autoencoder")
      return (nil, try loadVAE(device: device, dtype: dtype))
    }
    let models = try LiveAvatarModels(loading: self, device: device, dtype: dtype, weights: weights, report: report)
    return (models, models.vae)
  }
}
