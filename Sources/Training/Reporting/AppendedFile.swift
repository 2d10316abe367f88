import Basics
import Foundation

/// A file that is only appended to, one whole record at a time.
final class AppendedFile {
  let url: URL
  private let descriptor: Int32

  init(_ url: URL) throws {
    self.url = url
    descriptor = open(url.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw FileError(url) }
  }

  deinit { close(descriptor) }

  /// Appends all of the bytes, or none of them.
  ///
  /// - Throws: `FileError` with the system's reason, such as a full disk.
  func append(_ bytes: [UInt8]) throws {
    let end = lseek(descriptor, 0, SEEK_END)
    do { try bytes.withUnsafeBytes { try writeAll($0, to: descriptor, url) } } catch {
      if end >= 0 { _ = ftruncate(descriptor, end) }
      throw error
    }
  }
}
