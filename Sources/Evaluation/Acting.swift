import Models

/// What a face shows and where it looks, over a whole video: what a direction such as "smiling, looks left" asks for.
package struct Acting: Codable, Equatable, Sendable {
  /// −1…1.
  package var smile: Double
  /// −1…1, to the picture's right.
  package var gazeX: Double
  /// Degrees, to the picture's right.
  package var yaw: Double
  /// Degrees from the highest to the lowest pose: large for nods.
  package var pitchRange: Double
  /// Degrees from left to right: large for shaking the head.
  package var yawRange: Double
  package var browRaise: Double
  /// Share of frames with closed eyes.
  package var closedEyes: Double

  package init?(_ reading: VideoReading) {
    guard !reading.columns.isEmpty else { return nil }
    func average(_ column: FaceColumn) -> Double { mean(reading.series(column)) }
    func range(_ column: FaceColumn) -> Double {
      let sorted = reading.series(column).sorted()
      // A frame that is misread is no movement.
      let (low, high) = (sorted[sorted.count / 20], sorted[sorted.count - 1 - sorted.count / 20])
      return (high - low) * FaceColumn.degrees
    }
    (smile, gazeX, browRaise) = (average(.smile), average(.gazeX), average(.browRaise))
    yaw = average(.yaw) * FaceColumn.degrees
    (pitchRange, yawRange) = (range(.pitch), range(.yaw))
    let blinks = reading.series(.blink)
    closedEyes = Double(blinks.count { $0 > 0.5 }) / Double(blinks.count)
  }
}
