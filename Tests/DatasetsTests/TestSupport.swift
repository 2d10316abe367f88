import Foundation
import Testing

/// A folder that is removed with its owner.
final class Scratch: Sendable {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("datasets-tests-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  subscript(name: String) -> URL { url.appendingPathComponent(name) }

  /// Names in a folder of it, hidden ones too.
  func content(_ name: String = "") -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: self[name].path)) ?? []).sorted()
  }
}

/// The sentence that `body` fails with; a failed expectation when it does not fail, or says no sentence.
func sentence<Result>(sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Result) -> String {
  do {
    _ = try body()
    Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    return ""
  } catch {
    let text = "\(error)"
    #expect(text.hasSuffix(".") && !text.contains("\n"), "\(text)", sourceLocation: sourceLocation)
    return text
  }
}
