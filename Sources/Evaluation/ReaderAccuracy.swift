import Models

/// How well a face reader reads true frames: how far its measures of generated ones can be trusted.
package struct ReaderAccuracy: Codable, Equatable, Sendable {
  /// One column: Pearson's correlation over all frames of all clips, and the mean absolute error in the column's units.
  package struct Column: Codable, Equatable, Sendable {
    package var correlation: Double?
    package var error: Double
  }

  /// By the name of the column.
  package var columns: [String: Column]
  /// The mean distance of the landmarks from their places, as a share of the picture's height.
  package var landmarkError: Double

  /// - Parameters: rows of `FaceColumn`, one for each frame, of square pictures.
  package init?(read: [[Float]], truth: [[Float]]) {
    guard read.count == truth.count, !read.isEmpty else { return nil }
    var columns: [String: Column] = [:]
    for column in FaceColumn.allCases where !column.isLandmark {
      let (a, b) = (read.map { Double($0[column.rawValue]) }, truth.map { Double($0[column.rawValue]) })
      columns["\(column)"] = Column(correlation: correlation(a, b), error: mean(zip(a, b).map { abs($0 - $1) }))
    }
    self.columns = columns
    var sum = 0.0
    for (a, b) in zip(read, truth) {
      for x in stride(from: 0, to: FaceColumn.landmarks, by: 2) {
        let (right, down) = (Double(a[x] - b[x]), Double(a[x + 1] - b[x + 1]))
        sum += (right * right + down * down).squareRoot()
      }
    }
    landmarkError = sum / Double(read.count * FaceColumn.landmarks / 2)
  }
}
