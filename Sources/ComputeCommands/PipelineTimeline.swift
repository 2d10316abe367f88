import Foundation
import Generation

/// Draws when each process of a pipeline worked on which block, as figure 8 of the Live Avatar paper does: a row for each process, a colour
/// for each block, time to the right. The encoding of a block's sound is pale.
struct PipelineTimeline {
  let plan: PipelinePlan
  let spans: [PipelineSpan]
  /// Of the report.
  let title: String

  private static let (left, top, width, row, gap) = (190.0, 40.0, 1000.0, 30.0, 6.0)
  /// Blocks take them in turn: those that are in work together differ.
  private static let colours = [
    "#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#9d755d", "#d4a900",
  ]

  /// What parts are called: "steps 1–3", "step 4, decoder".
  static func words(_ parts: Range<Int>, steps: Int) -> String {
    let own = parts.clamped(to: 0..<steps)
    let numbers = own.count > 1 ? "steps \(own.lowerBound + 1)–\(own.upperBound)" : "step \(own.lowerBound + 1)"
    return [own.isEmpty ? nil : numbers, parts.contains(steps) ? "decoder" : nil].compactMap(\.self)
      .joined(separator: ", ")
  }

  /// An SVG of the first blocks.
  func svg(blocks: Int = 16) -> String {
    let shown = spans.filter { $0.block < blocks }
    let end = max(shown.map(\.end).max() ?? 0, 1e-9)
    let bottom = y(plan.ranks)
    var lines = [
      """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(Self.left + Self.width + 40)) \(Int(bottom + 44))" \
      font-family="sans-serif" font-size="12">
      """,
      #"<rect width="100%" height="100%" fill="white"/>"#,
      #"<text x="10" y="22" font-size="14">\#(escaped(title))</text>"#,
    ]
    let step = Self.tick(end)
    for tick in 0...Int(end / step) {
      let place = number(x(Double(tick) * step, of: end))
      lines.append(
        #"<line x1="\#(place)" x2="\#(place)" y1="\#(number(Self.top))" y2="\#(number(bottom))" stroke="gainsboro"/>"#
          + #"<text x="\#(place)" y="\#(number(bottom + 16))" text-anchor="middle">"#
          + String(format: "%g", Double(tick) * step) + "</text>")
    }
    lines.append(
      #"<text x="\#(number(Self.left + Self.width / 2))" y="\#(number(bottom + 34))" text-anchor="middle">"#
        + "seconds; the number and the colour are the block's</text>")
    for rank in 0..<plan.ranks {
      let words = Self.words(plan.parts(of: rank), steps: plan.steps)
      lines.append(#"<text x="10" y="\#(number(y(rank) + 19))">process \#(rank): \#(words)</text>"#)
    }
    for span in shown.sorted(by: { ($0.rank, $0.start) < ($1.rank, $1.start) }) {
      let (start, width) = (x(span.start, of: end), max(span.seconds / end * Self.width, 0.5))
      let isSound = span.part == PipelineSpan.sound
      let what = isSound ? "sound" : Self.words(span.part..<span.part + 1, steps: plan.steps)
      lines.append(
        #"<rect x="\#(number(start))" y="\#(number(y(span.rank)))" width="\#(number(width))" height="\#(number(Self.row))" "#
          + #"fill="\#(Self.colours[span.block % Self.colours.count])" fill-opacity="\#(isSound ? "0.35" : "1")" "#
          + #"stroke="white" stroke-width="0.5">"#
          + "<title>block \(span.block), \(what): \(number(span.seconds * 1000)) ms</title></rect>")
      let label = "\(span.block)"
      if !isSound, width > 7 * Double(label.count) + 2 {
        lines.append(
          #"<text x="\#(number(start + width / 2))" y="\#(number(y(span.rank) + 19))" text-anchor="middle" fill="white">"#
            + "\(label)</text>")
      }
    }
    return (lines + ["</svg>", ""]).joined(separator: "\n")
  }

  /// A round number of seconds, of which four to ten are so long.
  private static func tick(_ seconds: Double) -> Double {
    let power = pow(10, (log10(seconds / 10)).rounded(.up))
    return [power / 5, power / 2, power].first { seconds / $0 <= 10 } ?? power
  }

  private func x(_ seconds: Double, of end: Double) -> Double { Self.left + seconds / end * Self.width }
  private func y(_ rank: Int) -> Double { Self.top + Double(rank) * (Self.row + Self.gap) }
  private func number(_ value: Double) -> String { String(format: "%.2f", value) }
  private func escaped(_ text: String) -> String {
    text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
  }
}
