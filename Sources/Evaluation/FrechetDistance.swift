import Foundation
import NN

/// The mean and the covariance of features, from which Fréchet's distance is taken.
package struct FeatureStatistics: Sendable {
  package let count: Int
  let mean: [Double]
  let covariance: [Double]

  /// - Parameter features: one row for each frame or window, all of one length.
  package init?(_ features: [[Float]]) {
    guard features.count >= 2, let width = features.first?.count, width > 0 else { return nil }
    count = features.count
    var mean = [Double](repeating: 0, count: width)
    for row in features { for place in 0..<width { mean[place] += Double(row[place]) } }
    mean = mean.map { $0 / Double(features.count) }
    var covariance = [Double](repeating: 0, count: width * width)
    for row in features {
      let centred = (0..<width).map { Double(row[$0]) - mean[$0] }
      for i in 0..<width where centred[i] != 0 {
        for j in 0...i { covariance[i * width + j] += centred[i] * centred[j] }
      }
    }
    for i in 0..<width {
      for j in 0...i {
        let value = covariance[i * width + j] / Double(features.count - 1)
        covariance[i * width + j] = value
        covariance[j * width + i] = value
      }
    }
    (self.mean, self.covariance) = (mean, covariance)
  }

  /// Fréchet's distance of the two normal distributions (Dowson and Landau 1982; Heusel et al. 2017 for pictures):
  /// |m₁ − m₂|² + tr(C₁ + C₂ − 2 (C₁^½ C₂ C₁^½)^½).
  ///
  /// Both roots are of symmetric matrices without negative eigenvalues, so that rounding cannot make them complex as it can the
  /// root of C₁C₂. With few more samples than features the distance is too large; compare only figures of equal counts.
  package func distance(to other: FeatureStatistics) -> Double {
    let size = mean.count
    precondition(other.mean.count == size, "distances are between features of one kind")
    let root = SymmetricEigen(covariance, size: size).applying { max($0, 0).squareRoot() }
    let inner = product(product(root, other.covariance, size), root, size)
    var symmetric = inner
    for i in 0..<size {
      for j in 0..<size { symmetric[i * size + j] = (inner[i * size + j] + inner[j * size + i]) / 2 }
    }
    let cross = SymmetricEigen(symmetric, size: size).values.reduce(0) { $0 + max($1, 0).squareRoot() }
    let means = zip(mean, other.mean).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    let traces = (0..<size).reduce(0) { $0 + covariance[$1 * size + $1] + other.covariance[$1 * size + $1] }
    return max(means + traces - 2 * cross, 0)
  }

  private func product(_ a: [Double], _ b: [Double], _ size: Int) -> [Double] {
    var result = [Double](repeating: 0, count: size * size)
    result.withUnsafeMutableBufferPointer { result in
      a.withUnsafeBufferPointer { a in
        b.withUnsafeBufferPointer { b in
          for i in 0..<size {
            for k in 0..<size {
              let factor = a[i * size + k]
              if factor == 0 { continue }
              for j in 0..<size { result[i * size + j] += factor * b[k * size + j] }
            }
          }
        }
      }
    }
    return result
  }
}

/// Features of a video's windows of `length` frames, half overlapping: the mean of each feature over the window, and the mean
/// absolute difference from frame to frame, one after the other. A stand-in for the video networks of FVD (Unterthiner et al.
/// 2018) that knows nothing but faces.
package func windowFeatures(_ frames: [[Float]], length: Int = 8) -> [[Float]] {
  guard frames.count >= length, let width = frames.first?.count else { return [] }
  return stride(from: 0, through: frames.count - length, by: length / 2).map { start in
    var means = [Float](repeating: 0, count: width)
    var changes = [Float](repeating: 0, count: width)
    for frame in start..<start + length {
      for place in 0..<width {
        means[place] += frames[frame][place] / Float(length)
        if frame > start { changes[place] += abs(frames[frame][place] - frames[frame - 1][place]) / Float(length - 1) }
      }
    }
    return means + changes
  }
}
