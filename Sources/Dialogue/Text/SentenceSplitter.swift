import Session

/// Cuts a text that comes in pieces into sentences, so that the first can be spoken before the last is written.
///
/// A sentence ends at `.`, `!`, `?`, `…` or `:` before white space where the next word does not go on with a small letter, at their
/// counterparts in Chinese, Japanese and Hindi, and at the end of a line. Very long ones are cut at a comma or a space.
struct SentenceSplitter {
  /// Characters at which a sentence is cut anyway.
  private static let longest = 240
  /// Words whose dot ends no sentence.
  private static let abbreviations: Set<String> = [
    "mr", "mrs", "ms", "dr", "prof", "st", "vs", "etc", "e.g", "i.e", "no", "fig", "approx", "inc", "ltd", "jr", "sr",
    "bzw", "z.b", "d.h", "u.a", "ca", "nr", "str", "hr", "fr", "usw", "mme", "m", "sra", "sr",
  ]
  /// What follows a day's number with its dot: "am 3. Mai".
  private static let months = [
    "januar", "jänner", "februar", "feber", "märz", "april", "mai", "juni", "juli", "august", "september", "oktober",
    "november", "dezember", "jan", "feb", "apr", "aug", "sept", "okt", "nov", "dez",
  ]
  /// What stands before a number that is read as an ordinal: "im 19. Jahrhundert".
  private static let ordinalLeads: Set<String> = [
    "am", "im", "vom", "zum", "zur", "beim", "der", "die", "das", "dem", "den", "des", "jeder", "jede", "jedes",
    "jeden",
    "mein", "meine", "meinen", "dein", "deine", "sein", "seine", "seinen", "ihr", "ihre", "ihren", "unser", "unsere",
  ]
  private static let enders: Set<Character> = [".", "!", "?", "…"]
  private static let wideEnders: Set<Character> = ["。", "！", "？", "｡", "।", "॥"]
  private static let closers: Set<Character> = ["\"", "'", ")", "]", "”", "’", "»", "」", "』", "）"]

  private var text: [Character] = []

  /// - Returns: the sentences that these characters complete, without white space around them.
  mutating func append(_ new: String) -> [String] {
    // A character may grow by what follows (a letter and its accent), so the last one is put together again.
    let last = text.popLast().map(String.init) ?? ""
    text += Array(last + new)
    var sentences: [String] = []
    while let end = nextEnd() {
      take(end, &sentences)
    }
    return sentences
  }

  /// What is left at the text's end.
  mutating func finish() -> [String] {
    var sentences: [String] = []
    take(text.count, &sentences)
    return sentences
  }

  private mutating func take(_ count: Int, _ sentences: inout [String]) {
    let sentence = String(text[..<count]).trimmed
    text.removeFirst(count)
    if sentence.contains(where: { $0.isLetter || $0.isNumber }) { sentences.append(sentence) }
  }

  private func nextEnd() -> Int? {
    for (index, character) in text.enumerated() {
      if character.isNewline { return index + 1 }
      if Self.wideEnders.contains(character) { return closed(index + 1) }
      if Self.enders.contains(character), let end = end(at: index) { return end }
    }
    guard text.count > Self.longest else { return nil }
    let cut = text[..<Self.longest].lastIndex { ",;:，；、".contains($0) } ?? text[..<Self.longest].lastIndex(of: " ")
    return cut.map { $0 + 1 } ?? Self.longest
  }

  /// The end of a sentence whose mark stands at `index`, or nil where it ends none or the next word is not there yet.
  private func end(at index: Int) -> Int? {
    let end = closed(index + 1)
    guard end < text.count, text[end].isWhitespace else { return nil }
    guard let next = text[end...].first(where: { !$0.isWhitespace }) else { return nil }
    guard text[index] == "." else { return end }
    if next.isLowercase { return nil }
    let word = String(text[..<index].reversed().prefix { !$0.isWhitespace && $0 != "(" }.reversed()).lowercased()
    if Self.abbreviations.contains(word) { return nil }
    // Initials: "J. Austen".
    if word.count == 1, word.allSatisfy(\.isLetter), word != "i" { return nil }
    return isOrdinal(word, at: index, before: text[end...].drop { $0.isWhitespace }) ? nil : end
  }

  /// Whether a number with a dot, which stands at `index`, is a number in a list ("1. Open it.") or a German ordinal: else it ends a
  /// sentence as any word does. Where the next word may still become a month it is taken for an ordinal: more of it is to come.
  private func isOrdinal(_ word: String, at index: Int, before next: ArraySlice<Character>) -> Bool {
    guard (1...2).contains(word.count), word.allSatisfy(\.isNumber) else { return false }
    let words = text[..<index].split { $0.isWhitespace }.map { String($0).lowercased() }
    guard words.count > 1 else { return true }
    let following = String(next.prefix { $0.isLetter }).lowercased()
    let isWhole = following.count < next.count
    if Self.months.contains(where: { isWhole ? $0 == following : $0.hasPrefix(following) }) { return true }
    let lead = words[words.count - 2]
    // "I am 12." is of age, "am 12. Tag" of a day.
    if lead == "am", words.count > 2, words[words.count - 3] == "i" { return false }
    return Self.ordinalLeads.contains(lead)
  }

  /// Quotation marks and brackets belong to the sentence that they close.
  private func closed(_ index: Int) -> Int {
    var end = index
    while end < text.count, Self.closers.contains(text[end]) || Self.enders.contains(text[end]) { end += 1 }
    return end
  }
}
