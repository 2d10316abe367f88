import Testing

@testable import Dialogue

@Suite struct SentenceSplitterTests {
  private func sentences(_ text: String, by size: Int = 1) -> [String] {
    var splitter = SentenceSplitter()
    var found: [String] = []
    var rest = text[...]
    while !rest.isEmpty {
      found += splitter.append(String(rest.prefix(size)))
      rest = rest.dropFirst(size)
    }
    return found + splitter.finish()
  }

  static let texts: [(String, [String])] = [
    ("", []), ("   \n ", []), ("…", []),
    ("Hello there. How are you?", ["Hello there.", "How are you?"]),
    ("Pi is 3.14 or so. Really!", ["Pi is 3.14 or so.", "Really!"]),
    ("Dr. Smith met J. Austen. \"Oh!\" She left.", ["Dr. Smith met J. Austen.", "\"Oh!\"", "She left."]),
    ("Wait... what? Yes, e.g. this. Am 3. Mai.", ["Wait... what?", "Yes, e.g. this.", "Am 3. Mai."]),
    ("He is 12. She is 9. We have 30! Now.", ["He is 12.", "She is 9.", "We have 30!", "Now."]),
    ("I am 12. May I go? In 5. Maybe.", ["I am 12.", "May I go?", "In 5.", "Maybe."]),
    ("1. Open it. 2. Close it.", ["1. Open it.", "2. Close it."]),
    ("Am 24. Dezember kommt er. Im 19. Jahrhundert.", ["Am 24. Dezember kommt er.", "Im 19. Jahrhundert."]),
    ("Montag, 3. Mai. Der 2. Versuch gelang.", ["Montag, 3. Mai.", "Der 2. Versuch gelang."]),
    ("Er ist 12. Sie ist 9. Mehr nicht.", ["Er ist 12.", "Sie ist 9.", "Mehr nicht."]),
    ("The 3. of May. It was 1999. Then.", ["The 3. of May.", "It was 1999.", "Then."]),
    ("So do I. We go.", ["So do I.", "We go."]),
    ("One\nTwo\n\nThree", ["One", "Two", "Three"]),
    ("你好。你好吗？很好！", ["你好。", "你好吗？", "很好！"]),
    ("Is it so?! (Yes.) Fine.", ["Is it so?!", "(Yes.)", "Fine."]),
    ("No end", ["No end"]),
  ]

  @Test(arguments: texts)
  func `a text is cut where its sentences end`(text: String, expected: [String]) {
    for size in [1, 2, 3, 7, 100] { #expect(sentences(text, by: size) == expected, "in pieces of \(size)") }
  }

  @Test func `a sentence is given as soon as the next one begins`() {
    var splitter = SentenceSplitter()
    #expect(splitter.append("Hello there.").isEmpty)
    #expect(splitter.append(" ").isEmpty)
    #expect(splitter.append("H") == ["Hello there."])
  }

  @Test func `a sentence without an end is cut, and nothing of it is lost`() {
    let text = Array(repeating: "word", count: 200).joined(separator: " ")
    let parts = sentences(text)
    #expect(parts.count > 3 && parts.allSatisfy { $0.count <= 241 })
    #expect(parts.joined(separator: " ") == text)
  }

  @Test func `a letter and an accent that come apart are one character`() {
    var splitter = SentenceSplitter()
    _ = splitter.append("Cafe")
    _ = splitter.append("\u{301} au lait.")
    #expect(splitter.finish() == ["Café au lait."])
  }

  @Test(arguments: [1, 2, 3, 5, 50])
  func `thoughts are not spoken, wherever they are cut`(size: Int) {
    var spoken = SpokenText()
    var text = ""
    var rest = "<think>Hm, a < b.</think>Yes, a<b and <thinking> stay.<think>x"[...]
    while !rest.isEmpty {
      text += spoken.append(String(rest.prefix(size)))
      rest = rest.dropFirst(size)
    }
    #expect(text + spoken.finish() == "Yes, a<b and <thinking> stay.")
  }

  @Test func `marks and pictographs are not spoken`() {
    #expect(SpokenText.cleaned("**Hello** `there` 😀 # 1 ☺︎ 你好") == "Hello there   1 ☺︎ 你好")
  }
}
