import ClipShards
package import Torch

// T video frames, F latent frames, H and W pixels, h and w latent pixels.

/// Loss weights of mouth and eyes, where the rest of the picture has 1. Clips without `FaceTruth` are weighted uniformly.
package struct FaceRegionSettings: CheckedSettings {
  package var mouth = 1.0
  package var eyes = 1.0

  package init(mouth: Double = 1, eyes: Double = 1) { (self.mouth, self.eyes) = (mouth, eyes) }

  package func check(_ check: inout ConfigurationCheck) {
    check.positive("mouth", mouth)
    check.positive("eyes", eyes)
  }

  package var isEven: Bool { mouth == 1 && eyes == 1 }
}

/// The boxes of mouth and eyes in a clip's frames, and the loss weights made of them.
package struct FaceRegions {
  /// Left, top, right and bottom in pixels.
  package typealias Box = (left: Float, top: Float, right: Float, bottom: Float)

  /// The boxes of each video frame.
  package let mouths: [Box]
  package let eyes: [[Box]]

  /// - Parameter faces: rows of `FaceTruth`, `[T, 32]`.
  package init(_ faces: Tensor) {
    let values = faces.to(.cpu, .float32).array(Float.self)
    let rows = stride(from: 0, to: values.count, by: FaceTruth.columns).map {
      FaceRow(Array(values[$0..<$0 + FaceTruth.columns]))
    }
    mouths = rows.map(\.mouth)
    eyes = rows.map(\.eyes)
  }

  /// The weight of every pixel, `[1, 1, T, H, W]`.
  package func weights(height: Int, width: Int, _ settings: FaceRegionSettings) -> Tensor {
    weights(mouths, eyes, rows: height, columns: width, cell: 1, settings)
  }

  /// The weight of every latent pixel, `[1, 1, F, h, w]`, by the share of it that a box covers. A latent frame has the union of its
  /// video frames' boxes.
  package func weights(
    latentFrames: Int, temporalStride: Int, rows: Int, columns: Int, cell: Int, _ settings: FaceRegionSettings
  ) -> Tensor {
    let groups = (0..<latentFrames).map { frame in
      frame == 0 ? 0..<1 : (frame - 1) * temporalStride + 1..<frame * temporalStride + 1
    }
    return weights(
      groups.map { union(mouths[$0]) },
      groups.map { group in [0, 1].map { side in union(eyes[group].map { $0[side] }) } },
      rows: rows, columns: columns, cell: cell, settings)
  }

  private func union(_ boxes: some Collection<Box>) -> Box {
    boxes.dropFirst().reduce(boxes.first ?? (0, 0, 0, 0)) {
      (min($0.left, $1.left), min($0.top, $1.top), max($0.right, $1.right), max($0.bottom, $1.bottom))
    }
  }

  private func weights(
    _ mouths: [Box], _ eyes: [[Box]], rows: Int, columns: Int, cell: Int, _ settings: FaceRegionSettings
  ) -> Tensor {
    func covered(_ boxes: [Box]) -> Tensor {
      let vertical = boxes.flatMap { coverage($0.top, $0.bottom, cells: rows, cell: cell) }
      let horizontal = boxes.flatMap { coverage($0.left, $0.right, cells: columns, cell: cell) }
      return Tensor(vertical, [1, 1, boxes.count, rows, 1]) * Tensor(horizontal, [1, 1, boxes.count, 1, columns])
    }
    return covered(mouths) * (settings.mouth - 1)
      + (covered(eyes.map { $0[0] }) + covered(eyes.map { $0[1] })) * (settings.eyes - 1) + 1
  }

  /// The share of each cell of a side that lies between two places.
  private func coverage(_ start: Float, _ end: Float, cells: Int, cell: Int) -> [Float] {
    let size = Float(cell)
    return (0..<cells).map { max(0, min(end, Float($0 + 1) * size) - max(start, Float($0) * size)) / size }
  }
}

/// One row of `FaceTruth`.
private struct FaceRow {
  private let values: [Float]

  init(_ values: [Float]) { self.values = values }

  private func point(_ landmark: FaceTruth.Landmark) -> (x: Float, y: Float) {
    (values[landmark.column], values[landmark.column + 1])
  }

  /// From the middle of the eyes to the chin: a length that turning the head does not change much.
  private var length: Float {
    let (left, right, chin) = (point(.leftEye), point(.rightEye), point(.chin))
    let (x, y) = (chin.x - (left.x + right.x) / 2, chin.y - (left.y + right.y) / 2)
    return (x * x + y * y).squareRoot()
  }

  private func box(_ center: (x: Float, y: Float), _ halfWidth: Float, _ halfHeight: Float) -> FaceRegions.Box {
    (
      center.x - halfWidth * length, center.y - halfHeight * length, center.x + halfWidth * length,
      center.y + halfHeight * length
    )
  }

  var mouth: FaceRegions.Box {
    let points = [FaceTruth.Landmark.mouthLeft, .mouthRight, .lipTop, .lipBottom].map(point)
    return box((points.map(\.x).reduce(0, +) / 4, points.map(\.y).reduce(0, +) / 4), 0.4, 0.28)
  }

  var eyes: [FaceRegions.Box] { [.leftEye, .rightEye].map { box(point($0), 0.22, 0.17) } }
}
