import Foundation
import Testing
import Torch

@testable import Models

@Suite struct RotaryTests {
  /// (cosine, sine) of pair `pair` of a token at (time, row, column), by complex arithmetic in Double.
  private func angle(_ headDim: Int, _ pair: Int, _ time: Int, _ row: Int, _ column: Int) -> Double {
    let third = headDim / 3
    let parts = [(headDim - 2 * third, time), (third, row), (third, column)]
    var index = pair
    for (width, position) in parts {
      if index < width / 2 { return Double(position) / pow(10000, Double(2 * index) / Double(width)) }
      index -= width / 2
    }
    return .nan
  }

  @Test(arguments: [24, 32, 48, 128], [0, 7, 1023, 100_000])
  func `factors are those of complex numbers, however late`(headDim: Int, start: Int) {
    let (rows, columns, frames) = (2, 3, 2)
    let factors = Rotary(headDim: headDim, grid: (rows, columns), device: .cpu).factors(start: start, frames: frames)
    #expect(factors.shape == [frames * rows * columns, headDim / 2, 2])
    let values = factors.array(Double.self)
    var worst = 0.0
    for token in 0..<frames * rows * columns {
      for pair in 0..<headDim / 2 {
        let turn = angle(
          headDim, pair, start + token / (rows * columns), token / columns % rows, token % columns)
        let at = (token * headDim / 2 + pair) * 2
        worst = max(worst, abs(values[at] - cos(turn)), abs(values[at + 1] - sin(turn)))
      }
    }
    #expect(worst < 1e-7)
  }

  @Test(arguments: [1, 3, -3, -500])
  func `a shift turns a key to a later time and leaves its place`(distance: Int) {
    let rotary = Rotary(headDim: 24, grid: (2, 2), device: .cpu)
    let key = RandomGenerator(seed: 1).normal([1, 8, 2, 24], .float64)
    func turned(_ start: Int) -> Tensor {
      let copy = key.clone()
      copy.rotate_(rotary.factors(start: start, frames: 2))
      return copy
    }
    let moved = turned(600)
    let shift = rotary.shift(byFrames: distance)
    #expect(shift.shape == [12, 2])
    moved.rotate_(shift.unsqueeze(0).expand(8, 12, 2).contiguous())
    #expect(moved.maxAbsDifference(turned(600 + distance)) < 1e-6)
  }

  @Test func `timesteps become cosines and then sines`() {
    let embedding = sinusoidalEmbedding(Tensor([0, 2.5] as [Double]), width: 6).array(Double.self)
    for (index, value) in embedding.enumerated() {
      let angle = (index < 6 ? 0 : 2.5) * pow(10000, -Double(index % 3) / 3)
      #expect(abs(value - (index % 6 < 3 ? cos(angle) : sin(angle))) < 1e-12)
    }
    #expect(sinusoidalEmbedding(Tensor([1] as [Float]), width: 6).dtype == .float32)
  }
}
