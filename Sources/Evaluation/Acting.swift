import Models

/// What a face shows and where it looks, over a whole video: what a direction such as "smiling, looks left" asks for.
package struct Acting: Codable, Equatable, Sendable {
  /// −1…1.
  package var smile: Double
  /// −1…1, to the picture's right.
  package var gazeX: Double
  /// Degrees, to the picture's right.
  package var yaw: Double
  /// How far the eyes go up and down, as a share of the picture's height: large for nods. Angles of a head are hard to read;
  /// landmarks are not.
  package var rise: Double
  /// How far the nose goes from side to side, as a share of the width: large for turning and shaking the head.
  package var sway: Double
  package var browRaise: Double
  /// Share of frames with closed eyes.
  package var closedEyes: Double

  /// - Parameter columns: of each frame, in the units of `FaceColumn`.
  package init?(_ columns: [[Float]]) {
    guard !columns.isEmpty else { return nil }
    func series(_ column: FaceColumn) -> [Double] { columns.map { Double($0[column.rawValue]) } }
    func average(_ column: FaceColumn) -> Double { mean(series(column)) }
    func range(_ series: [Double]) -> Double {
      let sorted = series.sorted()
      // A frame that is misread is no movement.
      let (low, high) = (sorted[sorted.count / 20], sorted[sorted.count - 1 - sorted.count / 20])
      return high - low
    }
    (smile, gazeX, browRaise) = (average(.smile), average(.gazeX), average(.browRaise))
    yaw = average(.yaw) * FaceColumn.degrees
    let eyes = zip(series(.leftEyeY), series(.rightEyeY)).map { ($0 + $1) / 2 }
    (rise, sway) = (range(eyes), range(series(.noseX)))
    let blinks = series(.blink)
    closedEyes = Double(blinks.count { $0 > 0.5 }) / Double(blinks.count)
  }
}
