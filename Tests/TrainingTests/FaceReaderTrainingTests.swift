import Models
import NN
import Testing
import Torch

@testable import Training

@Suite struct FaceReaderTrainingTests {
  /// Zoom and shift alone.
  private var moving: ReaderAugmentation {
    var settings = ReaderAugmentation()
    (settings.softness, settings.blur, settings.noise, settings.colour) = (0, 0, 0, 0)
    (settings.zoom, settings.shift) = (0.2, 0.1)
    return settings
  }

  @Test func `landmarks follow the picture when it is moved and zoomed`() {
    let side = FaceReader.side
    for seed in 0..<12 as Range<UInt64> {
      // A bright square of 9 pixels, its middle where the nose is said to be.
      let (x, y) = (60 + Int(seed), 70 - Int(seed))
      let picture = Tensor.full([1, 3, side, side], -1)
      picture.narrow(2, y - 4, 9).narrow(3, x - 4, 9).fill_(1)
      let columns = Tensor.zeros([1, FaceColumn.count])
      columns.narrow(1, FaceColumn.noseX.rawValue, 1).fill_((Double(x) + 0.5) / Double(side))
      columns.narrow(1, FaceColumn.noseY.rawValue, 1).fill_((Double(y) + 0.5) / Double(side))
      columns.narrow(1, FaceColumn.smile.rawValue, 1).fill_(0.7)
      let (moved, truth) = moving(picture, columns, RandomGenerator(seed: seed))
      #expect(moved.shape == picture.shape && truth.shape == columns.shape)
      let weight = (moved.select(0, 0).select(0, 0) + 1) / 2  // [side, side]
      let places = Tensor.range(Double(side)) + 0.5
      let middleX = (weight.sum(0) * places).sum().item / weight.sum().item / Double(side)
      let middleY = (weight.sum(1) * places).sum().item / weight.sum().item / Double(side)
      let values = truth.array(Float.self).map(Double.init)
      #expect(abs(values[FaceColumn.noseX.rawValue] - middleX) < 0.003)
      #expect(abs(values[FaceColumn.noseY.rawValue] - middleY) < 0.003)
      #expect(values[FaceColumn.smile.rawValue] == Double(Float(0.7)))
    }
  }

  @Test func `a picture is worsened within its range and by its seed alone`() {
    let picture = RandomGenerator(seed: 1).uniform([1, 3, FaceReader.side, FaceReader.side]) * 2 - 1
    let columns = Tensor.zeros([1, FaceColumn.count])
    let settings = ReaderAugmentation()
    for seed in 0..<6 as Range<UInt64> {
      let (one, _) = settings(picture, columns, RandomGenerator(seed: seed))
      let (again, _) = settings(picture, columns, RandomGenerator(seed: seed))
      #expect(one.equals(again) && !one.equals(picture) && one.abs().max().item <= 1)
    }
  }

  @Test func `partners are told from others, and others of the same person do not count`() {
    let configuration = FaceReaderConfiguration(widths: [8, 8, 8, 32], hidden: 8, identityWidth: 8)
    let reader = FaceReader(configuration, ParameterStore(random: RandomGenerator(seed: 2)).root)
    let generator = RandomGenerator(seed: 3)
    let people = (0..<3).map { _ in generator.uniform([1, 3, FaceReader.side, FaceReader.side]) * 2 - 1 }
    let columns = Tensor.zeros([6, FaceColumn.count])
    func accuracy(_ order: [Int], _ speakers: [String?]) -> (Double, Double) {
      let pictures = Tensor.cat(order.map { people[$0] }, 0)
      let result = ReaderObjective()(reader, ReaderBatch(pictures: pictures, columns: columns, speakers: speakers))
      return (result.accuracy.item, result.identity.item)
    }
    #expect(accuracy([0, 0, 1, 1, 2, 2], ["a", "b", "c"]).0 == 1)
    // The partner of each is someone else here, whose like stands in another pair.
    #expect(accuracy([0, 1, 1, 2, 2, 0], ["a", "b", "c"]).0 == 0)
    // With nobody else to be taken for, everyone is found.
    let (share, loss) = accuracy([0, 1, 1, 2, 2, 0], ["a", "a", "a"])
    #expect(share == 1 && loss < 1e-6)
  }

  @Test func `columns that are read without error cost nothing but identity`() {
    let configuration = FaceReaderConfiguration(widths: [8, 8, 8, 32], hidden: 8, identityWidth: 8)
    let reader = FaceReader(configuration, ParameterStore(random: RandomGenerator(seed: 2)).root)
    let pictures = RandomGenerator(seed: 3).uniform([2, 3, FaceReader.side, FaceReader.side]) * 2 - 1
    // Where the truth is what is read, both look for mouth and eyes at one place.
    let read = reader(pictures).columns.detach()
    let objective = ReaderObjective()
    let exact = objective(reader, ReaderBatch(pictures: pictures, columns: read, speakers: ["a"]))
    #expect(exact.columns.item < 1e-9 && exact.mouthError.item == 0)
    let step = Tensor(FaceColumn.allCases.map { $0 == .mouthOpen ? Float(0.2) : 0 })
    let wrong = objective(reader, ReaderBatch(pictures: pictures, columns: read + step, speakers: ["a"]))
    // One spread off in one column of weight 3 of 32 + 2 · 5.
    #expect(abs(wrong.columns.item - (2.0.squareRoot() - 1) * 3 / 42) < 1e-5)
    #expect(abs(wrong.mouthError.item - 0.2) < 1e-5)
  }
}
