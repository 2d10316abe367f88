import Foundation

/// Pearson's correlation of two series of equal length, −1…1; nil where one is too short or does not change.
package func correlation(_ a: [Double], _ b: [Double]) -> Double? {
  guard a.count == b.count, a.count >= 3 else { return nil }
  let (meanA, meanB) = (mean(a), mean(b))
  var (product, squareA, squareB) = (0.0, 0.0, 0.0)
  for (x, y) in zip(a, b) {
    product += (x - meanA) * (y - meanB)
    squareA += (x - meanA) * (x - meanA)
    squareB += (y - meanB) * (y - meanB)
  }
  // A series that changes by rounding alone does not change.
  let least = 1e-12 * Double(a.count)
  guard squareA > least, squareB > least else { return nil }
  return product / (squareA * squareB).squareRoot()
}

package func mean(_ values: [Double]) -> Double {
  values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count)
}

/// How a series that was read follows one that is known.
package struct SeriesMatch: Codable, Equatable, Sendable {
  /// Pearson's correlation without a shift.
  package var correlation: Double
  /// Milliseconds by which what was read comes after what is known, where they agree best.
  package var lag: Double
  /// The correlation there.
  package var best: Double

  /// - Parameters:
  ///   - read: one value a frame.
  ///   - known: the same; what is longer is cut.
  ///   - reach: frames by which they are shifted to either side.
  package init?(read: [Double], known: [Double], framesPerSecond: Double, reach: Int = 5) {
    let count = min(read.count, known.count)
    let (read, known) = (Array(read.prefix(count)), Array(known.prefix(count)))
    guard let still = Evaluation.correlation(read, known) else { return nil }
    var shifts: [(shift: Int, value: Double)] = []
    for shift in -reach...reach where count - abs(shift) >= 3 {
      let value = Evaluation.correlation(
        Array(read.dropFirst(max(shift, 0)).dropLast(max(-shift, 0))),
        Array(known.dropFirst(max(-shift, 0)).dropLast(max(shift, 0))))
      if let value { shifts.append((shift, value)) }
    }
    guard let top = shifts.indices.max(by: { shifts[$0].value < shifts[$1].value }) else { return nil }
    var (place, height) = (Double(shifts[top].shift), shifts[top].value)
    // The top of the parabola through the best shift and its neighbours.
    if top > 0, top + 1 < shifts.count, shifts[top + 1].shift - shifts[top - 1].shift == 2 {
      let (before, after) = (shifts[top - 1].value, shifts[top + 1].value)
      let bend = before - 2 * height + after
      if bend < -1e-12 {
        let offset = 0.5 * (before - after) / bend
        place += offset
        height -= 0.25 * (before - after) * offset
      }
    }
    (correlation, lag, best) = (still, place * 1000 / framesPerSecond, min(height, 1))
  }
}
