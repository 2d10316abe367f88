import Basics
package import Foundation
import Torch

/// Tells files of weights apart: their length, and a hash (FNV-1a) of pieces spread over them. Files of many gigabytes are not
/// read whole for it.
///
/// - Throws: `FileError` for a file that cannot be read.
package func fingerprint(of url: URL) throws -> String {
  guard let file = try? FileHandle(forReadingFrom: url), let length = try? file.seekToEnd() else {
    throw FileError(url, "it cannot be read")
  }
  defer { try? file.close() }
  var hash: UInt64 = 0xCBF2_9CE4_8422_2325
  let (pieces, size) = (64, UInt64(1 << 14))
  for piece in 0..<UInt64(pieces) {
    let place = length <= size * UInt64(pieces) ? piece * size : (length - size) / UInt64(pieces - 1) * piece
    guard place < length else { break }
    do {
      try file.seek(toOffset: place)
      for byte in try file.read(upToCount: Int(size)) ?? Data() { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    } catch { throw FileError(url, "it cannot be read") }
  }
  return "\(length)-" + String(hash, radix: 16)
}
