import Foundation

/// Files of the tests: fixtures beside this file, golden cases of the whole project.
enum Fixtures {
  private static let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  private static let goldens = tests.appendingPathComponent("Goldens/umt5")

  static func file(_ name: String) -> URL {
    tests.appendingPathComponent("TextTokenizerTests/Fixtures").appendingPathComponent(name)
  }

  static func golden(_ name: String) -> URL {
    goldens.appendingPathComponent(name)
  }

  /// The directory of a golden case that holds its `tokenizer.json`.
  static func goldenTokenizer(_ name: String) -> URL {
    golden(name).appendingPathComponent("Wan2.1-T2V-1.3B/google/umt5-xxl")
  }

  static func decode<Value: Decodable>(_ type: Value.Type, from file: URL) throws -> Value {
    try JSONDecoder().decode(type, from: Data(contentsOf: file))
  }
}

/// A golden case of the text encoder, as far as its tokens go.
struct TextGolden: Decodable {
  struct Prompt: Decodable {
    var name: String
    var cleaned: String
    var tokenCount: Int

    private enum CodingKeys: String, CodingKey {
      case name, cleaned
      case tokenCount = "n_tokens"
    }
  }

  var prompts: [Prompt]

  static func load(_ name: String) throws -> TextGolden {
    try Fixtures.decode(TextGolden.self, from: Fixtures.golden(name).appendingPathComponent("case.json"))
  }
}

/// Reads an int64 matrix from a safetensors file.
func integers(_ tensor: String, in file: URL) throws -> [[Int64]] {
  struct Header: Decodable {
    var dtype: String
    var shape: [Int]
    var offsets: [Int]

    private enum CodingKeys: String, CodingKey {
      case dtype, shape
      case offsets = "data_offsets"
    }
  }
  let data = try Data(contentsOf: file)
  let size = data.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
  var entries = try JSONSerialization.jsonObject(with: data[8..<8 + size]) as? [String: Any] ?? [:]
  entries["__metadata__"] = nil
  let header = try JSONDecoder().decode(
    [String: Header].self, from: JSONSerialization.data(withJSONObject: entries))
  guard let entry = header[tensor], entry.dtype == "I64", entry.shape.count == 2 else {
    throw CocoaError(.fileReadCorruptFile)
  }
  let values = data[(8 + size + entry.offsets[0])..<(8 + size + entry.offsets[1])]
  let all = values.withUnsafeBytes { bytes in
    (0..<bytes.count / 8).map { bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Int64.self) }
  }
  return (0..<entry.shape[0]).map { Array(all[$0 * entry.shape[1]..<($0 + 1) * entry.shape[1]]) }
}
