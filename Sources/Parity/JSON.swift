import Basics
package import Foundation

/// A JSON value whose parts are looked up by name; reading an absent part as a number or text throws where it stands.
package struct JSON {
  package let value: Any?
  private let place: String

  package init(contentsOf url: URL) throws {
    value = try JSONSerialization.jsonObject(with: Data(contentsOf: url), options: [.fragmentsAllowed])
    place = url.lastPathComponent
  }

  private init(_ value: Any?, _ place: String) {
    self.value = value is NSNull ? nil : value
    self.place = place
  }

  package subscript(name: String) -> JSON { JSON((value as? [String: Any])?[name], "\(place).\(name)") }
  package subscript(index: Int) -> JSON {
    let list = value as? [Any] ?? []
    return JSON(list.indices.contains(index) ? list[index] : nil, "\(place)[\(index)]")
  }

  package var exists: Bool { value != nil }
  package var keys: [String] { (value as? [String: Any])?.keys.sorted() ?? [] }
  package var list: [JSON] { (value as? [Any] ?? []).enumerated().map { JSON($1, "\(place)[\($0)]") } }

  package func int() throws -> Int { try read("a whole number") { ($0 as? NSNumber)?.intValue } }
  package func double() throws -> Double { try read("a number") { ($0 as? NSNumber)?.doubleValue } }
  package func bool() throws -> Bool { try read("true or false") { $0 as? Bool } }
  package func string() throws -> String { try read("text") { $0 as? String } }
  package func ints() throws -> [Int] { try list.map { try $0.int() } }
  package func bools() throws -> [Bool] { try list.map { try $0.bool() } }

  private func read<T>(_ what: String, _ convert: (Any) -> T?) throws -> T {
    guard let value, let result = convert(value) else { throw LiveTalkError("\(place) is not \(what)") }
    return result
  }
}
