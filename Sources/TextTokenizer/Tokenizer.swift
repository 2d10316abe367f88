package import Foundation

/// A text as the text encoder takes it: rows of one length, the unused end filled with padding.
package struct TokenizedText: Sendable, Equatable {
  /// Token ids, `[length]`.
  package var ids: [Int64]
  /// 1 for a token, 0 for padding, `[length]`.
  package var mask: [Int64]
  /// How many of `ids` are tokens.
  package var count: Int
}

/// The tokenizer of the text encoder: what the Hugging Face "fast" tokenizer does with a Unigram `tokenizer.json`.
package final class Tokenizer: Sendable {
  private let addedTokens: AddedTokens
  private let normalizer: TextNormalizer?
  private let preTokenizer: PreTokenizer?
  private let model: UnigramModel
  /// Special tokens that stand before and after every text.
  private let prefix: [Int32]
  private let suffix: [Int32]
  private let padding: Int32

  /// - Parameter url: a `tokenizer.json`, or the directory that holds one.
  /// - Throws: `TokenizerError`.
  package init(contentsOf url: URL) throws {
    var isDirectory: ObjCBool = false
    let file =
      FileManager.default.fileExists(atPath: url.path, isDirectory: &isDirectory) && isDirectory.boolValue
      ? url.appendingPathComponent("tokenizer.json") : url
    let definition = try TokenizerDefinition(file: file)
    addedTokens = AddedTokens(definition.addedTokens, normalizer: definition.normalizer)
    normalizer = definition.normalizer
    preTokenizer = definition.preTokenizer
    model = definition.model
    prefix = definition.prefix
    suffix = definition.suffix
    padding = definition.addedTokens.last { $0.content == "<pad>" }?.id ?? definition.model.id(of: "<pad>") ?? 0
  }

  /// The tokens of `text`, cut to `length` with the special tokens that end it, then padded to it.
  ///
  /// - Parameters:
  ///   - text: cleaned text (see the target `PromptCleaning`).
  ///   - length: 512 for Wan.
  package func encode(_ text: String, length: Int = 512) -> TokenizedText {
    let room = max(0, length - prefix.count - suffix.count)
    let tokens = (prefix + self.tokens(in: text).prefix(room) + suffix).prefix(length)
    let rest = length - tokens.count
    return TokenizedText(
      ids: tokens.map(Int64.init) + Array(repeating: Int64(padding), count: rest),
      mask: Array(repeating: 1, count: tokens.count) + Array(repeating: 0, count: rest),
      count: tokens.count)
  }

  /// The ids of all tokens of `text`, without special tokens around them.
  package func tokens(in text: String) -> [Int32] {
    addedTokens.split(text, normalizer: normalizer).flatMap { part -> [Int32] in
      switch part {
      case .token(let id): [id]
      case .text(let piece): (preTokenizer?.apply(to: piece) ?? [piece]).flatMap { model.encode($0.text) }
      }
    }
  }
}
