/// How long what a client writes may be.
package enum TextLimit: Sendable {
  /// To be spoken, answered, or read aloud.
  case text
  /// A direction.
  case prompt

  /// As a reader counts them.
  package var characters: Int {
    switch self {
    case .text: 4_096
    case .prompt: 1_000
    }
  }

  /// Accents can be heaped on a letter without end.
  private static let bytesPerCharacter = 32

  package func allows(_ text: String) -> Bool {
    text.utf8.count <= Self.bytesPerCharacter * characters && text.count <= characters
  }

  /// What is said of a longer one.
  package var sentence: String {
    switch self {
    case .text: "A text has at most \(characters) characters."
    case .prompt: "A prompt has at most \(characters) characters."
    }
  }
}
