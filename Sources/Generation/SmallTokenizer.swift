import Foundation

/// A tokenizer for checkpoints without a trained one: the words that directions are made of are tokens, in every other word each
/// ASCII character is one, and anything else its bytes.
///
/// The file has the form of the published `tokenizer.json`: a Unigram model after a split at white space, `</s>` at the end.
enum SmallTokenizer {
  /// Characters beyond ASCII that prompts use often.
  private static let punctuation = "“”‘’–—…·、。，！？：；（）「」《》"
  /// Where a word begins.
  private static let wordStart = "▁"
  /// Words of the captions of drawn people, and their like.
  private static let words = """
    a an and as at auburn bald beard black blazer blond blue bob brown bun calm calmly camera curly dark down English eyebrows face
    first French from fringe full German glasses goatee green grey hair happily happy head his her hoodie in into is Italian keeps
    left light long look looking looks man moustache navy neutral nod nodding nods of old orange person pink ponytail purple
    quickly raises red right sad says serious seriously shake shakes shaking shirt short side-parted silver slightly slowly smile
    smiles smiling Spanish speaking speaks still stubble surprised talking talks teal T-shirt the then thoughtful tilts to turning
    turns turtleneck up very wavy while white who with without woman yellow young angry angrily
    """.split(whereSeparator: \.isWhitespace).map(String.init)

  /// The pieces in order of their ids, with their logarithmic probabilities.
  static let pieces: [(text: String, score: Double)] = {
    let special = ["<pad>", "</s>", "<s>", "<unk>"].map { ($0, 0.0) }
    let bytes = (0..<256).map { (String(format: "<0x%02X>", $0), 0.0) }
    let ascii = (0x21...0x7E).map { String(UnicodeScalar(UInt8($0))) }
    let characters = ([wordStart] + ascii + punctuation.map(String.init)).map { ($0, -5.0) }
    // A capital begins a sentence.
    let capitals = words.map { $0.prefix(1).uppercased() + $0.dropFirst() }
    let known = (words + Set(capitals).subtracting(words).sorted()).map { (wordStart + $0, -8.0) }
    return special + bytes + characters + known
  }()

  /// The file's content.
  ///
  /// - Throws: `FileError` if the text encoder knows fewer words than there are pieces.
  static func json(vocabulary: Int) throws -> Data {
    precondition(pieces.count <= vocabulary, "the smallest preset's text encoder knows all pieces")
    let end: [String: Any] = ["SpecialToken": ["id": "</s>", "type_id": 0]]
    let text: [String: Any] = ["Sequence": ["id": "A", "type_id": 0]]
    let second: [String: Any] = ["Sequence": ["id": "B", "type_id": 0]]
    let metaspace: [String: Any] = ["type": "Metaspace", "replacement": wordStart, "add_prefix_space": true]
    let root: [String: Any] = [
      "version": "1.0", "truncation": NSNull(), "padding": NSNull(), "normalizer": NSNull(),
      "added_tokens": (0..<4).map { id -> [String: Any] in
        [
          "id": id, "content": pieces[id].text, "single_word": false, "lstrip": false, "rstrip": false,
          "normalized": false, "special": true,
        ]
      },
      "pre_tokenizer": ["type": "Sequence", "pretokenizers": [["type": "WhitespaceSplit"], metaspace]] as [String: Any],
      "post_processor": [
        "type": "TemplateProcessing", "single": [text, end], "pair": [text, end, second, end],
        "special_tokens": ["</s>": ["id": "</s>", "ids": [1], "tokens": ["</s>"]] as [String: Any]],
      ] as [String: Any],
      "decoder": metaspace,
      "model": [
        "type": "Unigram", "unk_id": 3, "byte_fallback": true,
        "vocab": pieces.map { [$0.text, $0.score] as [Any] },
      ] as [String: Any],
    ]
    return try JSONSerialization.data(withJSONObject: root, options: [.sortedKeys, .withoutEscapingSlashes])
  }
}
