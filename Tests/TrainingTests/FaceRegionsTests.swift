import ClipShards
import Testing
import Torch

@testable import Training

@Suite struct FaceRegionsTests {
  /// Rows of one face: eyes at (40, 40) and (60, 40), chin at (50, 90), mouth around (50, 70), moved down by `shift` each frame.
  private func faces(frames: Int, shift: Float = 0) -> Tensor {
    let points: [FaceTruth.Landmark: (Float, Float)] = [
      .leftEye: (40, 40), .rightEye: (60, 40), .nose: (50, 55), .mouthLeft: (42, 70), .mouthRight: (58, 70),
      .lipTop: (50, 66), .lipBottom: (50, 74), .chin: (50, 90),
    ]
    var rows = [Float](repeating: 0, count: frames * FaceTruth.columns)
    for frame in 0..<frames {
      for (landmark, (x, y)) in points {
        rows[frame * FaceTruth.columns + landmark.column] = x
        rows[frame * FaceTruth.columns + landmark.column + 1] = y + shift * Float(frame)
      }
    }
    return Tensor(rows, [frames, FaceTruth.columns])
  }

  private let settings = FaceRegionSettings(mouth: 5, eyes: 3)

  @Test func `mouth and eyes weigh what is asked for, the rest 1`() {
    let weights = FaceRegions(faces(frames: 2)).weights(height: 100, width: 100, settings)
    #expect(weights.shape == [1, 1, 2, 100, 100])
    func at(_ x: Int, _ y: Int) -> Double { weights.select(2, 1).select(2, y).select(2, x).item }
    #expect(at(50, 70) == 5 && at(42, 70) == 5 && at(50, 66) == 5 && at(50, 74) == 5)
    #expect(at(40, 40) == 3 && at(60, 40) == 3)
    #expect(at(50, 20) == 1 && at(50, 95) == 1 && at(10, 70) == 1)
    // The boxes are in units of the 50 pixels from the eyes to the chin: 0.4 and 0.28 of it to the mouth's edges.
    #expect(at(50 - 20, 70) == 5 && at(50 - 21, 70) == 1 && at(50, 70 - 14) == 5 && at(50, 70 - 15) == 1)
  }

  @Test func `a latent pixel weighs by its share of the box, a latent frame by all of its video frames`() {
    let regions = FaceRegions(faces(frames: 5, shift: 2))
    let weights = regions.weights(
      latentFrames: 2, temporalStride: 4, rows: 10, columns: 10, cell: 10, FaceRegionSettings(mouth: 5))
    #expect(weights.shape == [1, 1, 2, 10, 10])
    func at(_ frame: Int, _ column: Int, _ row: Int) -> Double {
      weights.select(2, frame).select(2, row).select(2, column).item
    }
    // The mouth's box of frame 0 is 30...70 by 56...84.
    #expect(at(0, 4, 6) == 5 && abs(at(0, 4, 5) - (1 + 4 * 0.4)) < 1e-5 && abs(at(0, 4, 8) - (1 + 4 * 0.4)) < 1e-5)
    // Frames 1 to 4 move it to 58...92.
    #expect(abs(at(1, 4, 5) - (1 + 4 * 0.2)) < 1e-5 && at(1, 4, 8) == 5 && abs(at(1, 4, 9) - (1 + 4 * 0.2)) < 1e-5)
    #expect(at(0, 4, 1) == 1)
  }

  @Test func `even weights are seen to be even`() {
    #expect(FaceRegionSettings().isEven && !settings.isEven)
    let weights = FaceRegions(faces(frames: 1)).weights(height: 8, width: 8, FaceRegionSettings())
    #expect(weights.min().item == 1 && weights.max().item == 1)
  }
}
