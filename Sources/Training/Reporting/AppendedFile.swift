import Foundation
import Torch

/// A file that is only appended to, one whole record at a time.
final class AppendedFile {
  let url: URL
  private let file: FileHandle

  init(_ url: URL) throws {
    self.url = url
    let descriptor = open(url.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw FileError(url, String(cString: strerror(errno))) }
    file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
  }

  /// Appends all of the bytes, or none of them.
  ///
  /// - Throws: `FileError` with the system's reason, such as a full disk.
  func append(_ bytes: [UInt8]) throws {
    let end = lseek(file.fileDescriptor, 0, SEEK_END)
    do { try bytes.withUnsafeBytes { try write($0, to: file, url) } } catch {
      if end >= 0 { _ = ftruncate(file.fileDescriptor, end) }
      throw error
    }
  }
}
