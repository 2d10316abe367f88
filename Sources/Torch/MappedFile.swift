import CTorch
import Foundation

/// A whole file mapped copy-on-write: reading costs no memory of our own, and a write to a tensor stays in this process.
final class MappedFile: @unchecked Sendable {
  let bytes: UnsafeMutableRawPointer
  let count: Int

  /// - Throws: `FileError` if it cannot be opened, is no regular file, or is empty.
  init(_ url: URL) throws {
    let descriptor = open(url.path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError(url, String(cString: strerror(errno))) }
    defer { close(descriptor) }
    var info = stat()
    guard fstat(descriptor, &info) == 0 else { throw FileError(url, String(cString: strerror(errno))) }
    guard info.st_mode & S_IFMT == S_IFREG else { throw FileError(url, "it is not a regular file") }
    guard info.st_size > 0 else { throw FileError(url, "the file is empty") }
    count = Int(info.st_size)
    guard let mapped = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptor, 0), mapped != MAP_FAILED else {
      throw FileError(url, String(cString: strerror(errno)))
    }
    bytes = mapped
  }

  deinit { munmap(bytes, count) }

  /// A tensor of the bytes from `offset` on, which keeps the mapping; copied only where they are not aligned for their type.
  ///
  /// The caller has checked that the bytes lie within the file.
  func tensor(at offset: Int, _ dtype: DType, _ shape: [Int]) -> Tensor {
    let start = bytes + offset
    let rank = Int32(shape.count)
    let alignment = dtype == .complex64 ? 4 : dtype.size
    guard !shape.contains(0), Int(bitPattern: start) % alignment == 0 else {
      return Tensor { ct_from_data(start, dtype.rawValue, shape, rank, $0) }
    }
    let owner = Unmanaged.passRetained(self).toOpaque()
    return Tensor {
      ct_from_memory(start, dtype.rawValue, shape, rank, owner, { Unmanaged<MappedFile>.fromOpaque($0!).release() }, $0)
    }
  }
}

/// A file that cannot be used, and why.
public struct FileError: Error, CustomStringConvertible, LocalizedError, Sendable {
  public let path: String
  public let reason: String
  public var description: String { "\(path): \(reason)." }
  public var errorDescription: String? { description }

  public init(_ url: URL, _ reason: String) {
    path = url.path
    self.reason = reason
  }
}

/// The name under which this process writes a file or folder until it is whole.
public func partialFile(of url: URL) -> URL {
  url.deletingLastPathComponent()
    .appendingPathComponent(".\(url.lastPathComponent).partial-\(ProcessInfo.processInfo.processIdentifier)")
}

/// Writes a file beside its destination and renames it when it is whole, so that no reader ever sees half of one.
///
/// The partial file is removed if `body` throws.
/// - Throws: what `body` throws, or `FileError` when the file cannot be made, flushed or renamed.
public func writeAtomically(to url: URL, _ body: (FileHandle) throws -> Void) throws {
  let partial = partialFile(of: url)
  let descriptor = open(partial.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
  guard descriptor >= 0 else { throw FileError(url, String(cString: strerror(errno))) }
  let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: false)
  do {
    defer { close(descriptor) }
    try body(file)
    guard fsync(descriptor) == 0 else { throw FileError(url, String(cString: strerror(errno))) }
  } catch {
    unlink(partial.path)
    throw error
  }
  guard rename(partial.path, url.path) == 0 else {
    let reason = String(cString: strerror(errno))
    unlink(partial.path)
    throw FileError(url, reason)
  }
}

/// Writes a small file in one piece, as `writeAtomically(to:_:)`.
package func writeAtomically(_ data: Data, to url: URL) throws {
  try writeAtomically(to: url) { file in
    try data.withUnsafeBytes { try write($0, to: file, url) }
  }
}

/// Writes all bytes, or throws with the system's reason ("No space left on device").
package func write(_ bytes: UnsafeRawBufferPointer, to file: FileHandle, _ url: URL) throws {
  var done = 0
  while done < bytes.count, let base = bytes.baseAddress {
    // Linux writes at most 2 GiB a call.
    let written = Foundation.write(file.fileDescriptor, base + done, min(bytes.count - done, 1 << 30))
    if written < 0 {
      if errno == EINTR { continue }
      throw FileError(url, String(cString: strerror(errno)))
    }
    done += written
  }
}
