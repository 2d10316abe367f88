import Basics
import Testing
import Torch

@testable import Generation

@Suite struct ReferencePictureTests {
  private typealias Size = ReferencePicture.Size

  /// A picture whose red is the column and whose green is the row, in steps of one level.
  private func ramp(_ width: Int, _ height: Int) -> Picture {
    Picture(
      width: width, height: height,
      bytes: (0..<height).flatMap { row in (0..<width).flatMap { [UInt8($0 % 256), UInt8(row % 256), 0] } })
  }

  @Test func `pixels become a tensor of channels`() {
    let tensor = ReferencePicture.tensor(Picture(width: 2, height: 1, bytes: [0, 51, 255, 102, 0, 153]))
    #expect(tensor.shape == [1, 3, 1, 2])
    for (value, expected) in zip(tensor.array(Double.self), [0, 0.4, 0.2, 0, 1, 0.6]) {
      #expect(abs(value - expected) < 1e-6)
    }
  }

  @Test func `a picture of the target's size is unchanged`() {
    let prepared = ReferencePicture.prepared(ramp(16, 8), Size(height: 8, width: 16))
    #expect(prepared.shape == [1, 3, 1, 8, 16])
    #expect(prepared.maxAbsDifference((ReferencePicture.tensor(ramp(16, 8)) * 2 - 1).unsqueeze(2)) < 1e-6)
  }

  @Test(arguments: [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
  func `the excess is cut off evenly, an odd pixel at the left`(excess: Int, left: Int) {
    let wide = ReferencePicture.prepared(ramp(8 + excess, 8), Size(height: 8, width: 8))
    let red = ((wide.select(2, 0).select(1, 0).select(1, 0) + 1) * 127.5).round().array(Int.self)
    #expect(red == Array(left..<left + 8))
    let tall = ReferencePicture.prepared(ramp(8, 8 + excess), Size(height: 8, width: 8))
    let green = ((tall.select(2, 0).select(1, 1).select(-1, 0) + 1) * 127.5).round().array(Int.self)
    #expect(green == Array(left..<left + 8))
  }

  @Test(arguments: [98, 412, 694])
  func `a side that rounding leaves a pixel short gets a black row at the bottom`(height: Int) {
    let target = Size(height: 512, width: 512)
    let pixels = Picture(
      width: height + 40, height: height, bytes: [UInt8](repeating: 255, count: (height + 40) * height * 3))
    let scaled = ReferencePicture.scaled(ReferencePicture.tensor(pixels), toCover: target)
    #expect(scaled.size(2) == 511)
    let prepared = ReferencePicture.prepared(pixels, target)
    #expect(prepared.shape == [1, 3, 1, 512, 512])
    #expect(prepared.narrow(3, 511, 1).max().item == -1)
    #expect(prepared.narrow(3, 0, 511).min().item > 0.99)
  }

  @Test(arguments: [(1, 1), (1, 64), (64, 1), (3, 200), (1000, 20)])
  func `extreme pictures still fill the target`(width: Int, height: Int) {
    let grey = Picture(width: width, height: height, bytes: [UInt8](repeating: 102, count: width * height * 3))
    let prepared = ReferencePicture.prepared(grey, Size(height: 32, width: 48))
    #expect(prepared.shape == [1, 3, 1, 32, 48])
    #expect((prepared.narrow(3, 0, 31).narrow(4, 0, 47) + 0.2).abs().max().item < 1e-5)
  }

  @Test func `of the sizes the one of the closest ratio is taken, the first on ties`() {
    let sizes = [Size(height: 400, width: 720), Size(height: 720, width: 400), Size(height: 512, width: 512)]
    #expect(ReferencePicture.size(of: sizes, closestTo: Size(height: 1000, width: 1000)) == sizes[2])
    #expect(ReferencePicture.size(of: sizes, closestTo: Size(height: 1920, width: 1080)) == sizes[1])
    #expect(ReferencePicture.size(of: sizes, closestTo: Size(height: 10, width: 1000)) == sizes[0])
    #expect(ReferencePicture.size(of: [], closestTo: sizes[0]) == nil)
    let same = [Size(height: 100, width: 100), Size(height: 200, width: 200), Size(height: 300, width: 300)]
    #expect(ReferencePicture.size(of: same, closestTo: Size(height: 310, width: 310)) == same[0])
    // A later one of the same ratio wins where its longer side is as far from the picture's as that of the first.
    #expect(ReferencePicture.size(of: same, closestTo: Size(height: 150, width: 150)) == same[1])
  }
}
