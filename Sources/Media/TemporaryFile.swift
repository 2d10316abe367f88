import CMedia
import Foundation
import Synchronization

private let temporaryNumber = Atomic<Int>(0)

/// A hidden name beside `path`, unique in this process and between processes.
func partialPath(beside path: String) -> String {
  let number = temporaryNumber.wrappingAdd(1, ordering: .relaxed).newValue
  let url = URL(fileURLWithPath: path)
  let ending = url.pathExtension.isEmpty ? "" : ".\(url.pathExtension)"
  let stem = url.deletingPathExtension().lastPathComponent
  let name = ".\(stem).partial-\(getpid())-\(number)\(ending)"
  return url.deletingLastPathComponent().appendingPathComponent(name).path
}

/// Why an output cannot be made at `path`, in words for a person; `code` is the errno of the attempt.
func creationReason(_ path: String, _ code: Int32) -> String {
  guard code == ENOENT else { return systemReason(code) }
  let parent = URL(fileURLWithPath: path).deletingLastPathComponent().path
  return FileManager.default.fileExists(atPath: parent)
    ? systemReason(code) : "there is no directory \(parent)"
}

/// A file written beside its destination and renamed onto it when whole; unless committed it is removed.
final class TemporaryFile {
  let destination: String
  let path: String
  /// Where FFmpeg's writer finds the descriptor and leaves its errno.
  let file: UnsafeMutablePointer<CMediaFile>
  private var isOpen = true

  /// - Parameter device: written instead of a new file when given; for tests of a full disk.
  init(destination: String, device: String? = nil) throws {
    self.destination = destination
    var status = stat()
    if stat(destination, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
      throw MediaError.unwritable(destination, "it is a directory")
    }
    path = partialPath(beside: destination)
    let descriptor =
      device.map { open($0, O_WRONLY | O_CLOEXEC) } ?? open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw MediaError.unwritable(destination, creationReason(destination, errno)) }
    file = .allocate(capacity: 1)
    file.initialize(to: CMediaFile(descriptor: descriptor, error: 0))
  }

  deinit {
    discard()
    file.deallocate()
  }

  /// Writes all bytes at the file's position.
  func write(_ bytes: [UInt8]) throws {
    try writeAll(bytes, to: file.pointee.descriptor) { MediaError.unwritable(destination, systemReason($0)) }
  }

  /// Overwrites bytes at an offset from the beginning, and leaves the position at the end.
  func overwrite(_ bytes: [UInt8], at offset: Int) throws {
    guard lseek(file.pointee.descriptor, off_t(offset), SEEK_SET) >= 0 else {
      throw MediaError.unwritable(destination, systemReason(errno))
    }
    try write(bytes)
    lseek(file.pointee.descriptor, 0, SEEK_END)
  }

  func truncate(to size: Int) throws {
    guard ftruncate(file.pointee.descriptor, off_t(size)) == 0 else { throw failure() }
  }

  /// Makes the file whole at its destination: on disk first, then renamed.
  func commit() throws {
    do {
      guard fsync(file.pointee.descriptor) == 0 || errno == EINVAL else { throw failure() }
      isOpen = false
      guard close(file.pointee.descriptor) == 0 else { throw failure() }
      guard rename(path, destination) == 0 else { throw failure() }
    } catch {
      discard()
      unlink(path)
      throw error
    }
  }

  /// Removes the temporary file; nothing to do when committed.
  func discard() {
    guard isOpen else { return }
    isOpen = false
    close(file.pointee.descriptor)
    unlink(path)
  }

  private func failure() -> MediaError { MediaError.unwritable(destination, systemReason(errno)) }
}

/// Writes all bytes, again after interruptions.
func writeAll(_ bytes: [UInt8], to descriptor: Int32, failure: (Int32) -> MediaError) throws {
  try bytes.withUnsafeBytes { buffer in
    var place = 0
    while place < buffer.count {
      guard let base = buffer.baseAddress else { return }
      let written = write(descriptor, base + place, buffer.count - place)
      if written < 0 {
        if errno == EINTR { continue }
        throw failure(errno)
      }
      place += written
    }
  }
}
