import Basics
import CMedia
import Foundation

extension LiveTalkError {
  /// - Parameter kind: what the file was taken for: "picture", "sound", "video".
  static func unreadable(_ kind: String, _ path: String, _ reason: String) -> LiveTalkError {
    LiveTalkError("The \(kind) \(path) cannot be read: \(reason).")
  }
}

/// A `PartialFile` that FFmpeg can write to; its errors name it as an output. Of a symbolic link the target is written.
final class TemporaryFile {
  let destination: String
  /// Where FFmpeg's writer finds the descriptor and leaves its errno.
  let file: UnsafeMutablePointer<CMediaFile>
  private let partial: PartialFile
  var path: String { partial.url.path }

  /// - Parameter device: see `PartialFile`.
  init(destination: String, device: String? = nil) throws {
    self.destination = destination
    let partial = try writingOutput(destination) {
      try PartialFile(linkTarget(URL(fileURLWithPath: destination)), device: device)
    }
    self.partial = partial
    file = .allocate(capacity: 1)
    file.initialize(to: CMediaFile(descriptor: partial.descriptor, error: 0))
  }

  deinit { file.deallocate() }

  /// Writes all bytes at the file's position.
  func write(_ bytes: [UInt8]) throws { try writingOutput(destination) { try partial.write(bytes) } }

  /// Overwrites bytes at an offset from the beginning, and leaves the position at the end.
  func overwrite(_ bytes: [UInt8], at offset: Int) throws {
    guard lseek(partial.descriptor, off_t(offset), SEEK_SET) >= 0 else {
      throw LiveTalkError.unwritable(destination, systemReason())
    }
    try write(bytes)
    lseek(partial.descriptor, 0, SEEK_END)
  }

  func truncate(to size: Int) throws {
    guard ftruncate(partial.descriptor, off_t(size)) == 0 else {
      throw LiveTalkError.unwritable(destination, systemReason())
    }
  }

  /// Makes the file whole at its destination.
  func commit() throws { try writingOutput(destination) { try partial.commit() } }

  /// Removes the temporary file; nothing to do when committed.
  func discard() { partial.discard() }
}
