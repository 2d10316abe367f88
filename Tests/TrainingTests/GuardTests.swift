import Foundation
import Testing
import Torch

@testable import Training

@Suite struct GuardTests {
  /// A head before a patterned wall that sways, and whose mouth opens and closes; `[3, T, 48, 48]` in [-1, 1].
  func picture(frames: Int = 16, brightness: Double = 0, contrast: Double = 1) -> Tensor {
    let side = 48
    var values: [Float] = []
    for channel in 0..<3 {
      for frame in 0..<frames {
        let t = Double(frame) / 16
        let (cx, cy) = (24 + 4 * sin(3 * t), 24 + 2 * cos(2 * t))
        let mouth = 2 + 2 * sin(25 * t)
        for y in 0..<side {
          for x in 0..<side {
            let (dx, dy) = (Double(x) - cx, Double(y) - cy)
            let wall = 0.3 * sin(Double(x) / 5 + Double(channel)) * cos(Double(y) / 7) - 0.2
            let head = 0.5 - 0.15 * Double(channel) + 0.01 * dx
            let lips = dx * dx / 25 + (dy - 8) * (dy - 8) / (mouth * mouth + 0.5) < 1
            let isHead = dx * dx / 196 + dy * dy / 324 < 1
            values.append(Float(brightness + contrast * (lips ? -0.7 : isHead ? head : wall)))
          }
        }
      }
    }
    return Tensor(values, [3, frames, side, side]).clamp(-1, 1)
  }

  func alternating(_ a: Tensor, _ b: Tensor, where isSecond: (Int) -> Bool) -> Tensor {
    Tensor.cat((0..<a.size(1)).map { (isSecond($0) ? b : a).narrow(1, $0, 1) }, 1)
  }

  @Test func `A moving picture passes, dark and bright and noisy ones too, and one with a cut`() {
    #expect(videoFaults(picture()) == [])
    #expect(videoFaults(picture(brightness: -0.8, contrast: 0.3)) == [])
    #expect(videoFaults(picture(brightness: 0.8, contrast: 0.3)) == [])
    #expect(videoFaults(picture() + RandomGenerator(seed: 1).normal([3, 16, 48, 48]) * 0.1) == [])
    #expect(videoFaults(RandomGenerator(seed: 1).uniform([3, 16, 48, 48]) * 2 - 1) == [])
    #expect(videoFaults(alternating(picture(), -picture()) { $0 > 7 }) == [])
    #expect(videoFaults(picture(frames: 1)) == [])
    #expect(videoFaults(picture().to(.bfloat16)) == [])
    let one = picture(frames: 1)
    #expect(videoFaults(one.expand(3, 16, 48, 48)) == [])
  }

  @Test func `Black frames are found`() {
    let black = Tensor.full([3, 16, 48, 48], -0.98)
    #expect(videoFaults(black).first?.contains("16 of 16 frames are black (mean -0.98") == true)
    #expect(videoFaults(alternating(picture(), black) { $0 > 10 }).first?.contains("5 of 16 frames are black") == true)
    #expect(videoFaults(black + RandomGenerator(seed: 1).normal([3, 16, 48, 48]) * 0.01).count == 1)
  }

  @Test func `Frames of one colour are found, whatever the colour`() {
    let colours = Tensor([0.7, -0.3, 0] as [Float], [3, 1, 1, 1]).expand(3, 16, 48, 48)
    #expect(videoFaults(colours).first?.contains("16 of 16 frames are of one flat colour") == true)
    let noisy = colours + RandomGenerator(seed: 1).normal([3, 16, 48, 48]) * 0.01
    #expect(videoFaults(noisy).first?.contains("of one flat colour") == true)
  }

  @Test func `Flicker and repeated jumps are found`() {
    let other = picture(brightness: 0.5)
    #expect(videoFaults(alternating(picture(), other) { $0 % 2 == 1 }).first?.contains("flickers") == true)
    #expect(
      videoFaults(alternating(picture(frames: 33), picture(frames: 33, brightness: 0.5)) { $0 / 8 % 2 == 1 })
        .first?.contains("jumps 4 times in 33 frames") == true)
  }

  @Test func `Values that are none are found`() {
    let video = picture()
    video.select(0, 1).select(0, 2).narrow(0, 0, 1).fill_(.nan)
    #expect(videoFaults(video) == ["48 of 110592 values of the video are not finite"])
    #expect(videoFaults(Tensor.zeros([3, 0, 4, 4])).first?.contains("no frames") == true)
  }

  @Test func `A loss that is none stops the run with the values before it`() throws {
    var guardian = NaNGuard(remembering: 2)
    for step in 1...4 { try guardian.check(step: step, [("loss", 1 / Double(step)), ("gradient norm", 2)]) }
    let text = message { try guardian.check(step: 5, [("loss", .nan), ("gradient norm", .infinity)]) }
    #expect(
      text == """
        Training stopped at step 5: the loss is nan; the gradient norm is inf.
        Before that:
          step 3: loss 0.33333, gradient norm 2
          step 4: loss 0.25, gradient norm 2
        """)
    let black = message { try guardian.check(step: 6, video: Tensor.full([3, 8, 8, 8], -1)) }
    #expect(black.contains("step 6: 8 of 8 frames are black") && black.contains("step 4"))
    try guardian.check(step: 6, video: picture())
  }
}
