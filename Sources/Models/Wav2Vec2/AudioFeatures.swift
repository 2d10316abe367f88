import Foundation
package import Torch

/// What is done to a sound before the speech encoder.
package enum AudioFeatures {
  /// The samples with zero mean and unit (population) variance, `[S]`; 1e-7 keeps silence finite.
  package static func normalized(_ samples: [Float]) -> Tensor {
    let x = Tensor(samples).to(.float64)
    let centred = x - x.mean()
    return (centred / (centred.square().mean() + 1e-7).sqrt()).to(.float32)
  }

  /// The same by the mean and the variance of more than these samples.
  static func normalized(_ samples: [Float], _ known: (mean: Double, variance: Double)) -> Tensor {
    ((Tensor(samples).to(.float64) - known.mean) / (known.variance + 1e-7).squareRoot()).to(.float32)
  }
}
