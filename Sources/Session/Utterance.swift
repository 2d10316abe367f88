/// What the avatar says or is about to say.
struct Utterance: Hashable, Sendable {
  enum Source: Hashable, Sendable {
    /// An answer to the user.
    case answer
    /// A text that is to be spoken as it stands.
    case reading(String)
    /// The client's own sound.
    case client
  }

  /// Words and when they are spoken, in seconds from the first sample.
  struct Words: Hashable, Sendable {
    var text: String
    var at: Double
  }

  let id: UtteranceID
  let source: Source
  var words: [Words] = []
  /// Seconds of sound that came.
  var received = 0.0
  /// Whether all of it came.
  var isWhole = false
  /// Whether its making has begun.
  var isStarted = false
  /// Whether its first sample was played.
  var isHeard = false
  /// Seconds that were played.
  var played = 0.0

  init(_ id: UtteranceID, _ source: Source) { (self.id, self.source) = (id, source) }

  var text: String { words.map(\.text).joined() }

  /// The words that were spoken within the first `seconds`: of words under way, as large a share as was played, in whole words.
  func text(within seconds: Double) -> String {
    if isWhole, seconds >= received - 0.05 { return text }
    var heard = ""
    var rest = words[...]
    while let start = rest.first?.at, start < seconds {
      // Several parts stand at one time where the sound of all of them came at once.
      let group = rest.prefix { $0.at <= start }
      rest = rest.dropFirst(group.count)
      let text = group.map(\.text).joined()
      let length = max(rest.first?.at ?? received, start) - start
      let share = length > 0 ? Int(Double(text.count) * (seconds - start) / length) : text.count
      if share >= text.count {
        heard += text
      } else if let space = text.prefix(share + 1).lastIndex(where: \.isWhitespace) {
        heard += text[..<space]
      }
    }
    return heard.trimmed
  }
}
