import Foundation
import Testing
import Torch

@testable import NN

@Suite struct MuonTests {
  private func values(_ tensor: Tensor) -> [Double] { tensor.array(Double.self) }

  @Test func `singular values of any size become about one`() {
    // A diagonal matrix shows its singular values; the published iteration brings them between 0.7 and 1.2.
    let scales = [5.0, 2, 0.7, 0.3]
    let diagonal = Tensor(
      (0..<4).flatMap { row in (0..<6).map { Float(row == $0 ? scales[row] : 0) } }, [4, 6])
    let result = Muon.orthogonal(diagonal)
    for (index, value) in values(result).enumerated() {
      let (row, column) = (index / 6, index % 6)
      if row == column { #expect((0.65...1.25).contains(value), "\(value)") } else { #expect(abs(value) < 1e-5) }
    }
  }

  @Test func `a transposed matrix has the transposed result, at any scale`() {
    let matrix = RandomGenerator(seed: 1).normal([3, 8])
    let result = values(Muon.orthogonal(matrix))
    let turned = values(Muon.orthogonal((matrix * 100).transpose(0, 1)).transpose(0, 1))
    for (one, other) in zip(result, turned) { #expect(abs(one - other) < 1e-4) }
  }

  @Test func `matrices of one shape that are moved together move as alone`() {
    let muon = Muon()
    func parameters() -> [Muon.Parameter] {
      (0..<3).map { number in
        let generator = RandomGenerator(seed: 30 + UInt64(number))
        return (generator.normal([40]), generator.normal([40]) * Double(1 + number), generator.normal([40]))
      }
    }
    let (together, alone) = (parameters(), parameters())
    muon.step(together, shape: [8, 5], rate: 0.1, weightDecay: 0.1)
    for parameter in alone { muon.step([parameter], shape: [8, 5], rate: 0.1, weightDecay: 0.1) }
    for (one, other) in zip(together, alone) {
      #expect(one.master.maxAbsDifference(other.master) < 1e-5 && one.average.equals(other.average))
    }
  }

  @Test func `matrices of hidden layers are moved, nothing else`() {
    #expect(Muon.moves("blocks.0.ffn.0.weight", [8, 4]) && Muon.moves("decoder.conv1.weight", [8, 4, 3, 3, 3]))
    for (name, shape) in [
      ("blocks.0.ffn.0.bias", [8]), ("blocks.0.modulation", [1, 6, 4]), ("residual.0.gamma", [8, 1, 1, 1]),
      ("head.head.weight", [8, 4]), ("decoder.head.2.weight", [3, 8, 3, 3, 3]),
      ("patch_embedding.weight", [8, 4, 1, 2, 2]),
    ] { #expect(!Muon.moves(name, shape), "\(name)") }
  }

  private struct Model {
    let matrix = RandomGenerator(seed: 2).normal([4, 6])
    let vector = RandomGenerator(seed: 3).normal([4])
    var parameters: [(name: String, tensor: Tensor)] { [("layer.weight", matrix), ("layer.bias", vector)] }

    func setGradients(_ step: Int) {
      matrix.grad = RandomGenerator(seed: 10 + UInt64(step)).normal([4, 6])
      vector.grad = RandomGenerator(seed: 20 + UInt64(step)).normal([4])
    }

    func step(_ optimizer: ShardedOptimizer, _ steps: Range<Int>) throws {
      for step in steps {
        setGradients(step)
        optimizer.accumulate()
        _ = try optimizer.step(learningRate: 0.1)
      }
    }
  }

  @Test func `a matrix moves by a fifth of the learning rate, a vector as AdamW moves it`() throws {
    let (model, other) = (Model(), Model())
    let start = values(model.matrix)
    try model.step(try ShardedOptimizer(model.parameters, settings: AdamW(weightDecay: 0), muon: Muon()), 0..<1)
    try other.step(try ShardedOptimizer(other.parameters, settings: AdamW(weightDecay: 0)), 0..<1)
    let squares = zip(values(model.matrix), start).map { ($0 - $1) * ($0 - $1) }
    let moved = (squares.reduce(0, +) / Double(squares.count)).squareRoot()
    #expect((0.013...0.025).contains(moved), "\(moved)")
    #expect(values(model.vector) == values(other.vector) && values(model.matrix) != values(other.matrix))
  }

  @Test func `a run that goes on from its state is the run that was never stopped`() throws {
    let (whole, begun, resumed) = (Model(), Model(), Model())
    func optimizer(_ model: Model) throws -> ShardedOptimizer { try ShardedOptimizer(model.parameters, muon: Muon()) }
    try whole.step(try optimizer(whole), 0..<4)
    let first = try optimizer(begun)
    try begun.step(first, 0..<2)
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("muon-\(UUID().uuidString).safetensors")
    defer { try? FileManager.default.removeItem(at: file) }
    try writeSafetensors(first.state(), metadata: first.stateMetadata, to: file)
    let second = try optimizer(resumed)
    try second.load([SafetensorsFile(file)])
    try resumed.step(second, 2..<4)
    #expect(values(resumed.matrix) == values(whole.matrix) && values(resumed.vector) == values(whole.vector))
  }
}
