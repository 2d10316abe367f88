import Foundation

extension Encodable {
  /// As JSON whose keys are in order, so that equal values give equal text.
  ///
  /// - Parameter indented: over several lines, for people.
  package func jsonText(indented: Bool = false) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if indented { encoder.outputFormatting.insert(.prettyPrinted) }
    return String(decoding: try encoder.encode(self), as: UTF8.self)
  }
}
