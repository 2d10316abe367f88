import Session

/// Takes from a language model's text what is not to be spoken.
struct SpokenText {
  private static let opening = "<think>"
  private static let closing = "</think>"

  private var isThinking = false
  /// What may be the beginning of a tag.
  private var held = ""

  /// Leaves out what the model thinks to itself, between `<think>` and `</think>`, wherever the pieces are cut.
  mutating func append(_ new: String) -> String {
    held += new
    var spoken = ""
    while true {
      let tag = isThinking ? Self.closing : Self.opening
      if let range = held.firstRange(of: tag) {
        if !isThinking { spoken += held[..<range.lowerBound] }
        held = String(held[range.upperBound...])
        isThinking.toggle()
        continue
      }
      // The longest end of the text that a tag may begin with.
      let keep = (1..<tag.count).last { held.hasSuffix(tag.prefix($0)) } ?? 0
      if !isThinking { spoken += held.dropLast(keep) }
      held = String(held.suffix(keep))
      return spoken
    }
  }

  /// What was held back at the text's end.
  mutating func finish() -> String {
    defer { held = "" }
    return isThinking ? "" : held
  }

  /// A sentence as a voice is to read it: without Markdown's marks and without pictographs.
  static func cleaned(_ sentence: String) -> String {
    var text = ""
    for character in sentence {
      if "*_`#~".contains(character) { continue }
      if character.unicodeScalars.contains(where: { $0.properties.isEmojiPresentation }) { continue }
      text.append(character)
    }
    return text.trimmed
  }
}
