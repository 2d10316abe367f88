import Torch

/// The mean and the standard deviation of each channel of an autoencoder's latents, by which the transformer's are normalised.
///
/// They are measured over the clips that a model is trained with. Weights do not hold them: a checkpoint folder whose
/// autoencoder is not the published one has them in its `livetalk.json`.
package struct LatentStatistics: Codable, Equatable, Sendable {
  package let mean: [Double]
  package let deviation: [Double]

  package init(mean: [Double], deviation: [Double]) {
    self.mean = mean
    self.deviation = deviation
  }

  /// Why latents cannot be normalised by these, or nil.
  package var problem: String? {
    if mean.count != deviation.count || mean.isEmpty {
      return "the latent statistics have \(mean.count) means and \(deviation.count) deviations"
    }
    let areNumbers = mean.allSatisfy(\.isFinite) && deviation.allSatisfy { $0.isFinite && $0 > 0 }
    return areNumbers ? nil : "the latent statistics have a deviation that is not positive, or no number"
  }

  /// - Throws: `TorchError` where they are not those of so many channels.
  func check(channels: Int) throws {
    if let problem { throw TorchError("A model cannot be normalised: \(problem).") }
    guard mean.count == channels else {
      throw TorchError(
        "The latent statistics are those of \(mean.count) channels, and the autoencoder has \(channels).")
    }
  }
}
