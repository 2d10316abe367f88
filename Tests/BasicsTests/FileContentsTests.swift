import Basics
import Foundation
import Testing

@Suite final class FileContentsTests {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("contents-\(UUID().uuidString)")

  init() throws { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) }
  deinit { try? FileManager.default.removeItem(at: folder) }

  private func reason(_ bytes: some Sequence<UInt8>) throws -> String? {
    let url = folder.appendingPathComponent("file")
    try Data(bytes).write(to: url)
    do {
      _ = try readFile(url)
      return nil
    } catch let error as FileError { return error.reason }
  }

  @Test func `what lies in the place of a download is called what it is`() throws {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 507609880\n"
    let told = try #require(try reason(pointer.utf8))
    #expect(told.contains("git-lfs pointer") && told.contains("507.6 MB") && told.contains("git lfs pull"))
    for page in ["<!DOCTYPE html>\n<html>", "\n\n <HTML lang=en>", "\u{FEFF}<html>"] {
      #expect(try reason(page.utf8)?.contains("web page (HTML)") == true)
    }
    for answer in [
      "Entry not found", #"{"error":"Repository not found"}"#,
      "<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code>",
    ] {
      #expect(try reason(answer.utf8)?.contains("server's error message") == true)
    }
    for count in [1, 511, 512, 513, 3_000_001] {
      #expect(try reason([UInt8](repeating: 0, count: count))?.contains("nothing but zeros") == true)
    }
    #expect(try reason([]) == "the file is empty")
  }

  @Test func `anything else is read whole`() throws {
    for bytes in [[UInt8](repeating: 0, count: 2_000_000) + [1], Array("{\"version\": 1}".utf8), Array("<svg>".utf8)] {
      #expect(try reason(bytes) == nil)
      #expect([UInt8](try readFile(folder.appendingPathComponent("file"))) == bytes)
    }
  }

  @Test func `files that are not there, folders and pipes`() throws {
    let absent = #expect(throws: FileError.self) { try readFile(self.folder.appendingPathComponent("none")) }
    #expect(absent?.reason == "there is no such file")
    #expect(throws: FileError.self) { try readFile(self.folder) }
    let pipe = folder.appendingPathComponent("pipe")
    try #require(mkfifo(pipe.path, 0o600) == 0)
    let bytes = Data((0..<200_000).map { UInt8(truncatingIfNeeded: $0) })
    Thread.detachNewThread {
      guard let file = FileHandle(forWritingAtPath: pipe.path) else { return }
      try? file.write(contentsOf: bytes)
      try? file.close()
    }
    #expect(try readFile(pipe) == bytes)
  }
}
