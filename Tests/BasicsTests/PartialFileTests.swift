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

  /// The number of a process that is no more.
  private func goneProcess() throws -> Int32 {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", "exit 0"]
    try process.run()
    process.waitUntilExit()
    return process.processIdentifier
  }

  @Test func `what killed runs left is cleared by the next one beside it, what others write stays`() throws {
    let gone = try goneProcess()
    let others = [".b.partial-1.mp4", "b.partial-\(gone).mp4", ".b.mp4"]
    for name in [".a.partial-\(gone).mp4", ".other.partial-\(gone)-3.json"] + others {
      try Data([1]).write(to: folder.appendingPathComponent(name))
    }
    try FileManager.default.createDirectory(
      at: folder.appendingPathComponent(".frames.partial-\(gone)/in"), withIntermediateDirectories: true)
    // As in a container, where the killed run had the number of this one.
    try Data([1]).write(to: folder.appendingPathComponent(".c.partial-\(getpid()).mp4"))
    let writing = folder.appendingPathComponent(".d.partial-\(gone).mp4")
    let descriptor = open(writing.path, O_RDWR | O_CREAT, 0o666)
    defer { close(descriptor) }
    try #require(flock(descriptor, LOCK_EX) == 0)
    try writeAtomically(Data([2]), to: folder.appendingPathComponent("new"))
    #expect(content == (others + [writing.lastPathComponent, "new"]).sorted())
  }

  @Test func `two writers of one place do not write into one file`() throws {
    let url = folder.appendingPathComponent("a")
    let (first, second) = (try PartialFile(url), try PartialFile(url))
    try first.write(Data("first".utf8))
    try second.write(Data("second".utf8))
    try second.commit()
    #expect(try String(contentsOf: url, encoding: .utf8) == "second")
    try first.commit()
    #expect(try String(contentsOf: url, encoding: .utf8) == "first")
    #expect(content == ["a"])
  }

  @Test func `a folder is whole or not there`() throws {
    let url = folder.appendingPathComponent("frames")
    let made = try PartialFolder(url)
    try Data([1]).write(to: made.url.appendingPathComponent("1.png"))
    #expect(content.count == 1 && writerOfPartialFile(content[0]) == getpid())
    try made.commit()
    #expect(content == ["frames"])
    _ = try PartialFolder(folder.appendingPathComponent("other"))
    #expect(content == ["frames"])
    #expect(throws: FileError.self) { try PartialFolder(self.folder.appendingPathComponent("none/a")) }
  }

  @Test func `a link leads to the place that is written`() throws {
    let manager = FileManager.default
    try manager.createSymbolicLink(atPath: folder.path + "/one", withDestinationPath: "two")
    try manager.createSymbolicLink(atPath: folder.path + "/two", withDestinationPath: folder.path + "/real")
    #expect(linkTarget(folder.appendingPathComponent("one")).path == folder.path + "/real")
    #expect(linkTarget(folder.appendingPathComponent("real")).path == folder.path + "/real")
    try manager.createSymbolicLink(atPath: folder.path + "/round", withDestinationPath: "round")
    _ = linkTarget(folder.appendingPathComponent("round"))
  }
}
