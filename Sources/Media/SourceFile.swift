import Basics
import Foundation
import Synchronization

/// A file that is to be read, checked before FFmpeg sees it. What comes through a pipe, such as `<(curl …)`, is copied first: it is
/// read more than once.
struct SourceFile {
  /// As the user gave it, for messages.
  let path: String
  /// What is opened.
  let place: String
  let size: Int

  /// The most that is taken from a pipe.
  private static let largestPipe = 1 << 30

  init(_ path: String, kind: MediaKind) throws {
    func unreadable(_ reason: String) -> LiveTalkError { .unreadable(kind.rawValue, path, reason) }
    self.path = path
    var status = stat()
    guard stat(path, &status) == 0 else {
      throw unreadable(errno == ENOENT ? "there is no such file" : systemReason())
    }
    guard access(path, R_OK) == 0 else { throw unreadable(systemReason()) }
    switch status.st_mode & S_IFMT {
    case S_IFDIR: throw unreadable("it is a directory")
    case S_IFIFO:
      (place, size) = try Self.copies.withLock { copies in
        // A pipe is empty the second time.
        if let copy = copies[status.st_ino] { return copy }
        let copy = try Self.copy(path, unreadable)
        copies[status.st_ino] = copy
        return copy
      }
    default: (place, size) = (path, Int(status.st_size))
    }
    if let reason = mistakenContent(at: place) { throw unreadable(reason) }
    guard size > 0 || status.st_mode & S_IFMT == S_IFCHR else { throw unreadable("it is empty") }
  }

  /// Of pipes, by their inode.
  private static let copies = Mutex<[ino_t: (place: String, size: Int)]>([:])

  /// The contents of a pipe in a file without a name, which goes when the process ends.
  private static func copy(_ path: String, _ unreadable: (String) -> LiveTalkError) throws -> (place: String, size: Int)
  {
    let input = open(path, O_RDONLY | O_CLOEXEC)
    guard input >= 0 else { throw unreadable(systemReason()) }
    defer { close(input) }
    var template = Array((NSTemporaryDirectory() + "livetalk-pipe-XXXXXX").utf8CString)
    let output = mkstemp(&template)
    guard output >= 0 else { throw unreadable("it is a pipe, and no temporary file can be made for it") }
    unlink(template)
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    var size = 0
    while true {
      let count = read(input, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw unreadable(systemReason()) }
      if count == 0 { return ("/dev/fd/\(output)", size) }
      size += count
      guard size <= largestPipe else { throw unreadable("more than \(largestPipe >> 30) GiB come through the pipe") }
      do {
        try buffer[..<count].withUnsafeBytes { try writeAll($0, to: output, URL(fileURLWithPath: path)) }
      } catch let error as FileError { throw unreadable(error.reason) }
    }
  }
}
