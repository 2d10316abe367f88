import Models
import Testing

@testable import Evaluation

@Suite struct ActingTests {
  /// A face at rest in each of 40 frames, but for what `change` gives.
  private func columns(_ change: (Int) -> [FaceColumn: Double] = { _ in [:] }) -> [[Float]] {
    (0..<40).map { frame in
      let changed = change(frame)
      return FaceColumn.allCases.map { Float(changed[$0] ?? $0.centre) }
    }
  }

  @Test func `a nod is a way up and down, a shake one from side to side`() throws {
    let still = try #require(Acting(columns()))
    #expect(still.rise == 0 && still.sway == 0)
    let nod = try #require(
      Acting(
        columns { frame in
          let down = frame % 10 < 5 ? 0.04 : 0
          return [.leftEyeY: 0.43 + down, .rightEyeY: 0.43 + down]
        }))
    #expect(abs(nod.rise - 0.04) < 1e-6 && nod.sway == 0)
    let shake = try #require(Acting(columns { [.noseX: $0 % 10 < 5 ? 0.47 : 0.53] }))
    #expect(abs(shake.sway - 0.06) < 1e-6 && shake.rise == 0)
  }

  @Test func `a tilted head is no nod, and one misread frame is no movement`() throws {
    let tilt = try #require(
      Acting(columns { [.leftEyeY: 0.43 + 0.001 * Double($0), .rightEyeY: 0.43 - 0.001 * Double($0)] }))
    #expect(tilt.rise < 1e-6)
    let misread = try #require(Acting(columns { $0 == 7 ? [.leftEyeY: 0.9, .rightEyeY: 0.9] : [:] }))
    #expect(misread.rise < 1e-6)
  }

  @Test func `what a face shows is averaged, and frames with closed eyes are counted`() throws {
    let acting = try #require(Acting(columns { [.smile: $0 < 20 ? 1 : 0, .blink: $0 < 10 ? 0.8 : 0.1, .yaw: 0.5] }))
    #expect(abs(acting.smile - 0.5) < 1e-6 && acting.closedEyes == 0.25)
    #expect(abs(acting.yaw - 10) < 1e-6)
    #expect(Acting([]) == nil)
  }
}
