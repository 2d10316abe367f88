import Foundation
import Testing

@testable import TextTokenizer

@Suite struct TokenizerTests {
  @Test(arguments: ["main", "byte_fallback"])
  func `Golden prompts give the reference's ids and masks`(golden: String) throws {
    let tokenizer = try Tokenizer(contentsOf: Fixtures.goldenTokenizer(golden))
    let outputs = Fixtures.golden(golden).appendingPathComponent("outputs.safetensors")
    let (ids, masks) = (try integers("ids", in: outputs), try integers("mask", in: outputs))
    let prompts = try TextGolden.load(golden).prompts
    try #require(prompts.count == ids.count && prompts.count == masks.count)
    for (index, prompt) in prompts.enumerated() {
      let text = tokenizer.encode(prompt.cleaned)
      #expect(text.ids == ids[index], "\(prompt.name)")
      #expect(text.mask == masks[index], "\(prompt.name)")
      #expect(text.count == prompt.tokenCount, "\(prompt.name)")
    }
  }

  /// Ids of the Hugging Face tokenizers library, version 0.21.4, on its own and SentencePiece's styles of file.
  @Test(arguments: ["main", "byte_fallback", "unigram_new", "unigram_old"])
  func `Arbitrary text gives the reference's ids`(name: String) throws {
    struct Cases: Decodable {
      var texts: [String]
      var ids: [String: [[Int64]]]

      init(from decoder: any Decoder) throws {
        let lists = try decoder.container(keyedBy: Name.self)
        texts = try lists.decode([String].self, forKey: Name(stringValue: "texts"))
        ids = [:]
        for key in lists.allKeys where key.stringValue != "texts" {
          ids[key.stringValue] = try lists.decode([[Int64]].self, forKey: key)
        }
      }

      struct Name: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
      }
    }
    let cases = try Fixtures.decode(Cases.self, from: Fixtures.file("tokens.json"))
    let expected = try #require(cases.ids[name])
    try #require(expected.count == cases.texts.count)
    let isGolden = name == "main" || name == "byte_fallback"
    let tokenizer = try Tokenizer(
      contentsOf: isGolden ? Fixtures.goldenTokenizer(name) : Fixtures.file("\(name).json"))
    for (text, ids) in zip(cases.texts, expected) {
      let encoded = tokenizer.encode(text)
      #expect(Array(encoded.ids.prefix(encoded.count)) == ids, "\(text.debugDescription)")
    }
  }

  @Test func `A long text is cut before the closing token`() throws {
    let tokenizer = try Tokenizer(contentsOf: Fixtures.goldenTokenizer("main"))
    let text = tokenizer.encode(String(repeating: "speaking ", count: 600))
    #expect(text.ids.count == 512 && text.count == 512)
    #expect(text.ids.last == 1 && !text.ids.dropLast().contains(1))
    #expect(text.mask.allSatisfy { $0 == 1 })

    let short = tokenizer.encode("speaking slowly", length: 2)
    #expect(short.count == 2 && short.ids.last == 1)
    #expect(tokenizer.encode("", length: 4) == TokenizedText(ids: [1, 0, 0, 0], mask: [1, 0, 0, 0], count: 1))
  }
}

/// Files are made from a small valid one by changing a part.
@Suite struct TokenizerFileTests {
  private static let valid = """
    {"version": "1.0", "truncation": null, "padding": null,
     "added_tokens": [{"id": 0, "content": "<pad>", "single_word": false, "lstrip": false, "rstrip": false,
      "normalized": false, "special": true}],
     "normalizer": {"type": "NFC"},
     "pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": true},
     "post_processor": null, "decoder": null,
     "model": {"type": "Unigram", "unk_id": 1, "byte_fallback": false,
      "vocab": [["<pad>", 0.0], ["<unk>", 0.0], ["_", -2.0], ["a", -3.0], ["_a", -3.5]]}}
    """

  private func load(_ source: String) throws -> Tokenizer {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).json")
    defer { try? FileManager.default.removeItem(at: file) }
    try Data(source.utf8).write(to: file)
    return try Tokenizer(contentsOf: file)
  }

  @Test func `The valid file works`() throws {
    #expect(try load(Self.valid).encode("a ab", length: 6).ids == [4, 4, 1, 0, 0, 0])
  }

  @Test func `A missing file is named`() {
    let file = URL(fileURLWithPath: "/nowhere/tokenizer.json")
    #expect(throws: TokenizerError.unreadable(file: file.path, reason: "there is no such file")) {
      try Tokenizer(contentsOf: file)
    }
  }

  @Test func `Every truncation of a file is refused`() {
    for length in stride(from: 0, to: Self.valid.utf8.count, by: 7) {
      #expect(throws: TokenizerError.self) { try load(String(Self.valid.prefix(length))) }
    }
  }

  @Test(arguments: [
    (#""type": "Unigram""#, #""type": "BPE""#, "a model of type BPE"),
    (#""vocab""#, #""pieces""#, "model.vocab is missing"),
    (#""unk_id": 1"#, #""unk_id": null"#, "a model without an unknown token"),
    (#""unk_id": 1"#, #""unk_id": 5"#, "unk_id is 5 in a vocabulary of 5"),
    (#"["a", -3.0]"#, #"["a"]"#, "vocab[3] is no pair"),
    (#"{"type": "NFC"}"#, #"{"type": "BertNormalizer"}"#, "the normalizer BertNormalizer"),
    (#"{"type": "NFC"}"#, #"{"type": "Precompiled", "precompiled_charsmap": "AAAA"}"#, "holds no character map"),
    (
      #"{"type": "NFC"}"#, #"{"type": "Replace", "pattern": {"Regex": "(a|b)"}, "content": ""}"#,
      "the regular expression \"(a|b)\""
    ),
    (#""type": "Metaspace""#, #""type": "ByteLevel""#, "the pre-tokenizer ByteLevel"),
    (#""prepend_scheme": "always""#, #""add_prefix_space": false"#, "add_prefix_space contradicts"),
    (#""post_processor": null"#, #""post_processor": {"type": "BertProcessing"}"#, "the post-processor BertProcessing"),
    (
      #""post_processor": null"#, #""post_processor": {"type": "TemplateProcessing", "single": []}"#,
      "a template that does not hold the text once"
    ),
    (#""truncation": null"#, #""truncation": {"direction": "Left"}"#, "truncation from the left"),
    (#""model": {"#, #""other": {"#, "model is missing"),
    (#""version": "1.0","#, #""version": "1.0";"#, "no '}' at byte 17"),
  ])
  func `What cannot be obeyed is refused by name`(part: String, change: String, message: String) throws {
    let source = Self.valid.replacingOccurrences(of: part, with: change)
    try #require(source != Self.valid)
    let error = #expect(throws: TokenizerError.self) { try load(source) }
    #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
  }
}

@Suite struct JSONValueTests {
  private func number(_ text: String) throws -> Double? {
    guard case .number(let value) = try JSONValue(Data(text.utf8)) else { return nil }
    return value
  }

  @Test func `Numbers are computed as the reference's parser does`() throws {
    #expect(try number("-3.8262652690115644") == -3.826265269011565)
    #expect(try number("12345678901234567890123.5e-3") == 12345678901234567890e0)
    #expect(try number("1e308") == 1e308)
    #expect(try number("-0") == 0)
    #expect(try number("2.5E+2") == 250)
    #expect(try number("1e-400") == 0)
  }

  @Test(arguments: [
    "", "01", "+1", ".5", "1.", "1e", "1e999", "[1,]", "{\"a\"}", "\"\u{1}\"", "\"\\x\"", "tru", "1 2", "[[[[",
  ])
  func `What is not JSON is refused`(text: String) {
    #expect(throws: JSONValue.SyntaxError.self) { try JSONValue(Data(text.utf8)) }
  }

  @Test func `Escapes give their characters`() throws {
    guard case .string(let text) = try JSONValue(Data(#""a\n\u00e9\ud83d\ude00\ud83d\"\/""#.utf8)) else {
      Issue.record("no string")
      return
    }
    #expect(text == "a\né😀\u{FFFD}\"/")
  }
}

@Suite struct TextPatternTests {
  @Test(arguments: [
    (" {2,}", "a  b   c d", "a_b_c d"), (#"\s+"#, "a \u{3000}b\n", "a_b_"), ("ab", "aab", "a_"), (#"\."#, "a.b", "a_b"),
    ("x{2}", "xxxxx", "__x"), ("x{1,2}", "xxx", "__"),
  ])
  func `Simple expressions replace every match`(expression: String, text: String, expected: String) throws {
    let pattern = try #require(TextPattern(regularExpression: expression))
    #expect(pattern.replacingMatches(in: text, by: "_") == expected)
  }

  @Test(arguments: ["", "a|b", "[ab]", "a*", "ab+", "a?", "^a", ".", #"\d"#, "a{0,}", "a{2", #"a\"#, "a+?"])
  func `Other expressions are refused`(expression: String) {
    #expect(TextPattern(regularExpression: expression) == nil)
  }
}
