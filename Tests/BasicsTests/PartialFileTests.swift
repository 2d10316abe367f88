import Basics
import Foundation
import Testing

@Suite final class PartialFileTests {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("basics-\(UUID().uuidString)")
  var content: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []).sorted() }

  init() throws { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) }
  deinit { try? FileManager.default.removeItem(at: folder) }

  @Test func `an earlier file stays until the new one is whole`() throws {
    let url = folder.appendingPathComponent("a.json")
    try writeAtomically(Data("old".utf8), to: url)
    let file = try PartialFile(url)
    try file.write(Data("new".utf8))
    #expect(try String(contentsOf: url, encoding: .utf8) == "old")
    #expect(content.count == 2 && writerOfPartialFile(content[0]) == getpid())
    #expect(file.url.pathExtension == "json")
    try file.commit()
    #expect(try String(contentsOf: url, encoding: .utf8) == "new")
    #expect(content == ["a.json"])
  }

  @Test func `what fails or is given up leaves nothing`() throws {
    struct Stop: Error {}
    let url = folder.appendingPathComponent("a")
    #expect(throws: Stop.self) {
      try writeAtomically(to: url) { file in
        try file.write(Data("half".utf8))
        throw Stop()
      }
    }
    _ = try PartialFile(url)
    #expect(content.isEmpty)
  }

  @Test func `a place that cannot be written is told with its reason`() throws {
    let absent = folder.appendingPathComponent("none/a")
    let error = #expect(throws: FileError.self) { try PartialFile(absent) }
    #expect(error?.reason == "there is no directory \(folder.path)/none")
    #expect(throws: FileError.self) { try PartialFile(folder) }
    let full = try PartialFile(folder.appendingPathComponent("a"), device: "/dev/full")
    let output = #expect(throws: LiveTalkError.self) { try writingOutput("a") { try full.write(Data([1])) } }
    #expect(output?.description == "The output a cannot be written: No space left on device.")
  }

  @Test(
    arguments: [
      (".a.partial-12.mp4", 12), (".a.json.partial-12", 12), (".a.partial-12-3.png", 12), ("a.partial-12.mp4", nil),
      (".a.partial-.mp4", nil), (".a.mp4", nil),
    ] as [(String, pid_t?)])
  func `a partial file's name says whose it is`(name: String, writer: pid_t?) {
    #expect(writerOfPartialFile(name) == writer)
  }
}
