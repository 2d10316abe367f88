import Basics
import Foundation

/// Reads the fields of one JSON object of a settings file. Fields that nobody asked for are refused when it is finished.
final class SettingsReader {
  /// Of the file, for messages.
  private let file: String
  /// Where the object stands: `voice`, or nothing for the whole file.
  private let path: String
  private let fields: [String: Any]
  private var known: Set<String> = []

  init(contentsOf url: URL) throws {
    file = url.lastPathComponent
    path = ""
    let data: Data
    do { data = try readFile(url) } catch let error as FileError {
      throw LiveTalkError("The dialogue's settings \(url.path) cannot be read: \(error.reason).")
    }
    do {
      fields = try Self.object(data)
    } catch {
      throw LiveTalkError("\(file) is not a JSON object: see docs/DIALOGUE.md for what it holds.")
    }
  }

  init(_ data: Data, name: String) throws {
    (file, path) = (name, "")
    do { fields = try Self.object(data) } catch {
      throw LiveTalkError("\(name) is not a JSON object: see docs/DIALOGUE.md for what it holds.")
    }
  }

  private init(_ fields: [String: Any], file: String, path: String) {
    (self.fields, self.file, self.path) = (fields, file, path)
  }

  private struct NotAnObject: Error {}
  private static func object(_ data: Data) throws -> [String: Any] {
    guard let object = try JSONSerialization.jsonObject(with: data) as? [String: Any] else { throw NotAnObject() }
    return object
  }

  private func full(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

  /// An error about a field.
  func error(_ key: String, _ what: String) -> LiveTalkError { LiveTalkError("\(file): '\(full(key))' \(what).") }

  private func value<Value>(_ key: String, _ what: String, _ convert: (Any) -> Value?) throws -> Value? {
    known.insert(key)
    guard let value = fields[key] else { return nil }
    guard let converted = convert(value) else { throw error(key, "is not \(what)") }
    return converted
  }

  func text(_ key: String) throws -> String? {
    try value(key, "a text with at least one character") { ($0 as? String).flatMap { $0.isEmpty ? nil : $0 } }
  }

  func requiredText(_ key: String, _ what: String) throws -> String {
    guard let value = try text(key) else { throw error(key, "is missing: \(what)") }
    return value
  }

  func number(_ key: String, in range: ClosedRange<Double>) throws -> Double? {
    try value(key, "a number from \(range.lowerBound) to \(range.upperBound)") { value in
      guard !Self.isBool(value), let number = (value as? NSNumber)?.doubleValue else { return nil }
      return range.contains(number) ? number : nil
    }
  }

  /// JSON's true is a number to Foundation, told by its type alone.
  private static func isBool(_ value: Any) -> Bool {
    (value as? NSNumber).map { ["c", "B"].contains(String(cString: $0.objCType)) } ?? false
  }

  func flag(_ key: String) throws -> Bool? {
    try value(key, "true or false") { Self.isBool($0) ? ($0 as? NSNumber)?.boolValue : nil }
  }

  func texts(_ key: String) throws -> [String]? { try value(key, "a list of texts") { $0 as? [String] } }

  func integer(_ key: String, in range: ClosedRange<Int>) throws -> Int? {
    try value(key, "a whole number from \(range.lowerBound) to \(range.upperBound)") { value in
      guard !Self.isBool(value), let number = (value as? NSNumber)?.doubleValue, number == number.rounded() else {
        return nil
      }
      return Int(exactly: number).flatMap { range.contains($0) ? $0 : nil }
    }
  }

  func choice<Choice: RawRepresentable & CaseIterable>(_ key: String, _ type: Choice.Type) throws -> Choice?
  where Choice.RawValue == String {
    let list = Choice.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")
    return try value(key, "one of \(list)") { ($0 as? String).flatMap(Choice.init(rawValue:)) }
  }

  func object(_ key: String) throws -> SettingsReader? {
    try value(key, "an object") { $0 as? [String: Any] }.map { SettingsReader($0, file: file, path: full(key)) }
  }

  func requiredObject(_ key: String, _ what: String) throws -> SettingsReader {
    guard let value = try object(key) else { throw error(key, "is missing: \(what)") }
    return value
  }

  /// - Throws: `LiveTalkError` for the first field that is not one of those read.
  func finish() throws {
    guard let unknown = fields.keys.sorted().first(where: { !known.contains($0) }) else { return }
    let text = unknownKeyText(full(unknown), known: known)
    throw LiveTalkError("\(file): \(text)\(text.hasSuffix("?") ? "" : ".")")
  }
}
