import Foundation

/// A directory that is removed when the test ends.
final class TemporaryFolder: Sendable {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("training-tests-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  func write(_ text: String, to name: String) throws -> URL {
    try Data(text.utf8).write(to: url.appendingPathComponent(name))
    return url.appendingPathComponent(name)
  }

  subscript(name: String) -> URL { url.appendingPathComponent(name) }
}

/// What an action fails with; empty where it does not.
func message(_ action: () throws -> Void) -> String {
  do {
    try action()
    return ""
  } catch { return "\(error)" }
}
