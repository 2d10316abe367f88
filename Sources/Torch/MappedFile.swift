import Basics
import CTorch
import Foundation

/// A whole file mapped copy-on-write: reading costs no memory of our own, and a write to a tensor stays in this process.
// Unchecked for `bytes`: what the mapping holds changes only through tensors that share it.
final class MappedFile: @unchecked Sendable {
  let bytes: UnsafeMutableRawPointer
  let count: Int

  /// - Throws: `FileError` if it cannot be opened, is no regular file, or is empty.
  init(_ url: URL) throws {
    let descriptor = open(url.path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError(url) }
    defer { close(descriptor) }
    var info = stat()
    guard fstat(descriptor, &info) == 0 else { throw FileError(url) }
    switch info.st_mode & S_IFMT {
    case S_IFREG: break
    case S_IFDIR: throw FileError(url, "it is a directory, and a file of weights is needed")
    case S_IFIFO, S_IFCHR, S_IFSOCK:
      throw FileError(url, "it is a pipe or a device, and weights are read in any order: save them to a file first")
    default: throw FileError(url, "it is not a regular file")
    }
    guard info.st_size > 0 else { throw FileError(url, "the file is empty") }
    if let reason = mistakenContent(descriptor) { throw FileError(url, reason) }
    count = Int(info.st_size)
    guard let mapped = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptor, 0), mapped != MAP_FAILED else {
      throw FileError(url)
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
