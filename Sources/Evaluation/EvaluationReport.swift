import Foundation
import Models

/// What is measured of one video.
package struct ClipMeasures: Codable, Equatable, Sendable {
  package var id: String
  package var frames: Int
  /// Where the truth of its sounds is known.
  package var lipSync: LipSync?
  package var speech: SpeechFollowing?
  package var identity: IdentityStability?
  package var picture: PictureStability?
  package var acting: Acting?

  /// - Parameters:
  ///   - reference: the vector of the reference picture; `stranger` of another person's.
  ///   - truth: of the sounds that are heard; `other` of those of another clip.
  ///   - envelope: of the sound, as `speechEnvelope` gives it; `otherEnvelope` of another clip's.
  package init(
    id: String, _ reading: VideoReading, reference: [Float]?, stranger: [Float]?, truth: MouthSeries?,
    other: MouthSeries?,
    envelope: [Double], otherEnvelope: [Double]?, framesPerSecond: Int
  ) {
    self.id = id
    frames = reading.frames
    let rate = Double(framesPerSecond)
    lipSync = truth.flatMap { LipSync(read: reading.mouth, truth: $0, other: other, framesPerSecond: rate) }
    speech = SpeechFollowing(
      opening: reading.series(.mouthOpen), envelope: envelope, other: otherEnvelope, framesPerSecond: rate)
    identity = reference.flatMap {
      IdentityStability(frames: reading.identities, reference: $0, stranger: stranger, framesPerSecond: rate)
    }
    picture = PictureStability(
      colours: reading.colours, deviations: reading.deviations, backdrops: reading.backdrops,
      framesPerSecond: framesPerSecond)
    acting = Acting(reading.columns)
  }
}

/// A table of what was measured, one row a figure.
package struct EvaluationReport: Codable, Sendable {
  /// What made the videos, and how.
  package var subject: String
  package var clips: [ClipMeasures]
  /// The same of the true videos of these clips, read by the same reader: what a perfect model would reach.
  package var truth: [ClipMeasures]
  /// Between the frames, and between the windows, of the videos and of the true ones; nil where there are none.
  package var frechetDistance: Double?
  package var frechetVideoDistance: Double?
  /// What the reader makes of the true frames, where their truth is known.
  package var reader: ReaderAccuracy?
  /// Frames a second of generation, without loading; nil where nothing was generated.
  package var generatedFramesPerSecond: Double?

  package init(subject: String, clips: [ClipMeasures], truth: [ClipMeasures] = []) {
    (self.subject, self.clips, self.truth) = (subject, clips, truth)
  }

  /// The names of the figures, how many decimals they are given with, and how they are read off a clip.
  static let figures: [(name: String, decimals: Int, value: @Sendable (ClipMeasures) -> Double?)] = [
    ("lip sync: opening", 3, { $0.lipSync?.opening.correlation }),
    ("lip sync: opening, best lag", 3, { $0.lipSync?.opening.best }),
    ("lip sync: lag (ms)", 0, { $0.lipSync?.opening.lag }),
    ("lip sync: width", 3, { $0.lipSync?.width?.correlation }),
    ("lip sync: another clip's sound", 3, { $0.lipSync?.control?.correlation }),
    ("opening and loudness", 3, { $0.speech?.envelope.correlation }),
    ("opening and another clip's loudness", 3, { $0.speech?.control?.correlation }),
    ("opening in silence / in speech", 3, { $0.speech?.silentOpening }),
    ("identity: mean cosine", 3, { $0.identity?.mean }),
    ("identity: least cosine", 3, { $0.identity?.least }),
    ("identity: a stranger's cosine", 3, { $0.identity?.stranger }),
    ("identity: last 10 s less first 10 s", 3, { $0.identity?.drift }),
    ("colour drift, largest (1/255)", 2, { $0.picture?.colourDrift }),
    ("colour drift, at the end (1/255)", 2, { $0.picture?.lastColourDrift }),
    ("flicker of the luminance (1/255)", 3, { $0.picture?.flicker }),
    ("flicker of the backdrop (1/255)", 3, { $0.picture?.backdropFlicker }),
    ("black frames", 2, { ($0.picture?.blackFrames).map(Double.init) }),
    ("flat frames", 2, { ($0.picture?.flatFrames).map(Double.init) }),
    ("smile", 3, { $0.acting?.smile }),
    ("gaze to the right", 3, { $0.acting?.gazeX }),
    ("yaw (degrees)", 2, { $0.acting?.yaw }),
    ("head up and down (share of height)", 4, { $0.acting?.rise }),
    ("head sideways (share of width)", 4, { $0.acting?.sway }),
    ("closed eyes (share of frames)", 3, { $0.acting?.closedEyes }),
  ]

  /// The means over the clips that have a figure, of the videos and of the true ones; figures that no clip has are left out.
  package var table: String {
    let showsTruth = !truth.isEmpty
    func cell(_ text: String) -> String { String(repeating: " ", count: max(1, 12 - text.count)) + text }
    func text(_ clips: [ClipMeasures], _ decimals: Int, _ value: (ClipMeasures) -> Double?) -> String {
      let values = clips.compactMap(value)
      guard !values.isEmpty else { return "–" }
      let text = String(format: "%.\(decimals)f", mean(values))
      return text.allSatisfy { "-0.".contains($0) } ? text.replacing("-", with: "") : text
    }
    func row(_ name: String, _ cells: [String]) -> String {
      name + String(repeating: " ", count: max(1, 38 - name.count)) + cells.map(cell).joined()
    }
    var lines = [
      row("mean of \(clips.count) clip\(clips.count == 1 ? "" : "s")", ["measured"] + (showsTruth ? ["true"] : []))
    ]
    for figure in Self.figures where (clips + truth).contains(where: { figure.value($0) != nil }) {
      let cells = [clips] + (showsTruth ? [truth] : [])
      lines.append(row(figure.name, cells.map { text($0, figure.decimals, figure.value) }))
    }
    let totals = [
      ("Fréchet distance, frames", frechetDistance, 3), ("Fréchet distance, windows of 8", frechetVideoDistance, 3),
      ("generated frames a second", generatedFramesPerSecond, 2),
    ]
    for (name, value, decimals) in totals {
      if let value { lines.append(row(name, [String(format: "%.\(decimals)f", value)])) }
    }
    if let reader {
      lines.append(row("the reader on true frames", ["correlation", "error"]))
      for column in FaceColumn.allCases {
        guard let accuracy = reader.columns["\(column)"] else { continue }
        let correlation = accuracy.correlation.map { String(format: "%.3f", $0) } ?? "–"
        lines.append(row("  \(column)", [correlation, String(format: "%.3f", accuracy.error)]))
      }
      lines.append(row("  landmarks (share of the height)", ["", String(format: "%.4f", reader.landmarkError)]))
    }
    return lines.joined(separator: "\n")
  }
}
