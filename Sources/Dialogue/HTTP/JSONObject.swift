import Foundation

/// A JSON value of a server: what is absent or of another type is nil. Foundation's values do not change once they are read.
struct JSONObject: @unchecked Sendable {
  private let value: Any?

  /// nil for what is not JSON.
  init?(_ text: String) {
    guard let value = try? JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed) else {
      return nil
    }
    self.value = value
  }

  init(_ value: Any?) { self.value = value is NSNull ? nil : value }

  subscript(key: String) -> JSONObject { JSONObject((value as? [String: Any])?[key]) }
  subscript(index: Int) -> JSONObject {
    guard let list = value as? [Any], list.indices.contains(index) else { return JSONObject(nil as Any?) }
    return JSONObject(list[index])
  }

  var exists: Bool { value != nil }
  var isObject: Bool { value is [String: Any] }
  var text: String? { value as? String }
  var number: Double? { (value as? NSNumber)?.doubleValue }
  var int: Int? { number.flatMap { Int(exactly: $0) } }
  /// The bytes of a base64 text.
  var bytes: [UInt8]? { text.flatMap { Data(base64Encoded: $0, options: .ignoreUnknownCharacters) }.map([UInt8].init) }

  /// What a server says is wrong, in whichever of the usual places.
  var errorMessage: String? {
    let error = self["error"]
    return error["message"].text ?? error.text ?? self["message"].text ?? self["detail"].text
  }

  /// A text as JSON, in quotation marks and on one line.
  static func text(_ text: String) -> String {
    let data = try? JSONSerialization.data(withJSONObject: text, options: .fragmentsAllowed)
    return data.map { String(decoding: $0, as: UTF8.self) } ?? "\"\""
  }

  /// The text of an object; keys are sorted.
  static func encoded(_ object: [String: Any]) -> String {
    let data = try? JSONSerialization.data(withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes])
    return data.map { String(decoding: $0, as: UTF8.self) } ?? "{}"
  }
}
