import Foundation
import NN
import Testing
import Torch

@testable import Evaluation

@Suite struct FrechetDistanceTests {
  private func rows(_ tensor: Tensor) -> [[Float]] {
    let (count, width) = (tensor.size(0), tensor.size(1))
    let values = tensor.array(Float.self)
    return (0..<count).map { Array(values[$0 * width..<($0 + 1) * width]) }
  }

  @Test(arguments: [1, 2, 7, 64]) func `eigenvalues and vectors make the matrix again`(size: Int) {
    let x = RandomGenerator(seed: 3).normal([size, size + 2], .float64)
    let matrix = x.matmul(x.transpose(0, 1)).array(Double.self)
    let eigen = SymmetricEigen(matrix, size: size)
    let again = eigen.applying { $0 }
    let largest = matrix.map(abs).max() ?? 1
    #expect(zip(matrix, again).allSatisfy { abs($0 - $1) < 1e-12 * largest * Double(size) })
    let v = Tensor(eigen.vectors, [size, size])
    let identity = v.transpose(0, 1).matmul(v).array(Double.self)
    for (place, value) in identity.enumerated() {
      #expect(abs(value - (place / size == place % size ? 1 : 0)) < 1e-12)
    }
    let root = Tensor(eigen.applying { $0.squareRoot() }, [size, size])
    #expect(root.matmul(root).maxAbsDifference(Tensor(matrix, [size, size])) < 1e-11 * largest)
  }

  @Test func `the distance of normal distributions is that of the formula`() throws {
    // Independent columns: |m₁ − m₂|² + Σ (σ₁ − σ₂)², here of what the samples have themselves.
    let generator = RandomGenerator(seed: 8)
    let (a, b) = (generator.normal([4000, 3]), generator.normal([4000, 3]))
    let one = a * Tensor([Float(1), 2, 0.5])
    let other = b * Tensor([Float(3), 2, 1]) + Tensor([Float(0), 4, -1])
    let first = try #require(FeatureStatistics(rows(one)))
    let second = try #require(FeatureStatistics(rows(other)))
    let distance = first.distance(to: second)
    #expect(abs(distance - (16 + 1 + 4 + 0.25)) < 0.6, "\(distance)")
    #expect(abs(second.distance(to: first) - distance) < 1e-9)
    #expect(first.distance(to: first) < 1e-9)
    // One turn of all features changes nothing.
    let turn = SymmetricEigen([2, 1, 0.5, 1, 3, -1, 0.5, -1, 1], size: 3)
    let rotation = Tensor(turn.vectors, [3, 3]).to(.float32)
    let turned = try #require(FeatureStatistics(rows(one.matmul(rotation))))
    let otherTurned = try #require(FeatureStatistics(rows(other.matmul(rotation))))
    #expect(abs(turned.distance(to: otherTurned) - distance) < 1e-4)
  }

  @Test func `features that do not vary have a distance all the same`() throws {
    let still = try #require(FeatureStatistics([[Float]](repeating: [1, 2], count: 5)))
    let other = try #require(FeatureStatistics([[Float]](repeating: [1, 5], count: 5)))
    #expect(abs(still.distance(to: other) - 9) < 1e-9)
    #expect(FeatureStatistics([[1, 2]]) == nil)
  }

  @Test func `windows have the mean and the change of every feature`() {
    let frames = (0..<16).map { [Float($0), Float($0 % 2)] }
    let windows = windowFeatures(frames, length: 8)
    #expect(windows.count == 3 && windowFeatures(Array(frames.prefix(7))).isEmpty)
    #expect(zip(windows[1], [7.5, 0.5, 1, 1]).allSatisfy { abs($0 - $1) < 1e-5 })
  }
}
