import Basics

/// Why a `tokenizer.json` cannot be used.
package enum TokenizerError: SentenceError, Equatable {
  /// The file cannot be read.
  case unreadable(file: String, reason: String)
  /// The file is not valid JSON, or a part of it is missing or has the wrong shape.
  case malformed(file: String, reason: String)
  /// The file asks for something that this tokenizer does not do.
  case unsupported(file: String, construct: String)

  package var description: String {
    switch self {
    case .unreadable(let file, let reason): "The tokenizer file \(file) cannot be read: \(reason)."
    case .malformed(let file, let reason): "The tokenizer file \(file) is malformed: \(reason)."
    case .unsupported(let file, let construct): "The tokenizer file \(file) uses \(construct), which is not supported."
    }
  }
}

/// One object of a `tokenizer.json` with what an error message needs.
struct TokenizerSection {
  let file: String
  let name: String
  let members: [String: JSONValue]

  init(_ value: JSONValue?, file: String, name: String) throws {
    guard case .object(let members) = value else {
      throw TokenizerError.malformed(file: file, reason: "\(name) is missing or no object")
    }
    self.file = file
    self.name = name
    self.members = members
  }

  func malformed(_ reason: String) -> TokenizerError {
    .malformed(file: file, reason: reason)
  }

  func unsupported(_ construct: String) -> TokenizerError {
    .unsupported(file: file, construct: construct)
  }

  /// Whether `key` is there and not null.
  func has(_ key: String) -> Bool {
    switch members[key] {
    case nil, .null: false
    default: true
    }
  }

  func section(_ key: String) throws -> TokenizerSection {
    try TokenizerSection(members[key], file: file, name: "\(name).\(key)")
  }

  func sections(_ key: String) throws -> [TokenizerSection] {
    try array(key).enumerated().map { try TokenizerSection($1, file: file, name: "\(name).\(key)[\($0)]") }
  }

  func array(_ key: String) throws -> [JSONValue] {
    guard case .array(let elements) = members[key] else {
      throw malformed("\(name).\(key) is missing or no array")
    }
    return elements
  }

  func string(_ key: String) throws -> String {
    guard case .string(let text) = members[key] else {
      throw malformed("\(name).\(key) is missing or no string")
    }
    return text
  }

  func bool(_ key: String, default standard: Bool? = nil) throws -> Bool {
    if !has(key), let standard { return standard }
    guard case .bool(let value) = members[key] else {
      throw malformed("\(name).\(key) is missing or neither true nor false")
    }
    return value
  }

  func integer(_ key: String) throws -> Int {
    guard case .number(let number) = members[key], let value = Int(exactly: number) else {
      throw malformed("\(name).\(key) is missing or no whole number")
    }
    return value
  }
}
