import Foundation
import Generation

/// Draws when each part of a pipeline worked on which block, as figure 8 of the Live Avatar paper does.
struct PipelineTimeline {
  let plan: PipelinePlan
  let spans: [PipelineSpan]
  let blocksPerClip: Int
  /// Of the report.
  let title: String

  private static let (left, top, width, row, gap) = (150.0, 44.0, 1000.0, 30.0, 6.0)
  /// One for the blocks of a clip.
  private static let colours = ["#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2"]

  /// What parts are called: "steps 1–3", "step 4, decoder".
  static func words(_ parts: Range<Int>, steps: Int) -> String {
    let own = parts.clamped(to: 0..<steps)
    let numbers = own.count > 1 ? "steps \(own.lowerBound + 1)–\(own.upperBound)" : "step \(own.lowerBound + 1)"
    return [own.isEmpty ? nil : numbers, parts.contains(steps) ? "decoder" : nil].compactMap(\.self)
      .joined(separator: ", ")
  }

  /// An SVG of the first blocks, in full when there are few.
  func svg(blocks: Int = 16) -> String {
    let shown = spans.filter { $0.block < blocks }
    let end = max(shown.map(\.end).max() ?? 0, 1e-9)
    let parts = plan.steps + 1
    let bottom = y(parts) + 4
    var lines = [
      """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(Self.left + Self.width + 20)) \(Int(bottom + 40))" \
      font-family="sans-serif" font-size="12">
      """,
      #"<rect width="100%" height="100%" fill="white"/>"#,
      #"<text x="10" y="20" font-size="14">\#(escaped(title))</text>"#,
    ]
    for part in 0..<parts {
      let name = part < plan.steps ? "step \(part + 1)" : "decoder"
      let rank = (0..<plan.ranks).first { plan.parts(of: $0).contains(part) } ?? 0
      lines.append(#"<text x="10" y="\#(number(y(part) + 20))">process \#(rank): \#(name)</text>"#)
      lines.append(
        #"<line x1="\#(number(Self.left))" x2="\#(number(Self.left + Self.width))" y1="\#(number(y(part + 1) - 3))" "#
          + #"y2="\#(number(y(part + 1) - 3))" stroke="silver"/>"#)
    }
    for span in shown where span.part != PipelineSpan.sound {
      let (start, width) = (x(span.start, of: end), max(span.seconds / end * Self.width, 0.5))
      let colour = Self.colours[span.block / blocksPerClip % Self.colours.count]
      lines.append(
        #"<rect x="\#(number(start))" y="\#(number(y(span.part)))" width="\#(number(width))" height="\#(number(Self.row))" "#
          + #"fill="\#(colour)" stroke="white"><title>block \#(span.block): \#(number(span.seconds * 1000)) ms</title></rect>"#
      )
      if width > 14 {
        lines.append(
          #"<text x="\#(number(start + width / 2))" y="\#(number(y(span.part) + 19))" text-anchor="middle" fill="white">"#
            + "\(span.block)</text>")
      }
    }
    for tick in 0...5 {
      let seconds = end * Double(tick) / 5
      lines.append(
        #"<text x="\#(number(x(seconds, of: end)))" y="\#(number(bottom + 18))" text-anchor="middle">"#
          + String(format: end < 1 ? "%.3f s" : "%.2f s", seconds) + "</text>")
    }
    return (lines + ["</svg>", ""]).joined(separator: "\n")
  }

  private func x(_ seconds: Double, of end: Double) -> Double { Self.left + seconds / end * Self.width }
  private func y(_ part: Int) -> Double { Self.top + Double(part) * (Self.row + Self.gap) }
  private func number(_ value: Double) -> String { String(format: "%.2f", value) }
  private func escaped(_ text: String) -> String {
    text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
  }
}
