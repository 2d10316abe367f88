import NN
import Testing
import Torch

@testable import Models

@Suite struct FaceReaderTests {
  @Test func `a reader is told by its weights and gives what it gave`() throws {
    let configuration = FaceReaderConfiguration(widths: [8, 16, 8, 32], hidden: 24, identityWidth: 12)
    let store = ParameterStore(random: RandomGenerator(seed: 1))
    let reader = FaceReader(configuration, store.root)
    let weights = Dictionary(uniqueKeysWithValues: store.parameters.map { ($0.name, $0.tensor) })
    #expect(try FaceReaderConfiguration(readingFrom: weights) == configuration)
    let again = try FaceReader(weights: weights)
    let pictures = RandomGenerator(seed: 2).uniform([3, 3, FaceReader.side, FaceReader.side]) * 2 - 1
    let (one, other) = (reader(pictures), again(pictures))
    #expect(
      one.columns.shape == [3, FaceColumn.count] && one.identity.shape == [3, 12] && one.features.shape == [3, 32])
    #expect(one.columns.equals(other.columns) && one.identity.equals(other.identity))
    #expect((one.identity.norm(2, 1) - 1).abs().max().item < 1e-5)
    var broken = weights
    broken["output.bias"] = nil
    #expect(throws: CheckpointMismatch.self) { try FaceReader(weights: broken) }
    #expect(throws: (any Error).self) { try FaceReader(weights: ["hidden.weight": Tensor([Float(1)])]) }
  }

  @Test func `the standard reader is small`() {
    let store = ParameterStore.shapes()
    _ = FaceReader(.standard, store.root)
    let count = store.layout.map { $0.shape.reduce(1, *) }.reduce(0, +)
    #expect((300_000...700_000).contains(count), "\(count)")
  }

  @Test func `truth in pixels becomes shares of the picture, and degrees parts of twenty`() {
    let truth = Tensor((0..<FaceColumn.count).map { Float($0 + 1) }, [1, FaceColumn.count])
    let units = FaceReader.units(truth, width: 64, height: 32).array(Float.self)
    #expect(units[0] == 1.0 / 64 && units[1] == 2.0 / 32 && units[14] == 15.0 / 64 && units[15] == 16.0 / 32)
    #expect(units[FaceColumn.mouthOpen.rawValue] == 17 && abs(units[FaceColumn.pitch.rawValue] - 23.0 / 20) < 1e-6)
    #expect(units[FaceColumn.smile.rawValue] == 32)
  }
}
