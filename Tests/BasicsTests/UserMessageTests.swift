import Foundation
import Testing

@testable import Basics

@Suite struct UserMessageTests {
  private struct Settings: Codable {
    struct Optimizer: Codable { var learningRate: Double }
    var optimizer: Optimizer
    var names: [String] = []
  }

  private func failure(_ body: () throws -> Void) -> String {
    do {
      try body()
      return "nothing"
    } catch { return userSentence(error) }
  }

  @Test(arguments: [Double.nan, .infinity, -.infinity])
  func `a number that JSON does not have is told by its key`(value: Double) {
    let text = failure { _ = try JSONEncoder().encode(Settings(optimizer: .init(learningRate: value))) }
    #expect(text == "'optimizer.learningRate' must be a finite number.")
  }

  @Test func `a value that cannot be decoded is told by its key`() {
    func decoded(_ text: String) -> String {
      failure { _ = try JSONDecoder().decode(Settings.self, from: Data(text.utf8)) }
    }
    #expect(decoded("{}") == "'optimizer' is missing.")
    #expect(
      decoded(#"{"optimizer": {"learningRate": "x"}, "names": []}"#) == "'optimizer.learningRate' is of a wrong type.")
    #expect(decoded(#"{"optimizer": {"learningRate": null}, "names": []}"#) == "'optimizer.learningRate' has no value.")
    #expect(decoded("{\"optimizer\": ") == "it is not JSON, or it is cut off.")
  }

  @Test func `the system's errors are told by their file and the system's reason`() {
    let text = failure { _ = try Data(contentsOf: URL(fileURLWithPath: "/nowhere/at/all")) }
    #expect(text == "/nowhere/at/all: No such file or directory.")
    #expect(failure { throw POSIXError(.ENOSPC) } == "No space left on device.")
    #expect(failure { throw CocoaError(.fileWriteOutOfSpace) } == "No space left on device.")
    let unknown = failure {
      throw NSError(domain: "SomeDomain", code: 3, userInfo: [NSLocalizedDescriptionKey: "xyzzy"])
    }
    #expect(!unknown.contains("xyzzy") && unknown.contains("please report it"))
  }

  @Test func `long values are cut with their length, and their file stays`() {
    let long = String(repeating: "x", count: 100_000)
    let spaced = String(repeating: "x ", count: 50_000)
    for value in [long, spaced, "\(long)/a.safetensors", String(repeating: "é\u{301}", count: 100_000)] {
      for message in [
        "/data/a.yaml: 'run.device' must not be '\(value)'", "\(value)", "unknown key \(value) in /data/a.yaml",
      ] {
        let text = userSentence(LiveTalkError(message))
        #expect(text.count <= longestMessage + 60, "\(text.count)")
        #expect(text.contains("characters"), "\(text)")
        #expect(!message.hasPrefix("/data") || text.hasPrefix("/data/a.yaml"))
      }
    }
    let path = "/" + String(repeating: "folder/", count: 40) + "model.safetensors"
    #expect(userSentence(LiveTalkError("\(path): it is empty.")).contains("model.safetensors"))
    #expect(shortened("short") == "short")
    #expect(shortList((1...9).map { "key\($0)" }) == "key1, key2, key3, key4, key5 and 4 more")
  }

  @Test func `one line, without the terminal's commands, that ends as a sentence`() {
    #expect(userLine("\n  a\n  b\n\nmore") == "a b.")
    #expect(userLine("a\u{1B}[31mb\u{7}") == "a\u{FFFD}[31mb\u{FFFD}.")
    #expect(userLine("Is it so?") == "Is it so?")
    #expect(userLine("") == "It failed without saying why.")
  }
}
