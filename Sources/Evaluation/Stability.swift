import Foundation

/// Whether the person stays the one of the reference picture.
package struct IdentityStability: Codable, Equatable, Sendable {
  /// Cosine of each frame's vector with the reference picture's: their mean and the least.
  package var mean: Double
  package var least: Double
  /// The mean with the reference picture of another clip's person: what a stranger has.
  package var stranger: Double?
  /// Of the last ten seconds less that of the first ten; nil for a video shorter than twenty.
  package var drift: Double?
  /// The mean of each second.
  package var bySecond: [Double]

  /// - Parameters:
  ///   - frames: vectors of length 1.
  ///   - reference: the same of the reference picture; `stranger` of somebody else's.
  package init?(frames: [[Float]], reference: [Float], stranger: [Float]? = nil, framesPerSecond: Double) {
    guard !frames.isEmpty else { return nil }
    func similarity(_ other: [Float]) -> [Double] {
      frames.map { frame in zip(frame, other).reduce(0.0) { $0 + Double($1.0) * Double($1.1) } }
    }
    let cosines = similarity(reference)
    self.stranger = stranger.map { Evaluation.mean(similarity($0)) }
    mean = Evaluation.mean(cosines)
    least = cosines.min() ?? 0
    let second = max(1, min(Int(framesPerSecond), cosines.count))
    bySecond = stride(from: 0, through: cosines.count - second, by: second).map {
      Evaluation.mean(Array(cosines[$0..<$0 + second]))
    }
    let window = Int(10 * framesPerSecond)
    if cosines.count >= 2 * window {
      drift = Evaluation.mean(Array(cosines.suffix(window))) - Evaluation.mean(Array(cosines.prefix(window)))
    }
  }
}

/// Whether the pictures keep their colours and lie still.
package struct PictureStability: Codable, Equatable, Sendable {
  /// Of windows of a second against the first one: the largest difference of the mean colour, in 1/255, over windows and the
  /// three colours.
  package var colourDrift: Double
  /// The same of the last window alone.
  package var lastColourDrift: Double
  /// The same of each window, the first one's 0.
  package var colourDriftBySecond: [Double]
  /// The mean absolute second difference over time, in 1/255: of the mean luminance, and of each pixel of the backdrop.
  package var flicker: Double
  package var backdropFlicker: Double
  /// Frames that are black, and others of one flat colour.
  package var blackFrames: Int
  package var flatFrames: Int

  /// As the guard of training has it, on a scale of 255.
  private static let (blackMean, blackDeviation, flatDeviation) = (12.75, 6.4, 2.55)

  package init?(
    colours: [[Float]], deviations: [Float], backdrops: [[Float]], framesPerSecond: Int
  ) {
    guard !colours.isEmpty else { return nil }
    let window = max(1, min(framesPerSecond, colours.count))
    let windows = stride(from: 0, through: colours.count - window, by: window).map { start in
      (0..<3).map { colour in Evaluation.mean((start..<start + window).map { Double(colours[$0][colour]) }) }
    }
    func distance(_ window: [Double]) -> Double { zip(window, windows[0]).map { abs($0 - $1) }.max() ?? 0 }
    colourDriftBySecond = windows.map(distance)
    colourDrift = colourDriftBySecond.max() ?? 0
    lastColourDrift = distance(windows[windows.count - 1])
    let luminance = colours.map { 0.299 * Double($0[0]) + 0.587 * Double($0[1]) + 0.114 * Double($0[2]) }
    flicker = secondDifference(luminance.map { [Float($0)] })
    backdropFlicker = secondDifference(backdrops)
    let isBlack = zip(luminance, deviations).map { $0 < Self.blackMean && Double($1) < Self.blackDeviation }
    blackFrames = isBlack.count { $0 }
    flatFrames = zip(isBlack, deviations).count { !$0 && Double($1) < Self.flatDeviation }
  }
}

/// The mean absolute second difference over time of many values; 0 for fewer than three moments.
func secondDifference(_ rows: [[Float]]) -> Double {
  guard rows.count >= 3, let width = rows.first?.count, width > 0 else { return 0 }
  var sum = 0.0
  for row in 1..<rows.count - 1 {
    for place in 0..<width {
      sum += Double(abs(rows[row - 1][place] - 2 * rows[row][place] + rows[row + 1][place]))
    }
  }
  return sum / Double((rows.count - 2) * width)
}
