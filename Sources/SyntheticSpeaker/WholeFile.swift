import Foundation
import Synchronization

private let number = Atomic<Int>(0)

/// Writes a file beside its place, flushes it and renames it, so that it is whole or not there.
///
/// - Throws: `SpeakerError` with the system's reason.
func writeWhole(_ data: Data, to url: URL) throws {
  let count = number.wrappingAdd(1, ordering: .relaxed).newValue
  let partial = url.deletingLastPathComponent()
    .appendingPathComponent(".\(url.lastPathComponent)\(partialMark)-json-\(count)")
  func failure() -> SpeakerError {
    SpeakerError("The output \(url.path) cannot be written: \(String(cString: strerror(errno))).")
  }
  let descriptor = open(partial.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
  guard descriptor >= 0 else { throw failure() }
  do {
    defer { close(descriptor) }
    try writeAll(data, to: descriptor, failure)
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw failure() }
  } catch {
    unlink(partial.path)
    throw error
  }
  guard rename(partial.path, url.path) == 0 else {
    let error = failure()
    unlink(partial.path)
    throw error
  }
}

/// Adds a line to a file in one piece.
func append(_ line: String, to url: URL) throws {
  func failure() -> SpeakerError {
    SpeakerError("The output \(url.path) cannot be written: \(String(cString: strerror(errno))).")
  }
  let descriptor = open(url.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
  guard descriptor >= 0 else { throw failure() }
  defer { close(descriptor) }
  try writeAll(Data((line + "\n").utf8), to: descriptor, failure)
}

/// What the names of this process's unfinished files contain; those of `Media` too.
var partialMark: String { ".partial-\(ProcessInfo.processInfo.processIdentifier)" }

private func writeAll(_ data: Data, to descriptor: Int32, _ failure: () -> SpeakerError) throws {
  try data.withUnsafeBytes { buffer in
    var done = 0
    while done < buffer.count, let base = buffer.baseAddress {
      let written = write(descriptor, base + done, buffer.count - done)
      if written < 0 && errno == EINTR { continue }
      guard written > 0 else { throw failure() }
      done += written
    }
  }
}
