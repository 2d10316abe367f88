import Basics
import Foundation
import Generation
import Yams

/// A configuration file as a tree of maps, lists and scalars.
///
/// It is merged over the encoded defaults before decoding, so that structs keep their synthesised decoders although keys are missing.
/// Keys that are not in the result are unknown ones.
struct SettingsTree {
  private var root: Node

  static var empty: SettingsTree { SettingsTree(root: Node([(Node, Node)]())) }

  private init(root: Node) { self.root = root }

  /// - Throws: `LiveTalkError` for a file that cannot be read or is not a YAML map.
  init(reading file: URL) throws {
    let attributes = try? FileManager.default.attributesOfItem(atPath: file.resolvingSymlinksInPath().path)
    if attributes?[.type] as? FileAttributeType == .typeRegular, (attributes?[.size] as? NSNumber)?.intValue == 0 {
      // It sets no key.
      self = .empty
      return
    }
    let data = try readFile(file)
    guard let text = String(data: data, encoding: .utf8) else { throw LiveTalkError("\(file.path): it is not UTF-8.") }
    let node = try SettingsTree.node(text, file.path)
    if isEmpty(node) {
      self = .empty
    } else if node.mapping != nil {
      root = node
    } else {
      throw LiveTalkError("\(file.path): it must hold keys and values, such as 'steps: 100'.")
    }
  }

  private static func node(_ text: String, _ source: String) throws -> Node {
    do { return try compose(yaml: text) ?? Node("") } catch let error as YamlError {
      throw LiveTalkError("\(source): \(sentence(error))")
    }
  }

  private static func sentence(_ error: YamlError) -> String {
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      "line \(mark.line), column \(mark.column): \(shortened(problem, to: 200))."
    case .duplicatedKeysInMapping(let keys, let context):
      "line \(context.mark.line): there is more than one \(shortList(keys.sorted().map { "'\(shortened($0))'" }))."
    default: "it is not YAML."
    }
  }

  /// Removes a top-level key and returns its text.
  mutating func removeText(_ key: String, _ source: String) throws -> String? {
    guard let node = root.mapping?[Node(key)] else { return nil }
    guard let text = node.scalar?.string, !text.isEmpty else {
      throw LiveTalkError("\(source): '\(key)' must be a name.")
    }
    root.mapping?[Node(key)] = nil
    return text
  }

  /// Sets a key: "path.to.key=value".
  mutating func set(_ override: String) throws {
    let parts = override.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let keys = parts[0].split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 2, !keys.contains("") else {
      throw LiveTalkError("'\(shortened(override))' sets no key; write for instance 'optimizer.learningRate=1e-5'.")
    }
    let value = try SettingsTree.node(String(parts[1]), "'\(shortened(override))'")
    let branch = keys.reversed().reduce(value) { Node([(Node(String($1)), $0)]) }
    root = SettingsTree.merged(branch, over: root)
  }

  // MARK: - Into settings

  /// The settings `start` with this tree's values merged in.
  ///
  /// - Throws: `LiveTalkError` for unknown keys and values of a wrong type.
  func decode<C: Codable>(over start: C, _ source: String) throws -> C {
    let base = try SettingsTree.encoded(start)
    let merged = SettingsTree.merged(root, over: base)
    let settings: C
    do { settings = try YAMLDecoder().decode(C.self, from: merged) } catch let error as DecodingError {
      throw LiveTalkError("\(source): \(SettingsTree.sentence(error, in: merged)).")
    }
    do { _ = try settings.jsonText(indented: true) } catch let error as EncodingError {
      // JSON has no such numbers, and no setting takes them.
      throw LiveTalkError("\(source): \(userSentence(error))")
    }
    // An optional key that is nil in `start` is known from the result.
    let known = SettingsTree.merged(try SettingsTree.encoded(settings), over: base)
    var unknown: [String] = []
    SettingsTree.unknownKeys(in: root, known, "", &unknown) { path in
      // A null leaves no trace of a known key either; but a known key refuses a value of another type.
      let probe = path.reversed().reduce(Node([Node([Node("")])])) { Node([(Node($1), $0)]) }
      return (try? YAMLDecoder().decode(C.self, from: SettingsTree.merged(probe, over: merged))) == nil
    }
    guard unknown.isEmpty else {
      throw LiveTalkError(
        "\(source): \(unknown.prefix(5).joined(separator: "; "))\(unknown.count > 5 ? "; and \(unknown.count - 5) more" : "")"
      )
    }
    return settings
  }

  private static func encoded(_ settings: some Encodable) throws -> Node {
    try node(try settings.jsonText(indented: true), "the preset")
  }

  /// Maps are merged key by key, anything else is replaced. An empty value changes no map.
  private static func merged(_ node: Node, over base: Node) -> Node {
    guard case .mapping(var result) = base else { return node }
    if isEmpty(node) { return base }
    guard let added = node.mapping else { return node }
    for (key, value) in added { result[key] = result[key].map { merged(value, over: $0) } ?? value }
    return .mapping(result)
  }

  private static func unknownKeys(
    in node: Node, _ known: Node?, _ place: String, _ found: inout [String], path: [String] = [],
    isKnown: ([String]) -> Bool
  ) {
    guard let mapping = node.mapping, let known = known?.mapping else {
      for (index, element) in (node.sequence ?? []).enumerated() {
        let other = known?.sequence.flatMap { index < $0.count ? $0[index] : nil }
        // Lists are replaced as a whole: keys in them are looked up in the result alone.
        unknownKeys(in: element, other, "\(place)\(index).", &found) { _ in false }
      }
      return
    }
    let names = known.keys.compactMap(\.string)
    for (key, value) in mapping {
      let name = key.string ?? "?"
      if let inside = known[key] {
        unknownKeys(in: value, inside, "\(place)\(name).", &found, path: path + [name], isKnown: isKnown)
      } else if value.null == nil || !isKnown(path + [name]) {
        found.append(unknownKeyText("\(place)\(name)", known: names))
      }
    }
  }

  /// "'optimizer.learningRate' must be a number, not 'fast'".
  private static func sentence(_ error: DecodingError, in tree: Node) -> String {
    func place(_ keys: [any CodingKey]) -> String {
      shortened(keys.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: "."))
    }
    switch error {
    case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
      let found = context.codingPath.reduce(tree as Node?) { node, key in
        key.intValue.flatMap { index in node?.sequence.flatMap { index < $0.count ? $0[index] : nil } }
          ?? node?.mapping?[Node(key.stringValue)]
      }
      return "'\(place(context.codingPath))' must be \(title(type)), not \(title(found))"
    case .keyNotFound(let key, let context): return "the key '\(place(context.codingPath + [key]))' is missing"
    case .dataCorrupted(let context):
      return "'\(place(context.codingPath))' \(shortened(context.debugDescription, to: 400))"
    @unknown default: return "a value is wrong"
    }
  }

  private static func title(_ type: Any.Type) -> String {
    switch type {
    case is any BinaryInteger.Type: "a whole number"
    case is any BinaryFloatingPoint.Type: "a number"
    case is Bool.Type: "true or false"
    case is String.Type, is Node.Scalar.Type: "a single value"
    case is Node.Mapping.Type: "keys with values"
    case is any Sequence.Type: "a list"
    default: "keys with values"
    }
  }

  private static func title(_ node: Node?) -> String {
    switch node {
    case .scalar(let scalar): scalar.string.isEmpty || node?.null != nil ? "nothing" : "'\(shortened(scalar.string))'"
    case .sequence: "a list"
    case .mapping: "keys with values"
    default: "nothing"
    }
  }
}

/// Whether a value is empty, which is not the same as "null".
private func isEmpty(_ node: Node) -> Bool {
  node.scalar.map { $0.string.isEmpty && ($0.style == .plain || $0.style == .any) } ?? false
}
