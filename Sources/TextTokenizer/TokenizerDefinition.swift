import Basics
import Foundation

/// The parts of a `tokenizer.json`, checked. Constructs outside of what this module does are refused by name.
struct TokenizerDefinition {
  let normalizer: TextNormalizer?
  let preTokenizer: PreTokenizer?
  let model: UnigramModel
  let addedTokens: [AddedTokens.Token]
  /// The ids that the post-processor puts around a text.
  let prefix: [Int32]
  let suffix: [Int32]

  init(file url: URL) throws {
    let file = url.path
    let data: Data
    do {
      data = try readFile(url)
    } catch let error as FileError {
      throw TokenizerError.unreadable(file: file, reason: error.reason)
    }
    let root: TokenizerSection
    do {
      root = try TokenizerSection(JSONValue(data), file: file, name: "tokenizer")
    } catch let error as JSONValue.SyntaxError {
      throw TokenizerError.malformed(file: file, reason: error.message)
    }

    normalizer = try root.has("normalizer") ? Self.normalizer(root.section("normalizer")) : nil
    preTokenizer = try root.has("pre_tokenizer") ? Self.preTokenizer(root.section("pre_tokenizer")) : nil
    model = try Self.model(root.section("model"))
    addedTokens = try root.has("added_tokens") ? Self.addedTokens(root.sections("added_tokens"), model: model) : []
    (prefix, suffix) = try root.has("post_processor") ? Self.template(root.section("post_processor")) : ([], [])
    if root.has("truncation"), try root.section("truncation").string("direction") != "Right" {
      throw root.unsupported("truncation from the left")
    }
    if root.has("padding"), try root.section("padding").string("direction") != "Right" {
      throw root.unsupported("padding on the left")
    }
  }

  // MARK: Normalizer

  private static func normalizer(_ section: TokenizerSection) throws -> TextNormalizer {
    let type = try section.string("type")
    switch type {
    case "Sequence": return .sequence(try section.sections("normalizers").map(normalizer))
    case "Precompiled":
      guard let data = Data(base64Encoded: try section.string("precompiled_charsmap")), let map = CharacterMap(data)
      else { throw section.malformed("\(section.name).precompiled_charsmap holds no character map") }
      return .characterMap(map)
    case "Replace":
      return .replace(try pattern(section.section("pattern")), by: try section.string("content"))
    case "Strip":
      return .strip(left: try section.bool("strip_left"), right: try section.bool("strip_right"))
    case "Lowercase": return .lowercase
    case "Prepend": return .prepend(try section.string("prepend"))
    default:
      guard let form = NormalizationForm(rawValue: type) else { throw section.unsupported("the normalizer \(type)") }
      return .form(form)
    }
  }

  private static func pattern(_ section: TokenizerSection) throws -> TextPattern {
    let isLiteral = section.has("String")
    let source = try section.string(isLiteral ? "String" : "Regex")
    let pattern = isLiteral ? TextPattern(literal: source) : TextPattern(regularExpression: source)
    guard let pattern else {
      throw section.unsupported(
        "the \(isLiteral ? "text" : "regular expression") \"\(source)\" as a pattern to replace")
    }
    return pattern
  }

  // MARK: Pre-tokenizer

  private static func preTokenizer(_ section: TokenizerSection) throws -> PreTokenizer {
    let type = try section.string("type")
    switch type {
    case "Sequence": return .sequence(try section.sections("pretokenizers").map(preTokenizer))
    case "WhitespaceSplit": return .whitespaceSplit
    case "Metaspace": return try metaspace(section)
    default: throw section.unsupported("the pre-tokenizer \(type)")
    }
  }

  /// Older files say `add_prefix_space` (and `str_rep`, which repeats the replacement), newer ones `prepend_scheme` and
  /// `split`. An `add_prefix_space` that is false needs the scheme "never" beside it, as in the reference.
  private static func metaspace(_ section: TokenizerSection) throws -> PreTokenizer {
    let replacement = try section.string("replacement").unicodeScalars
    guard let mark = replacement.first, replacement.count == 1 else {
      throw section.malformed("\(section.name).replacement is not one character")
    }
    var scheme = PreTokenizer.PrependScheme.always
    if section.has("prepend_scheme") {
      let name = try section.string("prepend_scheme")
      guard let named = PreTokenizer.PrependScheme(rawValue: name) else {
        throw section.unsupported("the prepend scheme \(name)")
      }
      scheme = named
    }
    if try !section.bool("add_prefix_space", default: true), scheme != .never {
      throw section.malformed("\(section.name).add_prefix_space contradicts the prepend scheme \(scheme.rawValue)")
    }
    return .metaspace(replacement: mark, scheme: scheme, splits: try section.bool("split", default: true))
  }

  // MARK: Model

  private static func model(_ section: TokenizerSection) throws -> UnigramModel {
    let type = try section.string("type")
    guard type == "Unigram" else { throw section.unsupported("a model of type \(type)") }
    let vocabulary = try section.array("vocab")
    var pieces: [String] = []
    var scores: [Double] = []
    pieces.reserveCapacity(vocabulary.count)
    scores.reserveCapacity(vocabulary.count)
    for (index, entry) in vocabulary.enumerated() {
      guard case .array(let pair) = entry, pair.count == 2, case .string(let piece) = pair[0],
        case .number(let score) = pair[1]
      else { throw section.malformed("\(section.name).vocab[\(index)] is no pair of a text and a number") }
      pieces.append(piece)
      scores.append(score)
    }
    guard section.has("unk_id") else { throw section.unsupported("a model without an unknown token") }
    let unknownID = try section.integer("unk_id")
    guard pieces.indices.contains(unknownID) else {
      throw section.malformed("\(section.name).unk_id is \(unknownID) in a vocabulary of \(pieces.count)")
    }
    return UnigramModel(
      pieces: pieces, scores: scores, unknownID: unknownID,
      spellsUnknownInBytes: try section.bool("byte_fallback", default: false))
  }

  // MARK: Added tokens

  /// A token has the id of the piece with its text, else the next free one; the id in the file is not asked, as in the
  /// reference.
  private static func addedTokens(_ sections: [TokenizerSection], model: UnigramModel) throws -> [AddedTokens.Token] {
    var tokens: [String: AddedTokens.Token] = [:]
    var highest: Int32 = -1
    for section in sections {
      let content = try section.string("content")
      guard !content.isEmpty else { continue }
      let id = tokens[content]?.id ?? model.id(of: content) ?? max(highest + 1, Int32(model.count))
      highest = max(highest, id)
      tokens[content] = AddedTokens.Token(
        content: content, id: id,
        isSingleWord: try section.bool("single_word"),
        stripsLeft: try section.bool("lstrip"), stripsRight: try section.bool("rstrip"),
        isNormalized: try section.bool("normalized"))
    }
    return tokens.values.sorted { $0.id < $1.id }
  }

  // MARK: Post-processor

  private static func template(_ section: TokenizerSection) throws -> (prefix: [Int32], suffix: [Int32]) {
    let type = try section.string("type")
    guard type == "TemplateProcessing" else { throw section.unsupported("the post-processor \(type)") }
    var around: [[Int32]] = [[]]
    for item in try section.sections("single") {
      if item.has("Sequence") {
        guard try item.section("Sequence").string("id") == "A", around.count == 1 else {
          throw section.unsupported("a template that does not hold the text once")
        }
        around.append([])
      } else {
        let name = try item.section("SpecialToken").string("id")
        let ids = try section.section("special_tokens").section(name).array("ids")
        around[around.count - 1] += try ids.map { value in
          guard case .number(let number) = value, let id = Int32(exactly: number) else {
            throw section.malformed("\(section.name).special_tokens.\(name).ids holds no ids")
          }
          return id
        }
      }
    }
    guard around.count == 2 else { throw section.unsupported("a template that does not hold the text once") }
    return (around[0], around[1])
  }
}
