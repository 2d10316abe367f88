/// The opening and the width of a mouth, one value a frame.
package struct MouthSeries: Sendable, Equatable {
  package var open: [Double]
  package var width: [Double]

  package init(open: [Double], width: [Double]) { (self.open, self.width) = (open, width) }
}

/// How the mouth of a video follows the sounds that drove it, where their true shapes are known.
package struct LipSync: Codable, Equatable, Sendable {
  package var opening: SeriesMatch
  /// Nil where the sounds ask for no change of it.
  package var width: SeriesMatch?
  /// The same against the sound of another clip: what chance gives.
  package var control: SeriesMatch?

  /// - Parameters:
  ///   - read: off the video's frames.
  ///   - truth: of the sound that drove it.
  ///   - other: of the sound of another clip.
  package init?(read: MouthSeries, truth: MouthSeries, other: MouthSeries?, framesPerSecond: Double) {
    guard let opening = SeriesMatch(read: read.open, known: truth.open, framesPerSecond: framesPerSecond) else {
      return nil
    }
    self.opening = opening
    width = SeriesMatch(read: read.width, known: truth.width, framesPerSecond: framesPerSecond)
    control = other.flatMap { SeriesMatch(read: read.open, known: $0.open, framesPerSecond: framesPerSecond) }
  }
}

/// How the mouth of a video follows the loudness of its sound, for recordings whose sounds are not known.
package struct SpeechFollowing: Codable, Equatable, Sendable {
  /// Of the opening with the envelope of the speech.
  package var envelope: SeriesMatch
  /// The same with the sound of another clip.
  package var control: SeriesMatch?
  /// The mean opening in silence as a share of that while there is speech; nil where one of them does not occur.
  package var silentOpening: Double?

  /// An envelope below this is silence, above it twice over speech.
  private static let quiet = 0.25

  package init?(opening: [Double], envelope: [Double], other: [Double]?, framesPerSecond: Double) {
    guard let match = SeriesMatch(read: opening, known: envelope, framesPerSecond: framesPerSecond) else { return nil }
    self.envelope = match
    control = other.flatMap { SeriesMatch(read: opening, known: $0, framesPerSecond: framesPerSecond) }
    let silent = zip(opening, envelope).filter { $0.1 < Self.quiet }.map(\.0)
    let spoken = zip(opening, envelope).filter { $0.1 >= 2 * Self.quiet }.map(\.0)
    if !silent.isEmpty, !spoken.isEmpty, mean(spoken) > 1e-3 { silentOpening = mean(silent) / mean(spoken) }
  }
}
