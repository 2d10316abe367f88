import Foundation

/// The eigenvalues and eigenvectors of a symmetric matrix, by Jacobi's rotations: slow for thousands of rows, exact to the last
/// bits for the hundreds that features have.
package struct SymmetricEigen {
  /// Not in order.
  package let values: [Double]
  /// Column j is the vector of value j, row by row.
  package let vectors: [Double]

  /// - Parameter matrix: `size` × `size`, row by row; its upper and lower half are equal.
  package init(_ matrix: [Double], size: Int) {
    var a = matrix
    var v = [Double](repeating: 0, count: size * size)
    for index in 0..<size { v[index * size + index] = 1 }
    a.withUnsafeMutableBufferPointer { a in
      v.withUnsafeMutableBufferPointer { v in
        let total = a.reduce(0) { $0 + $1 * $1 }
        for _ in 0..<60 {
          var off = 0.0
          for row in 0..<size { for column in 0..<row { off += a[row * size + column] * a[row * size + column] } }
          if off <= 1e-26 * total { break }
          for p in 0..<size { for q in p + 1..<max(size, p + 1) { Self.rotate(a, v, size, p, q) } }
        }
      }
    }
    values = (0..<size).map { a[$0 * size + $0] }
    vectors = v
  }

  /// Turns the plane of two axes so that the entry between them is 0 (Golub and Van Loan, section 8.5).
  private static func rotate(
    _ a: UnsafeMutableBufferPointer<Double>, _ v: UnsafeMutableBufferPointer<Double>, _ size: Int, _ p: Int, _ q: Int
  ) {
    let between = a[p * size + q]
    guard between != 0 else { return }
    let tau = (a[q * size + q] - a[p * size + p]) / (2 * between)
    let t = (tau >= 0 ? 1.0 : -1.0) / (abs(tau) + (1 + tau * tau).squareRoot())
    let c = 1 / (1 + t * t).squareRoot()
    let s = t * c
    for k in 0..<size {
      let (left, right) = (a[k * size + p], a[k * size + q])
      a[k * size + p] = c * left - s * right
      a[k * size + q] = s * left + c * right
    }
    for k in 0..<size {
      let (left, right) = (a[p * size + k], a[q * size + k])
      a[p * size + k] = c * left - s * right
      a[q * size + k] = s * left + c * right
      let (first, second) = (v[k * size + p], v[k * size + q])
      v[k * size + p] = c * first - s * second
      v[k * size + q] = s * first + c * second
    }
  }

  /// The matrix with this done to each eigenvalue.
  package func applying(_ function: (Double) -> Double) -> [Double] {
    let size = values.count
    let mapped = values.map(function)
    var result = [Double](repeating: 0, count: size * size)
    for row in 0..<size {
      for column in 0...row {
        var sum = 0.0
        for k in 0..<size { sum += vectors[row * size + k] * mapped[k] * vectors[column * size + k] }
        result[row * size + column] = sum
        result[column * size + row] = sum
      }
    }
    return result
  }
}
