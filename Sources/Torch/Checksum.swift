import Basics
import CTorch
package import Foundation

/// CRC-32C, which finds what a broken disk or an interrupted copy does to a file. It is no defence against forgery.
package enum Checksum {
  package static func crc32c(_ bytes: UnsafeRawBufferPointer, after before: UInt32 = 0) -> UInt32 {
    ct_crc32c(before, bytes.baseAddress, bytes.count)
  }

  /// The size of a file in bytes and its checksum.
  ///
  /// - Throws: `FileError` if it cannot be opened or read.
  package static func ofFile(_ url: URL) throws -> (bytes: Int, crc32c: UInt32) {
    let descriptor = open(url.path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError(url) }
    defer { close(descriptor) }
    var (size, sum) = (0, UInt32(0))
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 22, alignment: 64)
    defer { buffer.deallocate() }
    while true {
      let count = read(descriptor, buffer.baseAddress, buffer.count)
      if count == 0 { return (size, sum) }
      if count < 0 {
        if errno == EINTR { continue }
        throw FileError(url)
      }
      size += count
      sum = crc32c(UnsafeRawBufferPointer(rebasing: buffer[..<count]), after: sum)
    }
  }
}
