package import Foundation

/// The name under which this process writes a file or folder until it is whole: hidden, beside its place, with its ending.
///
/// - Parameter number: tells apart several such names of one process.
package func partialFile(of url: URL, _ number: Int = 0) -> URL {
  let ending = url.pathExtension.isEmpty ? "" : ".\(url.pathExtension)"
  let stem = url.deletingPathExtension().lastPathComponent
  let process = "\(ProcessInfo.processInfo.processIdentifier)" + (number == 0 ? "" : "-\(number)")
  return url.deletingLastPathComponent().appendingPathComponent(".\(stem).partial-\(process)\(ending)")
}

/// The process that writes, or has left, a file or folder of this name; nil where it is no partial one.
package func writerOfPartialFile(_ name: String) -> pid_t? {
  guard name.hasPrefix("."), let match = name.firstMatch(of: /\.partial-(\d+)(?:\.|-|$)/) else { return nil }
  return pid_t(match.1)
}

/// A file that is written beside its destination and renamed onto it when it is whole, so that no reader ever sees half of one.
/// Unless committed it is removed.
package final class PartialFile {
  package let destination: URL
  /// Where the bytes are until the file is whole.
  package let url: URL
  package let descriptor: Int32
  private var isOpen = true

  /// Removes what killed runs have left beside the destination, once a process.
  ///
  /// - Parameter device: written in place of a new file; for tests of a full disk.
  /// - Throws: `FileError` for a destination that cannot be written.
  package init(_ destination: URL, device: String? = nil) throws {
    self.destination = destination
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: destination.path, isDirectory: &isFolder), isFolder.boolValue {
      throw FileError(destination, "it is a directory")
    }
    if let device {
      url = partialFile(of: destination)
      descriptor = open(device, O_WRONLY | O_CLOEXEC)
      if descriptor < 0 { throw FileError(destination, creationReason(destination)) }
    } else {
      removeAbandonedFiles(beside: destination)
      (url, descriptor) = try PartialFile.made(for: destination)
    }
  }

  /// An empty file that is locked, which tells others that its writer lives.
  private static func made(for destination: URL) throws -> (URL, Int32) {
    for number in 0..<100 {
      let url = partialFile(of: destination, number)
      let descriptor = open(url.path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
      guard descriptor >= 0 else { throw FileError(destination, creationReason(destination)) }
      // In a container another process may have this one's number. File systems without locks refuse for another reason.
      if flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
        close(descriptor)
        continue
      }
      guard ftruncate(descriptor, 0) == 0 else {
        defer { close(descriptor) }
        throw FileError(destination)
      }
      return (url, descriptor)
    }
    throw FileError(destination, "a hundred programs are writing it")
  }

  deinit { discard() }

  /// Writes bytes at the file's position.
  ///
  /// - Throws: `FileError` with the system's reason ("No space left on device").
  package func write(_ bytes: UnsafeRawBufferPointer) throws { try writeAll(bytes, to: descriptor, destination) }
  package func write(_ bytes: some ContiguousBytes) throws { try bytes.withUnsafeBytes { try write($0) } }

  /// Makes the file whole at its destination: on disk first, then renamed.
  ///
  /// - Throws: `FileError`, after which nothing is left.
  package func commit() throws {
    // A device cannot be flushed.
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw failure() }
    isOpen = false
    guard close(descriptor) == 0, rename(url.path, destination.path) == 0 else { throw failure() }
  }

  /// Removes what was written; nothing to do when committed.
  package func discard() {
    guard isOpen else { return }
    isOpen = false
    close(descriptor)
    unlink(url.path)
  }

  private func failure() -> FileError {
    let error = FileError(destination)
    discard()
    unlink(url.path)
    return error
  }
}

/// Writes a file that is whole or not there.
///
/// - Throws: what `body` throws, or `FileError` when the file cannot be made, flushed or renamed.
package func writeAtomically(to url: URL, _ body: (PartialFile) throws -> Void) throws {
  let file = try PartialFile(url)
  defer { file.discard() }
  try body(file)
  try file.commit()
}

/// Writes a small file in one piece, as `writeAtomically(to:_:)`.
package func writeAtomically(_ data: Data, to url: URL) throws { try writeAtomically(to: url) { try $0.write(data) } }

/// Runs what writes an output that the user named, and names it in the sentence.
///
/// - Throws: `LiveTalkError` in place of a `FileError`.
package func writingOutput<Result>(_ path: String, _ body: () throws -> Result) throws -> Result {
  do { return try body() } catch let error as FileError { throw LiveTalkError.unwritable(path, error.reason) }
}

/// Writes all bytes, again after interruptions.
///
/// - Throws: `FileError` about `url` with the system's reason.
package func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, _ url: URL) throws {
  var done = 0
  while done < bytes.count, let base = bytes.baseAddress {
    // Linux writes at most 2 GiB a call.
    let written = write(descriptor, base + done, min(bytes.count - done, 1 << 30))
    if written < 0, errno != EINTR { throw FileError(url) }
    done += max(written, 0)
  }
}

/// Why an output cannot be made; `code` is the errno of the attempt.
package func creationReason(_ url: URL, _ code: Int32 = errno) -> String {
  let parent = url.deletingLastPathComponent().path
  guard code == ENOENT, !FileManager.default.fileExists(atPath: parent) else { return systemReason(code) }
  return "there is no directory \(parent)"
}
